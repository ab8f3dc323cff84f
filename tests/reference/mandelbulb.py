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

ZERO = F(0)
CAMERA, LAMP = F(2.5), (F(-10), F(10), F(10))
AMBIENT, DIFFUSE, LIT = F(0.3), F(0.9), F(0.2)
BAIL_OUT, MARCH_BAIL_OUT, ITERATIONS, STEEP = F(16), F(2), 32, F(2**20)
REACH, FRAIL, FRAIL_THRESHOLD = F(3), 3, F(0.00175)
LANDING, DEEP, THRESHOLD, RAY_STRIDE, MARCH_STEPS, GRADIENT_STEP = F(0.8), F(0.35), F(0.004), F(0.0005), 128, F(0.006)
SURFACE, SURFACE_SLOPE, SURFACE_BACK, UNKNOWN_THRESHOLD = F(0.001), F(5), F(-0.01), F(0.002)
SHADOW_THRESHOLD, SHADOW_START, SHADOW_STRIDE, SHADOW_GROWTH = F(0.0005), F(0.004), F(0.003), F(0.1)
SHADOW_STEPS, SHADOW_STEEP = 64, F(0.245 / 0.0005)
TILE, TILE_CONE, PIXEL_CONE, NEAR, WIDER = 4, F(3), F(0.7), F(1), F(4)
CONE_SLOPE, CONE_NEAREST, CONE_STEEP = F(0.245), F(1.2), F(4)
INVERSE_ROOT = (2.18910241, -2.19102859, 1.31474924, -0.31282368)
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


def root_guess(v: Any) -> Any:
    """1 / sqrt(v) to a thirtieth: halved bits."""
    return (0x5F3759DF - (v.view(np.int32) >> 1)).view(F)


def over_positive(v: Any) -> Any:
    """1 / v of positive floats to a fiftieth, of others anything."""
    y = (np.uint32(0x7EF311C7) - v.view(np.uint32)).view(F)
    return y * fma(-v, y, F(2))


def about(r2: Any, dr: Any) -> Any:
    """r ln(r) / (2 dr) to a sixth: bits are nearly logarithms."""
    bits = r2.view(np.int32)
    over = ((bits >> 1) + (0x5F400000 - dr.view(np.int32))).view(F)
    return ((bits - 0x3F800000).astype(F) * F(np.log(2) / 4 / 2**23)) * over


def inverse_root(v: Any) -> Any:
    """1 / sqrt(v): a guess, times a polynomial in what is left; huge at 0."""
    y = root_guess(v)
    t = (v * y) * y
    series = F(INVERSE_ROOT[-1])
    for factor in INVERSE_ROOT[-2::-1]:
        series = fma(series, t, F(factor))
    return y * series


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


