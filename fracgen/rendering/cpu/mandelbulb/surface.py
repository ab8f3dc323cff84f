"""Draw a Mandelbulb variation: rays marched to its surface, shaded, and marched on to the lamp."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.cpu.mandelbulb.lanes import RAYS
from fracgen.rendering.cpu.mandelbulb.orbit import (
    AT,
    BEFORE,
    DISTANCE,
    END,
    MARCH_ROWS,
    P_X,
    POINT,
    POINT_ROWS,
    STATE,
    STEP,
    STEPS,
    TRAP_R,
    TRAP_TAXI,
    TRAP_Z,
    X,
    estimate,
    march,
    trap,
)  # fmt: skip
from fracgen.rendering.cpu.simd import fma
from fracgen.rendering.records import ObjectField
from fracgen.rendering.variations import (
    AMBIENT,
    BAIL_OUT,
    CAMERA,
    CONE,
    DIFFUSE,
    GRADIENT_STEP,
    LAMP,
    LIT,
    MARCH_STEPS,
    SHADOW_STEPS,
    SHADOW_STRIDE,
    SHADOW_THRESHOLD,
    THRESHOLD,
    TILE,
    ViewField,
)

_F, _I, _U, _Q = np.float32, np.int32, np.uint32, np.int64
_FORWARD, _UP, _SIDE, _COLOURS = (int(field) for field in ViewField)
_ONE, _GONE = _Q(1), _F(-1.0)
_CX, _PX, _R2, _DR = POINT, POINT + 3, POINT + 6, POINT + 7  # rows of an orbit within those of a march
BATCH = 4096
"""Rays taken through marching, shading and shadow together: few idle lanes, and all of them in cache."""
_MIDDLE = _F(0.5 * (TILE - 1))
_LAMP = tuple(_F(v) for v in LAMP)


class Way(NamedTuple):
    """How rays march; see `orbit.march`."""

    threshold: np.float32
    spread: np.float32
    stride: np.float32
    limit: np.float32
    spent_hits: bool
    """Whether a ray that took `limit` steps has hit where it is."""


_TO_SURFACE = Way(_F(THRESHOLD), _F(0.0), _F(0.0), _F(MARCH_STEPS), True)
_TO_LAMP = Way(_F(SHADOW_THRESHOLD), _F(0.0), _F(SHADOW_STRIDE), _F(SHADOW_STEPS), False)


class Space(NamedTuple):
    """Work space of `draw`."""

    source: Any
    """float32 [8, BATCH], rays: origin, direction, place to begin, place to stop."""
    number: Any
    """int64 [BATCH], of the rays, or of their hits."""
    found: Any
    """float32 [BATCH], places of hits, or -1."""
    shadows: Any
    """float32 [8, BATCH], as `source`."""
    owner: Any
    """int64 [BATCH]: shadow ray of a hit."""
    points: Any
    """float32 [3, BATCH], of hits."""
    rays: Any
    """float32 [MARCH_ROWS, RAYS]."""
    lanes: Any
    """float32 [POINT_ROWS, RAYS]."""
    gradient: Any
    """float32 [3, RAYS]."""
    starts: Any
    """float32 [tiles], where rays of a tile may begin, or -1."""
    sums: Any
    """uint32 [canvas^2, 4]."""


@inner
def _load(source: Any, ray: Any, rays: Any, lane: Any) -> None:
    for k in range(8):
        rays[k, lane] = source[k, ray]
    rays[BEFORE, lane] = rays[STEP, lane] = rays[STEPS, lane] = _F(0.0)
    x, y, z = (
        fma(rays[3, lane], rays[AT, lane], rays[0, lane]), fma(rays[4, lane], rays[AT, lane], rays[1, lane]),
        fma(rays[5, lane], rays[AT, lane], rays[2, lane]),
    )  # fmt: skip
    rays[_CX, lane], rays[_CX + 1, lane], rays[_CX + 2, lane] = x, y, z
    rays[_PX, lane], rays[_PX + 1, lane], rays[_PX + 2, lane] = x, y, z
    rays[_R2, lane], rays[_DR, lane] = fma(z, z, fma(x, x, y * y)), _F(1.0)
    rays[POINT + STATE - 1, lane] = _F(0.0)


@inner
def _idle(rays: Any, lane: Any) -> None:
    """Leave a lane with an orbit that has escaped, and a ray that stands there."""
    rays[:, lane] = _F(0.0)
    rays[X, lane] = rays[_CX, lane] = rays[_PX, lane] = _F(8.0)
    rays[_R2, lane], rays[_DR, lane] = _F(4.0 * BAIL_OUT), _F(1.0)


@inner
def march_all(source: Any, count: Any, power: Any, rule: Any, way: Any, rays: Any, found: Any) -> None:
    """March rays 0 .. count - 1, RAYS at a time, a finished one's lane going to the next.

    Args:
        source: float32 [8, >= count], see `Space`.
        power, rule: int32 of the class.
        way: `Way`.
        rays: float32 [MARCH_ROWS, RAYS], work space.
        found: float32 [>= count], written: the place of the hit, or -1.
    """
    holds = np.empty(RAYS, np.int32)
    live, busy, following = _Q(0), 0, 0
    for lane in range(RAYS):
        if following < count:
            _load(source, following, rays, lane)
            holds[lane], following = following, following + 1
            live |= _ONE << lane
            busy += 1
        else:
            _idle(rays, lane)
    while live != 0:
        hit, out, spent = march(
            rays, power, rule, way.threshold, way.spread, way.stride, way.limit, _I(busy // 2)
        )  # fmt: skip
        ended = (hit | out | spent) & live
        lane = 0
        while ended != 0:
            if ended & _ONE:
                bit = _ONE << lane
                surface = (hit & bit) != 0 or (way.spent_hits and (out & bit) == 0)
                found[holds[lane]] = rays[AT, lane] if surface else _GONE
                if following < count:
                    _load(source, following, rays, lane)
                    holds[lane], following = following, following + 1
                else:
                    _idle(rays, lane)
                    live &= ~bit
                    busy -= 1
            ended >>= _ONE
            lane += 1


@inner
def aim(parameters: Any, view: Any, radius: Any, column: Any, row: Any, source: Any, at: Any) -> Any:
    """Put the ray of a column and a row of rays into column `at` of `source`; False where it misses a sphere of this
    radius."""
    u = fma(_F(column), parameters.ray_step, parameters.ray_first)
    w = -fma(_F(row), parameters.ray_step, parameters.ray_first)
    scale = _F(1.0) / np.sqrt(fma(u, u, fma(w, w, _F(1.0))))
    middle = _F(CAMERA) * scale
    square = fma(middle, middle, fma(radius, radius, _F(-CAMERA * CAMERA)))
    if not square > _F(0.0):
        return False
    half = np.sqrt(square)
    for k in range(3):
        source[k, at] = _F(-CAMERA) * view[_FORWARD + k]
        source[3 + k, at] = fma(view[_SIDE + k], u, fma(view[_UP + k], w, view[_FORWARD + k])) * scale
    nearest = middle - half
    source[AT, at] = nearest if nearest > _F(0.0) else _F(0.0)
    source[END, at] = middle + half
    return True


@inner
def march_tiles(parameters: Any, view: Any, radius: Any, power: Any, rule: Any, space: Any) -> None:
    """Where the rays of each tile may begin, to `space.starts`: a cone that holds them goes as far as it has room."""
    side = _tiles(parameters)
    spread = _F(CONE) * parameters.ray_step
    way = Way(spread, spread, _F(0.0), _F(MARCH_STEPS), True)
    wide = fma(spread, _F(4.0), radius)
    space.starts[:] = _GONE
    count = 0
    for tile in range(side * side):
        column, row = _F(tile % side * TILE) + _MIDDLE, _F(tile // side * TILE) + _MIDDLE
        if aim(parameters, view, wide, column, row, space.source, count):
            space.number[count] = tile
            count += 1
        if count == BATCH or (tile == side * side - 1 and count > 0):
            march_all(space.source, count, power, rule, way, space.rays, space.found)
            for k in range(count):
                space.starts[space.number[k]] = space.found[k]
            count = 0


@inner
def _tiles(parameters: Any) -> Any:
    """Tiles along a side of a canvas."""
    return (parameters.canvas * parameters.samples + TILE - 1) // TILE


@inner
def shadow(points: Any, hit: Any, radius: Any, shadows: Any, at: Any) -> None:
    """The ray from a hit to the lamp, number `at`."""
    x, y, z = points[0, hit], points[1, hit], points[2, hit]
    lx, ly, lz = to_lamp(x, y, z)
    shadows[0, at], shadows[1, at], shadows[2, at] = x, y, z
    shadows[3, at], shadows[4, at], shadows[5, at] = lx, ly, lz
    middle = -fma(x, lx, fma(y, ly, z * lz))
    square = fma(middle, middle, fma(radius, radius, -fma(x, x, fma(y, y, z * z))))
    shadows[AT, at] = _F(0.0)
    shadows[END, at] = middle + np.sqrt(square if square > _F(0.0) else _F(0.0))


@inner
def to_lamp(x: Any, y: Any, z: Any) -> Any:
    """A unit vector."""
    lx, ly, lz = _LAMP[0] - x, _LAMP[1] - y, _LAMP[2] - z
    scale = _F(1.0) / np.sqrt(fma(lx, lx, fma(ly, ly, lz * lz)))
    return lx * scale, ly * scale, lz * scale


@inner
def differentiate(lanes: Any, power: Any, rule: Any, gradient: Any) -> None:
    """Differences of the distance from that at points, along each axis, to gradient [3, RAYS].

    A difference of this width spans several bands of orbits that escape after equally many steps. The
    exact gradient of one band points elsewhere, and the published pictures show the former.
    """
    here = np.empty(RAYS, np.float32)
    kept = np.empty(RAYS, np.float32)
    here[:] = lanes[DISTANCE]
    for axis in range(3):
        row = P_X + axis
        kept[:] = lanes[row]
        lanes[row] += _F(GRADIENT_STEP)
        estimate(lanes, power, rule)
        gradient[axis] = lanes[DISTANCE] - here
        lanes[row] = kept


@inner
def diffuse(gradient: Any, lane: Any, lx: Any, ly: Any, lz: Any) -> Any:
    """Share of the lamp's light by the surface's orientation. The distance falls outwards in the band of a
    hit, mostly: the published sign, which lights what faces the lamp."""
    x, y, z = gradient[0, lane], gradient[1, lane], gradient[2, lane]
    square = fma(x, x, fma(y, y, z * z))
    found = -fma(lx, x, fma(ly, y, lz * z)) / np.sqrt(square)
    return found if square > _F(0.0) and found > _F(0.0) else _F(0.0)


@inner
def _share(v: Any) -> Any:
    return v if v < _F(1.0) else _F(1.0)


@inner
def _byte(v: Any) -> Any:
    """A share of light, 0 and up, to a byte, rounded to nearest."""
    return _U(fma(_share(v), _F(255.0), _F(0.5)))


@inner
def light(lanes: Any, gradient: Any, lane: Any, view: Any, more: Any, target: Any) -> None:
    """Add the colour of a hit to its pixel's sums."""
    taxi = lanes[TRAP_TAXI, lane] * _F(2.0 / 3.0)
    taxi = taxi * taxi
    fourth = taxi * taxi
    tenth = fourth * fourth * taxi
    r2 = lanes[TRAP_R, lane]
    fifth = r2 * r2
    fifth = fifth * fifth * r2
    first, second, third = _share(lanes[TRAP_Z, lane]), _share(tenth), _share(fifth)
    x, y, z = lanes[P_X, lane], lanes[P_X + 1, lane], lanes[P_X + 2, lane]
    lx, ly, lz = to_lamp(x, y, z)
    bright = fma(diffuse(gradient, lane, lx, ly, lz), _F(DIFFUSE), _F(AMBIENT)) * fma(x, x, fma(y, y, z * z))
    for k in range(3):
        mixed = fma(
            view[_COLOURS + k], first, fma(view[_COLOURS + 3 + k], second, view[_COLOURS + 6 + k] * third)
        )  # fmt: skip
        target[k] += _byte(mixed * bright + more)
    target[3] += _U(255)


