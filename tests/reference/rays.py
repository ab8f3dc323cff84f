"""Rays through Mandelbulb variations in NumPy, slow and obvious: cones, marches, shading and textures, all rays of a
picture side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Purpose
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.recipes.recipe import Recipe
from tests.reference import code
from tests.reference.arithmetic import Draws, F, Floats, Whole, fma
from tests.reference.attractor import place_of, taps
from tests.reference.mandelbulb import (
    BAIL_OUT,
    STEEP,
    Orbits,
    Variation,
    View,
    about,
    draw_view,
    inverse_root,
    orbits,
    over_positive,
)

ZERO = F(0)
CAMERA, LAMP = F(2.5), (F(-10), F(10), F(10))
AMBIENT, DIFFUSE, LIT = F(0.3), F(0.9), F(0.2)
MARCH_BAIL_OUT, REACH, FRAIL, FRAIL_THRESHOLD = F(2), F(3), 3, F(0.00175)
LANDING, DEEP, THRESHOLD, RAY_STRIDE, MARCH_STEPS, GRADIENT_STEP = F(0.8), F(0.35), F(0.004), F(0.0005), 128, F(0.006)
SURFACE, SURFACE_SLOPE, SURFACE_BACK, UNKNOWN_THRESHOLD = F(0.001), F(5), F(-0.01), F(0.002)
SHADOW_THRESHOLD, SHADOW_START, SHADOW_STRIDE, SHADOW_GROWTH = F(0.0005), F(0.004), F(0.003), F(0.1)
SHADOW_STEPS, SHADOW_STEEP = 64, F(0.245 / 0.0005)
TILE, TILE_CONE, PIXEL_CONE, NEAR, WIDER = 4, F(3), F(0.7), F(1), F(4)
CONE_SLOPE, CONE_NEAREST, CONE_STEEP = F(0.245), F(1.2), F(4)


@dataclass
class March:
    """How a ray marches."""

    threshold: np.float32
    steps: int
    spent_hits: bool
    """Whether a ray that took all steps has hit."""
    spread: np.float32 = ZERO
    """Radius of a cone around the ray, a unit of its length."""
    stride: np.float32 = ZERO
    growth: np.float32 = ZERO
    """Least step: there, and more a unit of the ray's length."""
    reach: np.float32 | None = None
    """Longest step in distances, if not the usual."""
    ray: bool = False
    """Whether it is to the surface: of frail powers, to where the published distance says, else on to `SURFACE`."""
    steep: np.float32 = STEEP
    """Where orbits end: spread so far."""


def cone(spread: np.float32, reach: np.float32 | None = None) -> March:
    """Of a cone: its orbits end where they are spread so far apart that the distance is that of its end."""
    threshold = NEAR * spread
    steep = max(CONE_SLOPE / fma(spread, CONE_NEAREST, threshold), CONE_STEEP)
    return March(threshold, MARCH_STEPS, True, spread, reach=reach, steep=steep)


def march(
    v: Variation, how: March, origin: Floats, way: Floats, first: Floats, end: Floats
) -> tuple[Floats, Orbits]:
    """Rays [n] to where the distance, less the cone's radius, is at most the threshold.

    Returns:
        Where they end along their ways, NaN where they left the sphere, and the last orbits.
    """
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
    return place, last


def slope(v: Variation, point: Floats, distance: Floats) -> list[Floats]:
    """Differences of the distance from that at points [3, n], along each axis."""
    result = []
    for k in range(3):
        beside = point.copy()
        beside[k] = point[k] + GRADIENT_STEP
        result.append(orbits(v, beside).distance - distance)
    return result


def dot(a: Sequence[Floats] | Floats, b: Sequence[Floats] | Floats) -> Floats:
    """Three products, added from the last on."""
    total: Floats = fma(a[0], b[0], fma(a[1], b[1], a[2] * b[2]))
    return total


def share(v: Floats) -> Floats:
    """At most 1, which anything that is no number becomes too."""
    return np.where(v < 1, v, F(1))


def to_lamp(point: Floats) -> Floats:
    """The ways from points [3, n] to the lamp."""
    return np.array([light - x for light, x in zip(LAMP, point, strict=True)])