def step(v: Variation, z: Any, c: Any) -> tuple[Any, Any, Any]:
    """The next points; r^p of these and about 1 / r."""
    rho2, r2 = norms(z)
    over_rho = inverse_root(rho2)
    rho, two_z = rho2 * over_rho, z[2] + z[2]
    if v.power % 2 == 0:  # on from the squares of a and b, which need no r
        half, cosine, sine = fma(z[2], z[2], -rho2), z[0] * over_rho, z[1] * over_rho
        two = cosine + cosine
        a2, b2 = (half + half, two_z * rho), (fma(two, two, F(-2)) * r2, (two * sine) * r2)
        a, b, rp = powers(v.power // 2, a2, b2, r2)
        over_r = root_guess(r2)
    else:
        over_r = inverse_root(r2)
        r = r2 * over_r
        scale = r * over_rho
        bx = z[0] * scale
        a, b, rp = powers(v.power, (two_z, rho), (bx + bx, z[1] * scale), r)
    parts = v.choose((a[0] * F(0.5), a[1]), (b[0] * F(0.5), b[1]))  # a half of a float is exact
    return np.array([part + start for part, start in zip(parts, c, strict=True)]), rp, over_r


@dataclass
class Orbits:
    """Where orbits of points ended."""

    r2: Any
    dr: Any
    """How far orbits around them spread, by the published formula."""
    spread: Any
    """The same by the derivative of r^p."""
    traps: list[Any]
    """Smallest |z|, taxicab norm and r^2 [n], the start left out."""

    @property
    def distance(self) -> Any:
        """r log(r) / (2 dr) [n]."""
        root = inverse_root(self.dr)
        return ((F(0.25) * logarithm(self.r2)) * (self.r2 * inverse_root(self.r2))) * (root * root)


def orbits(v: Variation, c: Any, bail_out: Any = BAIL_OUT, steep: Any = STEEP, by_spread: bool = False) -> Orbits:
    """The orbits of points [3, n], until they are out or spread so far."""
    n = c.shape[1]
    z, dr, spread = c.copy(), np.ones(n, F), np.ones(n, F)
    traps = [np.full(n, 1e20, F) for _ in range(3)]
    for _ in range(ITERATIONS):
        on = np.flatnonzero((norms(z)[1] <= bail_out) & ((spread if by_spread else dr) < steep))
        if not len(on):
            break
        new, rp, over_r = step(v, z[:, on], c[:, on])
        growth = F(v.power) * rp
        z[:, on] = new
        dr[on], spread[on] = fma(growth, dr[on], F(1)), fma(growth * over_r, spread[on], F(1))
        sizes = abs(new[2]), (abs(new[0]) + abs(new[1])) + abs(new[2]), norms(new)[1]
        for trap, size in zip(traps, sizes, strict=True):
            trap[on] = np.where(size < trap[on], size, trap[on])
    return Orbits(norms(z)[1], dr, spread, traps)


@dataclass
class March:
    """How a ray marches."""

    threshold: Any
    steps: int
    spent_hits: bool
    """Whether a ray that took all steps has hit."""
    spread: Any = ZERO
    """Radius of a cone around the ray, a unit of its length."""
    stride: Any = ZERO
    growth: Any = ZERO
    """Least step: there, and more a unit of the ray's length."""
    reach: Any = None
    """Longest step in distances, if not the usual."""
    ray: bool = False
    """Whether it is to the surface: of frail powers, to where the published distance says, else on to `SURFACE`."""
    steep: Any = STEEP
    """Where orbits end: spread so far."""


def cone(spread: Any, reach: Any = None) -> March:
    """Of a cone: its orbits end where they are spread so far apart that the distance is that of its end."""
    threshold = NEAR * spread
    steep = max(CONE_SLOPE / fma(spread, CONE_NEAREST, threshold), CONE_STEEP)
    return March(threshold, MARCH_STEPS, True, spread, reach=reach, steep=steep)


@dataclass
class Places:
    """Where rays ended."""

    place: Any
    """[n], NaN where they left the sphere."""
    orbits: Orbits
    """The last ones."""


def march(v: Variation, how: March, origin: Any, way: Any, first: Any, end: Any) -> Places:
    """Rays [n] to where the distance, less the cone's radius, is at most the threshold."""
    frail = v.power <= FRAIL
    reach = how.reach or min(F(v.power / 2), REACH)
    bail_out = BAIL_OUT if how.ray and frail else MARCH_BAIL_OUT
    at, before, length = first.copy(), np.zeros_like(first), np.zeros_like(first)
    place, n = np.full(len(first), np.nan, F), len(first)
    last = Orbits(np.ones(n, F), np.ones(n, F), np.ones(n, F), [np.zeros(n, F) for _ in range(3)])
    stretched, on = np.zeros(n, bool), np.arange(n)
    for _ in range(how.steps):
        if not len(on):
            break
        here = orbits(v, fma(way[:, on], at[on], origin[:, on]), bail_out, how.steep, True)
        last.r2[on], last.dr[on] = here.r2, here.dr
        for kept, trap in zip(last.traps, here.traps, strict=True):
            kept[on] = trap
        found = fma(-how.spread, at[on], about(here.r2, here.spread))
        back = stretched[on] & (found < DEEP * how.threshold)
        least, drop, most = fma(how.growth, at[on], how.stride), before[on] - found, reach * found
        slope = length[on] * over_positive(drop)
        landing = (LANDING * fma(F(-0.5), how.threshold, found)) * slope
        known = (length[on] > 0) & (drop > 0)
        if how.ray and frail:
            far = about(here.r2, here.dr) > FRAIL_THRESHOLD
        else:
            far = found > np.where(known | (not how.ray), how.threshold, UNKNOWN_THRESHOLD)
        hit = ~back & ~far
        further = (found - SURFACE) * np.where(known, np.where(slope < SURFACE_SLOPE, slope, SURFACE_SLOPE), F(1))
        onto = at[on] + np.where(further > SURFACE_BACK, further, SURFACE_BACK)
        place[on[hit]] = (onto if how.ray and not frail else at[on])[hit]
        wanted = np.where((drop > 0) & (landing < most), landing, most)
        blind = np.where(found > least, found, least)
        longer = (length[on] > 0) & (wanted > blind)
        forward = np.where(longer, wanted, blind)
        out = ~back & ~hit & (at[on] + forward > end[on])
        at[on] = np.where(back, (at[on] - length[on]) + before[on], at[on] + forward)
        before[on], length[on] = np.where(back, before[on], found), np.where(back, F(0), forward)
        stretched[on] = longer & ~back
        on = on[~hit & ~out]
    if how.spent_hits:
        place[on] = at[on]
    return Places(place, last)


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
    """The ways from points [3, n] to the lamp."""
    return np.array([light - x for light, x in zip(LAMP, point, strict=True)])


def lit(v: Variation, point: Any) -> Any:
    """Whether points [3, n] of the surface see the lamp."""
    lamp = to_lamp(point)
    lamp = lamp * inverse_root(dot(lamp, lamp))
    middle = -dot(point, lamp)
    inside = fma(middle, middle, fma(v.radius, v.radius, -dot(point, point)))
    end = middle + np.where(inside > 0, inside * inverse_root(inside), F(0))
    how = March(
        SHADOW_THRESHOLD, SHADOW_STEPS, False, stride=SHADOW_STRIDE, growth=SHADOW_GROWTH, steep=SHADOW_STEEP
    )  # fmt: skip
    return np.isnan(march(v, how, point, lamp, np.full_like(end, SHADOW_START), end).place)


def diffuse(v: Variation, point: Any, distance: Any) -> Any:
    """Light by the surface's orientation at points [3, n]."""
    gradient, lamp = slope(v, point, distance), to_lamp(point)
    part, square = -dot(lamp, gradient), dot(gradient, gradient) * dot(lamp, lamp)
    return np.where((part > 0) & (square > 0), part * inverse_root(square), F(0))


def shares(traps: list[Any]) -> list[Any]:
    """Of the three colours, by orbit traps."""
    trap_z, taxi, trap_r = traps
    taxi2 = (taxi * F(2 / 3)) * (taxi * F(2 / 3))
    taxi4, r4 = taxi2 * taxi2, trap_r * trap_r
    return [share(trap_z), share(taxi4 * taxi4 * taxi2), share(r4 * r4 * trap_r)]


@dataclass
class Rays:
    """Rays from the camera that meet a sphere."""

    numbers: Any
    """Of the rays that do."""
    origin: Any
    way: Any
    first: Any
    end: Any

    def at(self, on: Any) -> Rays:
        """Some of them."""
        return Rays(self.numbers[on], self.origin[:, on], self.way[:, on], self.first[on], self.end[on])


def scale_of(u: Any, w: Any) -> Any:
    """Length of the part of a ray that is one unit ahead, turned over."""
    return inverse_root(fma(u, u, fma(w, w, F(1))))


def direct(view: View, u: Any, w: Any, scale: Any) -> Any:
    """Directions [3, n] of rays through places u to the right and w up, one unit ahead."""
    axes = zip(view.side, view.up, view.forward, strict=True)
    return np.array([fma(side, u, fma(up, w, forward)) * scale for side, up, forward in axes])


def aim(view: View, u: Any, w: Any, radius: Any) -> Rays:
    """Rays at places u to the right and w up, one unit ahead."""
    scale = scale_of(u, w)
    middle = CAMERA * scale
    inside = fma(middle, middle, fma(radius, radius, -CAMERA * CAMERA))
    on = np.flatnonzero(inside > 0)
    half = inside[on] * inverse_root(inside[on])
    origin = np.array([np.full(len(on), -CAMERA * x) for x in view.forward])
    near = middle[on] - half
    way = direct(view, u[on], w[on], scale[on])
    return Rays(on, origin, way, np.where(near > 0, near, F(0)), middle[on] + half)


@dataclass
class Canvas:
    """The rays of a canvas: s a side of a pixel."""

    side: int
    s: int

    @property
    def pixel(self) -> Any:
        """Width of a pixel, one unit ahead."""
        return F(self.s) * F(1 / (self.side * self.s))

    def across(self, column: Any) -> Any:
        """Place of a column of rays; that of a row is the negative."""
        n = self.side * self.s
        return fma(column.astype(F), F(1 / n), F(0.5 / n - 0.5))

    def middles(self, pixel: Any, pixels: int) -> Any:
        """Places of the middles of so many pixels from these on."""
        return self.across(pixel * self.s + (pixels * self.s - 1) / 2)

    def square(self, pixels: int) -> tuple[Any, Any]:
        """Places u and w of the middles of all squares of so many pixels a side, row by row."""
        line = self.middles(np.arange(0, self.side, pixels), pixels)
        u, w = np.meshgrid(line, -line)
        return u.ravel(), w.ravel()


@dataclass
class Found:
    """What the rays of n pixels found; a pixel has s rows of s rays."""

    hits: Any
    """[s, n], of each row."""
    point: Any
    """[s, 3, n], where the first of a row that hits does so."""
    distance: Any
    """[s, n], there."""
    shares: Any
    """[3, n], sums over all that hit."""


def cones(v: Variation, view: View, canvas: Canvas) -> tuple[Rays, Any]:
    """Cones around pixels, and where those end that reach something, else NaN."""
    tile, pixel = TILE_CONE * canvas.pixel, PIXEL_CONE * canvas.pixel
    tiles = -(-canvas.side // TILE)
    wide = aim(view, *canvas.square(TILE), fma(tile, WIDER, v.radius))
    starts = np.full(tiles * tiles, np.nan, F)
    starts[wide.numbers] = march(v, cone(tile, F(1)), wide.origin, wide.way, wide.first, wide.end).place

    rays = aim(view, *canvas.square(1), fma(pixel, WIDER, v.radius))
    start = starts[rays.numbers // canvas.side // TILE * tiles + rays.numbers % canvas.side // TILE]
    reached = ~np.isnan(start)
    rays, start = rays.at(reached), start[reached]
    begin = np.where(rays.first < start, start, rays.first)
    return rays, march(v, cone(pixel), rays.origin, rays.way, begin, rays.end).place


def sample(v: Variation, view: View, canvas: Canvas, rays: Rays, start: Any) -> Found:
    """The rays of pixels, from where their cones ended."""
    n, s = len(start), canvas.s
    found = Found(np.zeros((s, n), np.int64), np.zeros((s, 3, n), F), np.zeros((s, n), F), np.zeros((3, n), F))
    row, column = rays.numbers // canvas.side, rays.numbers % canvas.side
    scale = scale_of(canvas.middles(column, 1), canvas.middles(row, 1))
    how = March(THRESHOLD, MARCH_STEPS, True, stride=RAY_STRIDE, ray=True)
    for k in range(s * s):
        u, w = canvas.across(column * s + k % s), -canvas.across(row * s + k // s)
        way = direct(view, u, w, scale)
        ended = march(v, how, rays.origin, way, start, rays.end)
        hit = ~np.isnan(ended.place)
        new = hit & (found.hits[k // s] == 0)
        point = fma(way, ended.place, rays.origin)
        here = ended.orbits if v.power <= FRAIL else orbits(v, np.where(hit, point, F(2)), BAIL_OUT, STEEP, True)
        found.point[k // s][:, new] = point[:, new]
        found.distance[k // s][new] = here.distance[new]
        for total, part in zip(found.shares, shares(here.traps), strict=True):
            total[hit] = total[hit] + part[hit]
        found.hits[k // s] += hit
    return found


def colours(v: Variation, view: View, found: Found, each: int) -> Any:
    """Bytes [n, 4] of pixels with hits: red, green and blue (times coverage) and coverage."""
    light, rows = np.zeros(found.hits.shape[1], F), np.zeros(found.hits.shape[1], F)
    for hits, point, distance in zip(found.hits, found.point, found.distance, strict=True):
        on = hits > 0
        light[on] = light[on] + diffuse(v, point[:, on], distance[on])
        rows[on] = rows[on] + F(1)
    first = (found.hits > 0).argmax(axis=0)
    point = np.take_along_axis(found.point, first[None, None], axis=0)[0]
    total = found.hits.sum(axis=0)
    hits = total.astype(F)
    levels = [fma(sums, F(1023) / hits, F(0.5)).astype(np.int32).astype(F) for sums in found.shares]
    bright = fma(light / rows, DIFFUSE, AMBIENT) * dot(point, point)
    more = np.where(lit(v, point), LIT, F(0))
    result = []
    for k in range(3):
        of = [colour[k] for colour in view.colours]
        mixed = fma(of[0], levels[0], fma(of[1], levels[1], of[2] * levels[2]))
        shown = share(fma(mixed * (F(1) / F(1023)), bright, more))
        result.append(fma(shown, hits * (F(255) / F(each)), F(0.5)).astype(np.int64))
    return np.array([*result, (total * 255 + each // 2) // each]).T


def texture(recipe: Recipe, v: Variation, view: View) -> Any:
    """Red, green, blue (times coverage) and coverage, int64 [canvas, canvas, 4]."""
    canvas = Canvas(recipe.canvas, recipe.samples)
    rays, start = cones(v, view, canvas)
    on = ~np.isnan(start)
    rays = rays.at(on)
    result = np.zeros((canvas.side**2, 4), np.int64)
    found = sample(v, view, canvas, rays, start[on])
    on = found.hits.any(axis=0)
    found = Found(found.hits[:, on], found.point[..., on], found.distance[:, on], found.shares[:, on])
    if on.any():
        result[rays.numbers[on]] = colours(v, view, found, canvas.s**2)
    return result.reshape(canvas.side, canvas.side, 4)


def over(texel: Any, image: Any) -> Any:
    """A colour, times coverage, over a pixel [3]."""
    return texel[:3] + ((255 - texel[3]) * image + 128) * 257 // 2**16


def draw(recipe: Recipe, bank: VariationBank, draws: Draws, slot: int, view: int) -> tuple[int, Any]:
    """An object's code and its texture."""
    k = code.choose(recipe, bank, draws, slot)
    variation = Variation(int(bank.powers[k]), int(bank.rules[k]), bank.codes().radii[k])
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