@inner
def make_space(parameters: Any) -> Any:
    """Work space for objects of a recipe."""
    side = _tiles(parameters)
    return Space(
        np.empty((8, BATCH), np.float32), np.empty(BATCH, np.int64), np.empty(BATCH, np.float32),
        np.empty((8, BATCH), np.float32), np.empty(BATCH, np.int64), np.empty((3, BATCH), np.float32),
        np.empty((MARCH_ROWS, RAYS), np.float32), np.zeros((POINT_ROWS, RAYS), np.float32),
        np.empty((3, RAYS), np.float32), np.empty(side * side, np.float32),
        np.empty((parameters.canvas * parameters.canvas, 4), np.uint32),
    )  # fmt: skip


@inner
def _finish(each: Any, view: Any, radius: Any, power: Any, rule: Any, count: Any, space: Any) -> None:
    """March a batch of rays of whole pixels, shade what they hit, and add it to its pixels. The first ray of a pixel
    that hits also tells for the others whether they see the lamp."""
    source, shadows, points, lanes = space.source, space.shadows, space.points, space.lanes
    found, number, owner = space.found, space.number, space.owner
    march_all(source, count, power, rule, _TO_SURFACE, space.rays, found)
    hits, shaded, before = 0, 0, -1
    for ray in range(count):
        if found[ray] < _F(0.0):
            continue
        for k in range(3):
            points[k, hits] = fma(source[3 + k, ray], found[ray], source[k, ray])
        pixel = number[ray] // each
        if pixel != before:
            shadow(points, hits, radius, shadows, shaded)
            before, shaded = pixel, shaded + 1
        number[hits], owner[hits] = pixel, shaded - 1  # hits <= ray: what is overwritten has been read
        hits += 1
    march_all(shadows, shaded, power, rule, _TO_LAMP, space.rays, found)
    for first in range(0, hits, RAYS):
        n = min(RAYS, hits - first)
        for k in range(3):
            lanes[P_X + k, :n] = points[k, first : first + n]
        trap(lanes, power, rule)
        differentiate(lanes, power, rule, space.gradient)
        for i in range(n):
            more = _F(LIT) if found[owner[first + i]] < _F(0.0) else _F(0.0)
            light(lanes, space.gradient, i, view, more, space.sums[number[first + i]])