def lit(v: Variation, point: Floats) -> NDArray[np.bool_]:
    """Whether points [3, n] of the surface see the lamp."""
    lamp = to_lamp(point)
    lamp = lamp * inverse_root(dot(lamp, lamp))
    middle = -dot(point, lamp)
    inside = fma(middle, middle, fma(v.radius, v.radius, -dot(point, point)))
    end = middle + np.where(inside > 0, inside * inverse_root(inside), F(0))
    how = March(
        SHADOW_THRESHOLD, SHADOW_STEPS, False, stride=SHADOW_STRIDE, growth=SHADOW_GROWTH, steep=SHADOW_STEEP
    )  # fmt: skip
    return np.isnan(march(v, how, point, lamp, np.full_like(end, SHADOW_START), end)[0])


def diffuse(v: Variation, point: Floats, distance: Floats) -> Floats:
    """Light by the surface's orientation at points [3, n]."""
    gradient, lamp = slope(v, point, distance), to_lamp(point)
    part, square = -dot(lamp, gradient), dot(gradient, gradient) * dot(lamp, lamp)
    return np.where((part > 0) & (square > 0), part * inverse_root(square), F(0))


def shares(traps: list[Floats]) -> list[Floats]:
    """Of the three colours, by orbit traps."""
    trap_z, taxi, trap_r = traps
    taxi2 = (taxi * F(2 / 3)) * (taxi * F(2 / 3))
    taxi4, r4 = taxi2 * taxi2, trap_r * trap_r
    return [share(trap_z), share(taxi4 * taxi4 * taxi2), share(r4 * r4 * trap_r)]


@dataclass
class Rays:
    """Rays from the camera that meet a sphere."""

    numbers: Whole
    """Of the rays that do."""
    origin: Floats
    way: Floats
    first: Floats
    end: Floats

    def at(self, on: NDArray[np.bool_]) -> Rays:
        """Some of them."""
        return Rays(self.numbers[on], self.origin[:, on], self.way[:, on], self.first[on], self.end[on])


def scale_of(u: Floats, w: Floats) -> Floats:
    """Length of the part of a ray that is one unit ahead, turned over."""
    return inverse_root(fma(u, u, fma(w, w, F(1))))


def direct(view: View, u: Floats, w: Floats, scale: Floats) -> Floats:
    """Directions [3, n] of rays through places u to the right and w up, one unit ahead."""
    axes = zip(view.side, view.up, view.forward, strict=True)
    return np.array([fma(side, u, fma(up, w, forward)) * scale for side, up, forward in axes])


def aim(view: View, u: Floats, w: Floats, radius: np.float32) -> Rays:
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
    def pixel(self) -> np.float32:
        """Width of a pixel, one unit ahead."""
        return F(self.s) * F(1 / (self.side * self.s))

    def across(self, column: NDArray[np.number]) -> Floats:
        """Place of a column of rays; that of a row is the negative."""
        n = self.side * self.s
        return fma(column.astype(F), F(1 / n), F(0.5 / n - 0.5))

    def middles(self, pixel: NDArray[np.number], pixels: int) -> Floats:
        """Places of the middles of so many pixels from these on."""
        return self.across(pixel * self.s + (pixels * self.s - 1) / 2)

    def square(self, pixels: int) -> tuple[Floats, Floats]:
        """Places u and w of the middles of all squares of so many pixels a side, row by row."""
        line = self.middles(np.arange(0, self.side, pixels), pixels)
        u, w = np.meshgrid(line, -line)
        return u.ravel(), w.ravel()


@dataclass
class Found:
    """What the rays of n pixels found; a pixel has s rows of s rays."""

    hits: Whole
    """[s, n], of each row."""
    point: Floats
    """[s, 3, n], where the first of a row that hits does so."""
    distance: Floats
    """[s, n], there."""
    shares: Floats
    """[3, n], sums over all that hit."""


