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
BAIL_OUT, ITERATIONS, STEEP, STEEP_SHADED = F(16), 32, F(2**16), F(2**20)
OVERSTEP, THRESHOLD, SHADOW_THRESHOLD = F(1.5), F(1e-3), F(1e-4)
MARCH_STEPS, SHADOW_STEPS, GRADIENT_STEP = 128, 64, F(1e-3)


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


def multiply(n: Any, m: Any) -> tuple[Any, Any]:
    """Complex numbers."""
    return fma(n[0], m[0], -(n[1] * m[1])), fma(n[0], m[1], n[1] * m[0])


def square(n: Any) -> tuple[Any, Any]:
    """A complex number times itself."""
    return fma(n[0], n[0], -(n[1] * n[1])), (n[0] + n[0]) * n[1]


def powers(p: int, a: Any, b: Any, r: Any) -> tuple[Any, Any, Any]:
    """a^p, b^p and r^p, by squaring."""
    aa, bb, rr = a, b, r
    for bit in bin(p)[3:]:
        aa, bb, rr = square(aa), square(bb), rr * rr
        if bit == "1":
            aa, bb, rr = multiply(aa, a), multiply(bb, b), rr * r
    return aa, bb, rr


def logarithm(v: Any) -> Any:
    """ln v = e ln 2 + 2 artanh((m - 1) / (m + 1)) with v = m 2^e and m in [sqrt(1/2), sqrt(2))."""
    bits = v.view(np.int32)
    e = (bits - 0x3F3504F3) >> 23
    f = (bits - (e << 23)).view(F) - F(1)
    s = f / (f + F(2))
    t = s * s
    series = F(1 / 9)
    for term in (1 / 7, 1 / 5, 1 / 3, 1):
        series = fma(series, t, F(term))
    return fma(e.astype(F), F(np.log(2)), (s + s) * series)


def norms(z: Any) -> tuple[Any, Any]:
    """x^2 + y^2 and r^2."""
    rho2 = fma(z[0], z[0], z[1] * z[1])
    return rho2, fma(z[2], z[2], rho2)


def step(v: Variation, z: Any, c: Any) -> tuple[Any, Any, Any, Any]:
    """The next points, and a^p, b^p and r^p of these."""
    rho2, r2 = norms(z)
    rho, r = np.sqrt(rho2), np.sqrt(r2)
    off = rho > 0
    scale = r / rho
    b = np.where(off, z[0] * scale, r), np.where(off, z[1] * scale, F(0))
    a, b, rp = powers(v.power, (z[2], rho), b, r)
    return np.array([part + start for part, start in zip(v.choose(a, b), c, strict=True)]), a, b, rp


def distance(v: Variation, c: Any) -> Any:
    """r log(r) / (2 dr) of points [3, n]."""
    z, dr = c.copy(), np.ones(c.shape[1], F)
    for _ in range(ITERATIONS):
        on = np.flatnonzero((norms(z)[1] <= BAIL_OUT) & (dr < STEEP))
        if not len(on):
            break
        new, _, _, rp = step(v, z[:, on], c[:, on])
        z[:, on], dr[on] = new, fma(F(v.power) * rp, dr[on], F(1))
    r2 = norms(z)[1]
    return (F(0.25) * logarithm(r2) * np.sqrt(r2)) / dr


def march(
    v: Variation, origin: Any, way: Any, first: Any, end: Any, threshold: Any, limit: int, spent_hits: bool
) -> Any:
    """Places of rays [n] where the distance is at most the threshold; NaN where they leave the sphere."""
    at, before, length = first.copy(), np.zeros_like(first), np.zeros_like(first)
    place = np.full(len(first), np.nan, F)
    on = np.arange(len(first))
    for _ in range(limit):
        if not len(on):
            break
        found = distance(v, fma(way[:, on], at[on], origin[:, on]))
        apart = (before[on] + found < length[on]) & (length[on] > 0)
        hit = ~apart & ~(found > threshold)
        place[on[hit]] = at[on[hit]]
        forward = at[on] + OVERSTEP * found
        out = ~apart & ~hit & (forward > end[on])
        at[on] = np.where(apart, (at[on] - length[on]) + before[on], forward)
        before[on], length[on] = np.where(apart, F(0), found), np.where(apart, F(0), OVERSTEP * found)
        on = on[~hit & ~out]
    if spent_hits:
        place[on] = at[on]
    return place


