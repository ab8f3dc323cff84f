"""Mandelbulb variations in NumPy, slow and obvious, from the formula's definition: all rays of a picture side by
side, float32 operations one by one, in the order that decides their rounding.

A step takes z to r^p (X, Y, Z) + c. With a = z + i rho and b = (x + i y) r / rho, both of modulus r,
the real and imaginary parts of a^p are r^p cos(p theta) and r^p sin(p theta), those of b^p the same of phi.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fracgen.draws import Purpose
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.recipes.recipe import Recipe
from tests.reference import code
from tests.reference.arithmetic import Draws, F, fma, sin_cos, unit
from tests.reference.attractor import place_of

CAMERA, LAMP = F(2.5), (F(-10), F(10), F(10))
AMBIENT, DIFFUSE, LIT = F(0.3), F(0.9), F(0.2)
BAIL_OUT, ITERATIONS, STEEP = F(16), 32, F(2**20)
OVERSTEP, THRESHOLD, SHADOW_THRESHOLD = F(1.5), F(1e-3), F(1e-4)
MARCH_STEPS, SHADOW_STEPS, SHADOW_STRIDE, GRADIENT_STEP = 128, 64, F(1e-3), F(1e-3)
TILE, CONE = 4, 2
LOGARITHM = (1.00000096, -0.50001145, 0.33314674, -0.24908289, 0.2049176, -0.18680751, 0.11931054)


@dataclass(frozen=True)
class Variation:
    """A class."""

    power: int
    rule: int
    radius: np.float32

    def choose(self, a: Any, b: Any) -> list[Any]:
        """The signed parts of complex numbers a and b (of theta and of phi) that the rule names for X, Y and Z."""
        parts = []
        for shift in (6, 3, 0):
            sine, theta, negative = (self.rule >> shift + k & 1 for k in (2, 1, 0))
            part = (a if theta else b)[sine]
            parts.append(-part if negative else part)
        return parts


@dataclass
class View:
    """A camera and three colours."""

    forward: list[np.float32]
    up: list[np.float32]
    side: list[np.float32]
    colours: list[list[np.float32]]


def turn(word: Any) -> tuple[np.float32, np.float32]:
    """Cosine and sine of a uniform angle."""
    eighth = F(np.pi / 4)
    sine, cosine = sin_cos(fma(unit(word), eighth, F(F(-0.5) * eighth)))
    for _ in range(3):
        sine, cosine = F(F(sine + sine) * cosine), fma(cosine, cosine, -F(sine * sine))
    return cosine, sine


def draw_view(draws: Draws, slot: int, view: int) -> View:
    """Latitude and longitude of the camera, then the colours."""
    words = draws.words(Purpose.VIEW, 0, slot, view)
    (c, s), (cl, sl) = turn(words[0]), turn(words[1])
    colours = [[unit(w) for w in draws.words(Purpose.VIEW, 1 + k, slot, view)[:3]] for k in range(3)]
    return View([F(sl * c), -F(cl * c), -s], [F(sl * s), -F(cl * s), c], [-cl, -sl, F(0)], colours)


def inverse_root(v: Any) -> Any:
    """1 / sqrt(v): a guess from halved bits, then two steps that each take the error to a power of it; huge at 0."""
    y = (0x5F3759DF - (v.view(np.int32) >> 1)).view(F)
    e = fma(-(v * y), y, F(1))
    y = fma(y * e, fma(e, F(0.375), F(0.5)), y)
    e = fma(-(v * y), y, F(1))
    return fma(y * e, F(0.5), y)


def chain(p: int) -> list[int]:
    """How n^p is made of n, from the first to the last: squares (2), cubes (3) and products with n (1)."""
    if p == 1:
        return []
    return [*chain(p // 2), 2] if p % 2 == 0 else [*chain(p // 3), 3] if p % 3 == 0 else [*chain(p - 1), 1]


def powers(p: int, a: Any, b: Any, r: Any) -> tuple[Any, Any, Any]:
    """Of complex numbers of modulus r, each as (twice its real part, its imaginary part): a^p, b^p and r^p."""
    (av, ai), (bv, bi), rr = a, b, r
    for kind in chain(p):
        if kind == 1:
            av, ai = times(av, ai, a)
            bv, bi = times(bv, bi, b)
            rr = rr * r
            continue
        m = rr * rr
        if kind == 2:  # real part 2 re^2 - r^2, imaginary part 2 re im
            av, ai = fma(av, av, -(m + m)), av * ai
            bv, bi = fma(bv, bv, -(m + m)), bv * bi
            rr = m
        else:  # re (4 re^2 - 3 r^2), im (4 re^2 - r^2)
            av, ai = av * fma(av, av, -(F(3) * m)), ai * fma(av, av, -m)
            bv, bi = bv * fma(bv, bv, -(F(3) * m)), bi * fma(bv, bv, -m)
            rr = rr * m
    return (av, ai), (bv, bi), rr


def times(v: Any, im: Any, n: Any) -> tuple[Any, Any]:
    """A complex number times n, all by twice the real and the imaginary part."""
    half = F(0.5)
    return fma(v, half * n[0], -(im * (n[1] + n[1]))), fma(im, half * n[0], v * (half * n[1]))


def logarithm(v: Any) -> Any:
    """ln v = e ln 2 + ln(1 + f) with v = (1 + f) 2^e and 1 + f in [sqrt(1/2), sqrt(2))."""
    bits = v.view(np.int32)
    e = (bits - 0x3F3504F3) >> 23
    f = (bits - (e << 23)).view(F) - F(1)
    series = F(LOGARITHM[-1])
    for factor in LOGARITHM[-2::-1]:
        series = fma(series, f, F(factor))
    return fma(e.astype(F), F(np.log(2)), f * series)


def norms(z: Any) -> tuple[Any, Any]:
    """x^2 + y^2 and r^2."""
    rho2 = fma(z[0], z[0], z[1] * z[1])
    return rho2, fma(z[2], z[2], rho2)


def step(v: Variation, z: Any, c: Any) -> tuple[Any, Any]:
    """The next points, and r^p of these."""
    rho2, r2 = norms(z)
    over_rho = inverse_root(rho2)
    rho, r = rho2 * over_rho, r2 * inverse_root(r2)
    scale = r * over_rho
    bx = z[0] * scale
    a, b, rp = powers(v.power, (z[2] + z[2], rho), (bx + bx, z[1] * scale), r)
    parts = v.choose((a[0] * F(0.5), a[1]), (b[0] * F(0.5), b[1]))  # a half of a float is exact
    return np.array([part + start for part, start in zip(parts, c, strict=True)]), rp


@dataclass
class Orbits:
    """Where orbits of points ended."""

    distance: Any
    """r log(r) / (2 dr) [n]."""
    traps: list[Any]
    """Smallest |z|, taxicab norm and r^2 [n], the start left out."""


def orbits(v: Variation, c: Any) -> Orbits:
    """The orbits of points [3, n]."""
    n = c.shape[1]
    z, dr = c.copy(), np.ones(n, F)
    traps = [np.full(n, 1e20, F) for _ in range(3)]
    for _ in range(ITERATIONS):
        on = np.flatnonzero((norms(z)[1] <= BAIL_OUT) & (dr < STEEP))
        if not len(on):
            break
        new, rp = step(v, z[:, on], c[:, on])
        z[:, on], dr[on] = new, fma(F(v.power) * rp, dr[on], F(1))
        sizes = abs(new[2]), (abs(new[0]) + abs(new[1])) + abs(new[2]), norms(new)[1]
        for trap, size in zip(traps, sizes, strict=True):
            trap[on] = np.where(size < trap[on], size, trap[on])
    r2, root = norms(z)[1], inverse_root(dr)
    distance = ((F(0.25) * logarithm(r2)) * (r2 * inverse_root(r2))) * (root * root)
    return Orbits(distance, traps)


@dataclass
class March:
    """How a ray marches."""

    threshold: np.float32
    steps: int
    spent_hits: bool
    """Whether a ray that took all steps has hit."""
    spread: Any = 0.0
    """Radius of a cone around the ray, a unit of its length."""
    stride: Any = 0.0
    """Least step."""


def march(v: Variation, how: March, origin: Any, way: Any, first: Any, end: Any) -> Any:
    """Places of rays [n] where the distance, less the cone's radius, is at most the threshold; NaN where they leave
    the sphere."""
    at, before, length = first.copy(), np.zeros_like(first), np.zeros_like(first)
    place = np.full(len(first), np.nan, F)
    on = np.arange(len(first))
    for _ in range(how.steps):
        if not len(on):
            break
        distance = orbits(v, fma(way[:, on], at[on], origin[:, on])).distance
        found = fma(-F(how.spread), at[on], distance)
        apart = (before[on] + found < length[on]) & (length[on] > F(how.stride))
        hit = ~apart & ~(found > how.threshold)
        place[on[hit]] = at[on[hit]]
        forward = OVERSTEP * found
        forward = np.where(forward > F(how.stride), forward, F(how.stride))
        out = ~apart & ~hit & (at[on] + forward > end[on])
        at[on] = np.where(apart, (at[on] - length[on]) + before[on], at[on] + forward)
        before[on], length[on] = np.where(apart, F(0), found), np.where(apart, F(0), forward)
        on = on[~hit & ~out]
    if how.spent_hits:
        place[on] = at[on]
    return place


def slope(v: Variation, point: Any, distance: Any) -> list[Any]:
    """Differences of the distance from that at points [3, n], along each axis."""
    result = []
    for k in range(3):
        beside = point.copy()
        beside[k] = point[k] + GRADIENT_STEP
        result.append(orbits(v, beside).distance - distance)
    return result


def dot(a: Any, b: Any) -> Any:
    """Three products, added from the last on."""
    return fma(a[0], b[0], fma(a[1], b[1], a[2] * b[2]))


def share(v: Any) -> Any:
    """At most 1, which anything that is no number becomes too."""
    return np.where(v < 1, v, F(1))


def to_lamp(point: Any) -> Any:
    """Unit vectors [3, n]."""
    lamp = np.array([light - x for light, x in zip(LAMP, point, strict=True)])
    return lamp * (F(1) / np.sqrt(dot(lamp, lamp)))


def lit(v: Variation, point: Any) -> Any:
    """Whether points [3, n] of the surface see the lamp."""
    lamp = to_lamp(point)
    middle = -dot(point, lamp)
    inside = fma(middle, middle, fma(v.radius, v.radius, -dot(point, point)))
    end = middle + np.sqrt(np.where(inside > 0, inside, F(0)))
    how = March(SHADOW_THRESHOLD, SHADOW_STEPS, False, stride=SHADOW_STRIDE)
    return np.isnan(march(v, how, point, lamp, np.zeros_like(end), end))


def colours(v: Variation, view: View, point: Any, see_lamp: Any) -> Any:
    """Bytes [n, 3] of points [3, n] of the surface, some of which see the lamp."""
    lamp, here = to_lamp(point), orbits(v, point)
    trap_z, taxi, trap_r = here.traps
    gradient = slope(v, point, here.distance)
    length = dot(gradient, gradient)
    diffuse = -dot(lamp, gradient) / np.sqrt(length)
    diffuse = np.where((length > 0) & (diffuse > 0), diffuse, F(0))
    taxi2 = (taxi * F(2 / 3)) * (taxi * F(2 / 3))
    taxi4, r4 = taxi2 * taxi2, trap_r * trap_r
    shares = share(trap_z), share(taxi4 * taxi4 * taxi2), share(r4 * r4 * trap_r)
    bright = fma(diffuse, DIFFUSE, AMBIENT) * dot(point, point)
    more = np.where(see_lamp, LIT, F(0))
    result = []
    for k in range(3):
        of = [colour[k] for colour in view.colours]
        mixed = fma(of[0], shares[0], fma(of[1], shares[1], of[2] * shares[2]))
        result.append(fma(share(mixed * bright + more), F(255), F(0.5)).astype(np.int64))
    return np.array(result).T


@dataclass
class Rays:
    """Rays from the camera that meet a sphere."""

    numbers: Any
    """Of the rays that do."""
    origin: Any
    way: Any
    first: Any
    end: Any


def aim(view: View, u: Any, w: Any, radius: Any) -> Rays:
    """Rays at places u to the right and w up, one unit ahead."""
    scale = F(1) / np.sqrt(fma(u, u, fma(w, w, F(1))))
    middle = CAMERA * scale
    inside = fma(middle, middle, fma(radius, radius, -CAMERA * CAMERA))
    on = np.flatnonzero(inside > 0)
    half = np.sqrt(inside[on])
    origin = np.array([np.full(len(on), -CAMERA * x) for x in view.forward])
    way = np.array([
        fma(side, u[on], fma(up, w[on], forward)) * scale[on]
        for side, up, forward in zip(view.side, view.up, view.forward, strict=True)
    ])  # fmt: skip
    near = middle[on] - half
    return Rays(on, origin, way, np.where(near > 0, near, F(0)), middle[on] + half)


def grid(places: Any, step: Any, first: Any) -> tuple[Any, Any]:
    """Places u and w of a square of rays whose columns (and rows) are numbered so, row by row."""
    line = fma(places.astype(F), step, first)
    u, w = np.meshgrid(line, -line)
    return u.ravel(), w.ravel()


def texture(recipe: Recipe, v: Variation, view: View) -> Any:
    """Red, green, blue (times coverage) and coverage, int64 [canvas, canvas, 4]."""
    s, n = recipe.samples, recipe.canvas * recipe.samples
    between, first = F(1 / n), F(0.5 / n - 0.5)

    tiles = -(-n // TILE)
    spread = F(CONE) * between
    cones = aim(view, *grid(np.arange(tiles) * TILE + (TILE - 1) / 2, between, first), fma(spread, F(4), v.radius))
    starts = np.full(tiles * tiles, np.nan, F)
    how = March(spread, MARCH_STEPS, True, spread=spread)
    starts[cones.numbers] = march(v, how, cones.origin, cones.way, cones.first, cones.end)

    rays = aim(view, *grid(np.arange(n), between, first), v.radius)
    start = starts[rays.numbers // n // TILE * tiles + rays.numbers % n // TILE]
    reached = ~np.isnan(start)
    begin, way = np.where(rays.first < start, start, rays.first)[reached], rays.way[:, reached]
    origin, numbers = rays.origin[:, reached], rays.numbers[reached]
    place = march(v, March(THRESHOLD, MARCH_STEPS, True), origin, way, begin, rays.end[reached])

    hit = ~np.isnan(place)
    found = np.zeros((n * n, 4), np.int64)
    if hit.any():
        point, numbers = fma(way[:, hit], place[hit], origin[:, hit]), numbers[hit]
        pixel = numbers // n // s * recipe.canvas + numbers % n // s
        _, chosen, back = np.unique(pixel, return_index=True, return_inverse=True)  # of a pixel, the first that hits
        found[numbers, :3] = colours(v, view, point, lit(v, point[:, chosen])[back])
        found[numbers, 3] = 255
    sums = found.reshape(recipe.canvas, s, recipe.canvas, s, 4).sum(axis=(1, 3))
    return (sums + s * s // 2) // (s * s)


def over(texel: Any, image: Any) -> Any:
    """A colour, times coverage, over a pixel [3]."""
    return texel[:3] + ((255 - texel[3]) * image + 128) * 257 // 2**16


def draw(recipe: Recipe, bank: VariationBank, draws: Draws, slot: int, view: int) -> tuple[int, Any]:
    """An object's code and its texture."""
    k = code.choose(recipe, bank, draws, slot)
    variation = Variation(int(bank.powers[k]), int(bank.rules[k]), bank.radii[k])
    with np.errstate(all="ignore"):
        return k, texture(recipe, variation, draw_view(draws, slot, view))


def box(recipe: Recipe, draws: Draws, slot: int, view: int, corner: tuple[int, int]) -> tuple[int, int, int]:
    """Side, left and top of an object in a picture whose corner (top, left) lies there in the scene."""
    return place_of(recipe, draws.words(Purpose.OBJECT, 2, slot, view), corner)


def place(recipe: Recipe, side: int, left: int, top: int, drawn: Any, image: Any, mask: Any) -> None:
    """Resize a texture to its side and lay it over the image [3, size, size] at its place."""
    from tests.reference.exact import taps

    step = (recipe.canvas << 16) // side
    for r in range(max(0, top), min(recipe.size, top + side)):
        for c in range(max(0, left), min(recipe.size, left + side)):
            total = np.zeros(4, np.int64)
            for i, wi in taps(r - top, step, recipe.canvas):
                for j, wj in taps(c - left, step, recipe.canvas):
                    total += wi * wj * drawn[i, j]
            texel = (total + 2**15) >> 16
            image[:, r, c] = over(texel, image[:, r, c])
            mask[r, c] |= texel[3] >= 128