@inner
def draw(parameters: Any, view: Any, radius: Any, power: Any, rule: Any, space: Any, texture: Any) -> None:
    """A variation on a canvas.

    Args:
        parameters: `Parameters`.
        view: float32 [VIEW_FIELDS], see `parameters`.
        radius: float32, of the bounding sphere.
        power, rule: int32.
        space: of `make_space`.
        texture: uint8 [canvas^2, 4], written: red, green, blue (times coverage) and coverage.
    """
    canvas, s = parameters.canvas, parameters.samples
    each, tiles = s * s, _tiles(parameters)
    march_tiles(parameters, view, radius, power, rule, space)
    space.sums[:] = _U(0)
    count = 0
    for pixel in range(canvas * canvas):
        for sample in range(each):
            row, column = pixel // canvas * s + sample // s, pixel % canvas * s + sample % s
            start = space.starts[row // TILE * tiles + column // TILE]
            if start >= _F(0.0) and aim(parameters, view, radius, _F(column), _F(row), space.source, count):
                if space.source[AT, count] < start:
                    space.source[AT, count] = start
                space.number[count] = pixel * each + sample
                count += 1
        if count > BATCH - each or (pixel == canvas * canvas - 1 and count > 0):
            _finish(each, view, radius, power, rule, count, space)
            count = 0
    for pixel in range(canvas * canvas):
        for k in range(4):
            texture[pixel, k] = np.uint8((space.sums[pixel, k] + _U(each // 2)) // _U(each))


@stage
def surface_stage(parameters: Any, codes: Any, space: Any, first: Any, last: Any) -> None:
    """Draw every object of samples first .. last - 1: reads `space.objects` and `views`, writes `textures`.

    Args:
        parameters: `Parameters`.
        codes: `VariationCodes`.
        space: `Space` of the records, as `view_stage` left it.
    """
    work = make_space(parameters)
    for b in range(last - first):
        for view in range(parameters.views):
            for slot in range(parameters.max_objects):
                code = space.objects[b, view, slot, ObjectField.CODE]
                if code >= 0:
                    draw(
                        parameters, space.shapes.views[b, view, slot], codes.radii[code], codes.powers[code],
                        codes.rules[code], work, space.shapes.textures[b, view, slot],
                    )  # fmt: skip