def orbit_traps(v: Variation, c: Any) -> list[Any]:
    """Smallest |z|, taxicab norm and r^2 of the orbits of points [3, n], their start left out."""
    n = c.shape[1]
    z, dr = c.copy(), np.ones(n, F)
    traps = [np.full(n, 1e20, F) for _ in range(3)]
    for _ in range(ITERATIONS):
        on = np.flatnonzero((norms(z)[1] <= BAIL_OUT) & (dr < STEEP_SHADED))
        if not len(on):
            break
        new, _, _, rp = step(v, z[:, on], c[:, on])
        z[:, on], dr[on] = new, fma(F(v.power) * rp, dr[on], F(1))
        sizes = abs(new[2]), (abs(new[0]) + abs(new[1])) + abs(new[2]), norms(new)[1]
        for trap, size in zip(traps, sizes, strict=True):
            trap[on] = np.where(size < trap[on], size, trap[on])
    return traps


def gradient(v: Variation, point: Any) -> list[Any]:
    """Differences of the distance on either side of points [3, n], along each axis."""
    result = []
    for k in range(3):
        before, after = point.copy(), point.copy()
        before[k], after[k] = point[k] - GRADIENT_STEP, point[k] + GRADIENT_STEP
        result.append(distance(v, after) - distance(v, before))
    return result


def dot(a: Any, b: Any) -> Any:
    """Three products, added from the last on."""
    return fma(a[0], b[0], fma(a[1], b[1], a[2] * b[2]))


def share(v: Any) -> Any:
    """At most 1, which anything that is no number becomes too."""
    return np.where(v < 1, v, F(1))


def colours(v: Variation, view: View, point: Any) -> Any:
    """Bytes [n, 3] of points [3, n] of the surface."""
    lamp = np.array([light - x for light, x in zip(LAMP, point, strict=True)])
    lamp = lamp * (F(1) / np.sqrt(dot(lamp, lamp)))
    trap_z, taxi, trap_r = orbit_traps(v, point)
    slope = gradient(v, point)
    length = dot(slope, slope)
    diffuse = -dot(lamp, slope) / np.sqrt(length)
    diffuse = np.where((length > 0) & (diffuse > 0), diffuse, F(0))
    taxi2 = (taxi * F(2 / 3)) * (taxi * F(2 / 3))
    taxi4, r4 = taxi2 * taxi2, trap_r * trap_r
    shares = share(trap_z), share(taxi4 * taxi4 * taxi2), share(r4 * r4 * trap_r)
    r2 = dot(point, point)
    bright = fma(diffuse, DIFFUSE, AMBIENT) * r2
    middle = -dot(point, lamp)
    inside = fma(middle, middle, fma(v.radius, v.radius, -r2))
    end = middle + np.sqrt(np.where(inside > 0, inside, F(0)))
    shadow = march(v, point, lamp, np.zeros_like(end), end, SHADOW_THRESHOLD, SHADOW_STEPS, False)
    lit = np.where(np.isnan(shadow), LIT, F(0))
    result = []
    for k in range(3):
        of = [colour[k] for colour in view.colours]
        mixed = fma(of[0], shares[0], fma(of[1], shares[1], of[2] * shares[2]))
        result.append(fma(share(mixed * bright + lit), F(255), F(0.5)).astype(np.int64))
    return np.array(result).T


def texture(recipe: Recipe, v: Variation, view: View) -> Any:
    """Red, green, blue (times coverage) and coverage, int64 [canvas, canvas, 4]."""
    s, canvas = recipe.samples, recipe.canvas
    rays = np.arange(canvas * s).astype(F)
    line = fma(rays, F(1 / (canvas * s)), F(0.5 / (canvas * s) - 0.5))
    u, w = (side.ravel() for side in np.meshgrid(line, -line))
    scale = F(1) / np.sqrt(fma(u, u, fma(w, w, F(1))))
    middle = CAMERA * scale
    inside = fma(middle, middle, fma(v.radius, v.radius, -CAMERA * CAMERA))
    on = np.flatnonzero(inside > 0)
    half = np.sqrt(inside[on])
    origin = np.array([np.full(len(on), -CAMERA * x) for x in view.forward])
    way = np.array([
        fma(side, u[on], fma(up, w[on], forward)) * scale[on]
        for side, up, forward in zip(view.side, view.up, view.forward, strict=True)
    ])  # fmt: skip
    first = np.where(middle[on] - half > 0, middle[on] - half, F(0))
    place = march(v, origin, way, first, middle[on] + half, THRESHOLD, MARCH_STEPS, True)
    hits = np.flatnonzero(~np.isnan(place))
    found = np.zeros((len(u), 4), np.int64)
    if len(hits):
        found[on[hits], :3] = colours(v, view, fma(way[:, hits], place[hits], origin[:, hits]))
        found[on[hits], 3] = 255
    sums = found.reshape(canvas, s, canvas, s, 4).sum(axis=(1, 3))
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