def cones(v: Variation, view: View, canvas: Canvas) -> tuple[Rays, Floats]:
    """Cones around pixels, and where those end that reach something, else NaN."""
    tile, pixel = TILE_CONE * canvas.pixel, PIXEL_CONE * canvas.pixel
    tiles = -(-canvas.side // TILE)
    wide = aim(view, *canvas.square(TILE), fma(tile, WIDER, v.radius))
    starts = np.full(tiles * tiles, np.nan, F)
    starts[wide.numbers] = march(v, cone(tile, F(1)), wide.origin, wide.way, wide.first, wide.end)[0]

    rays = aim(view, *canvas.square(1), fma(pixel, WIDER, v.radius))
    start = starts[rays.numbers // canvas.side // TILE * tiles + rays.numbers % canvas.side // TILE]
    reached = ~np.isnan(start)
    rays, start = rays.at(reached), start[reached]
    begin = np.where(rays.first < start, start, rays.first)
    return rays, march(v, cone(pixel), rays.origin, rays.way, begin, rays.end)[0]


def sample(v: Variation, view: View, canvas: Canvas, rays: Rays, start: Floats) -> Found:
    """The rays of pixels, from where their cones ended."""
    n, s = len(start), canvas.s
    found = Found(np.zeros((s, n), np.int64), np.zeros((s, 3, n), F), np.zeros((s, n), F), np.zeros((3, n), F))
    row, column = rays.numbers // canvas.side, rays.numbers % canvas.side
    scale = scale_of(canvas.middles(column, 1), canvas.middles(row, 1))
    how = March(THRESHOLD, MARCH_STEPS, True, stride=RAY_STRIDE, ray=True)
    for k in range(s * s):
        u, w = canvas.across(column * s + k % s), -canvas.across(row * s + k // s)
        way = direct(view, u, w, scale)
        place, last = march(v, how, rays.origin, way, start, rays.end)
        hit = ~np.isnan(place)
        new = hit & (found.hits[k // s] == 0)
        point = fma(way, place, rays.origin)
        here = last if v.power <= FRAIL else orbits(v, np.where(hit, point, F(2)), BAIL_OUT, STEEP, True)
        found.point[k // s][:, new] = point[:, new]
        found.distance[k // s][new] = here.distance[new]
        for total, part in zip(found.shares, shares(here.traps), strict=True):
            total[hit] = total[hit] + part[hit]
        found.hits[k // s] += hit
    return found


def colours(v: Variation, view: View, found: Found, each: int) -> Whole:
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


def texture(recipe: Recipe, v: Variation, view: View) -> Whole:
    """Red, green, blue (times coverage) and coverage, int64 [canvas, canvas, 4]."""
    canvas = Canvas(recipe.canvas, recipe.samples)
    rays, start = cones(v, view, canvas)
    on = ~np.isnan(start)
    rays = rays.at(on)
    result = np.zeros((canvas.side**2, 4), np.int64)
    found = sample(v, view, canvas, rays, start[on])
    seen = np.flatnonzero(found.hits.any(axis=0))
    found = Found(found.hits[:, seen], found.point[..., seen], found.distance[:, seen], found.shares[:, seen])
    if len(seen):
        result[rays.numbers[seen]] = colours(v, view, found, canvas.s**2)
    return result.reshape(canvas.side, canvas.side, 4)


def over(texel: Whole, image: Whole) -> Whole:
    """A colour, times coverage, over a pixel [3]."""
    result: Whole = texel[:3] + ((255 - texel[3]) * image + 128) * 257 // 2**16
    return result


def draw(recipe: Recipe, bank: VariationBank, draws: Draws, slot: int, view: int) -> tuple[int, Whole]:
    """An object's code and its texture."""
    k = code.choose(recipe, bank, draws, slot)
    variation = Variation(int(bank.powers[k]), int(bank.rules[k]), bank.codes().radii[k])
    with np.errstate(all="ignore"):
        return k, texture(recipe, variation, draw_view(draws, slot, view))


def box(recipe: Recipe, draws: Draws, slot: int, view: int, corner: tuple[int, int]) -> tuple[int, int, int]:
    """Side, left and top of an object in a picture whose corner (top, left) lies there in the scene."""
    return place_of(recipe, draws.words(Purpose.OBJECT, 2, slot, view), corner)


def place(recipe: Recipe, side: int, left: int, top: int, drawn: Whole, image: Whole, mask: Whole) -> None:
    """Resize a texture to its side and lay it over the image [3, size, size] at its place."""
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
