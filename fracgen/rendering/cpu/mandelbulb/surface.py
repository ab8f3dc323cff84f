"""Draw a Mandelbulb variation: rays marched to its surface, shaded, and marched on to the lamp."""

from __future__ import annotations

from typing import Any

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
    POINT_ROWS,
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
    CAMERA,
    DIFFUSE,
    GRADIENT_STEP,
    LAMP,
    LIT,
    MARCH_STEPS,
    SHADOW_STEPS,
    SHADOW_THRESHOLD,
    THRESHOLD,
    ViewField,
)

_F, _U, _Q = np.float32, np.uint32, np.int64
_FORWARD, _UP, _SIDE, _COLOURS = (int(field) for field in ViewField)
_ONE, _NONE = _Q(1), _F(-1.0)
BATCH = 4096
"""Rays taken through marching, shading and shadow together: few idle lanes, and all of them in cache."""
_LAMP = tuple(_F(v) for v in LAMP)
_FAR = _F(8.0)  # a point whose orbit has escaped at once: where idle lanes are kept


@inner
def _load(source: Any, ray: Any, rays: Any, lane: Any) -> None:
    for k in range(7):
        rays[k, lane] = source[k, ray]
    rays[END, lane] = source[7, ray]
    rays[BEFORE, lane] = rays[STEP, lane] = rays[STEPS, lane] = _F(0.0)


@inner
def march_all(
    source: Any, count: Any, power: Any, rule: Any, threshold: Any, limit: Any, spent_hits: Any, rays: Any,
    found: Any,
) -> None:  # fmt: skip
    """March rays 0 .. count - 1, RAYS at a time, a finished one's lane going to the next.

    Args:
        source: float32 [8, >= count]: origin, direction, first place, place to stop.
        power, rule, threshold, limit: see `orbit.march`.
        spent_hits: whether a ray that took `limit` steps has hit where it is.
        rays: float32 [MARCH_ROWS, RAYS], work space.
        found: float32 [>= count], written: the place of the hit, or -1.
    """
    holds = np.empty(RAYS, np.int32)
    rays[:] = _F(0.0)
    live, following = _Q(0), 0
    for lane in range(RAYS):
        rays[X, lane] = _FAR
        if following < count:
            _load(source, following, rays, lane)
            holds[lane], following = following, following + 1
            live |= _ONE << lane
    while live != 0:
        hit, out, spent = march(rays, power, rule, threshold, limit)
        ended = (hit | out | spent) & live
        lane = 0
        while ended != 0:
            if ended & _ONE:
                bit = _ONE << lane
                surface = (hit & bit) != 0 or (spent_hits and (out & bit) == 0)
                found[holds[lane]] = rays[AT, lane] if surface else _NONE
                if following < count:
                    _load(source, following, rays, lane)
                    holds[lane], following = following, following + 1
                else:
                    rays[:, lane] = _F(0.0)
                    rays[X, lane] = _FAR
                    live &= ~bit
            ended >>= _ONE
            lane += 1


@inner
def aim(parameters: Any, view: Any, radius: Any, ray: Any, source: Any, at: Any) -> Any:
    """Put ray number `ray` of a canvas into column `at` of `source`; False where it misses the bounding
    sphere. Rays are numbered by pixel, then by sample of the pixel."""
    s = parameters.samples
    pixel, sample = ray // (s * s), ray % (s * s)
    row, column = pixel // parameters.canvas * s + sample // s, pixel % parameters.canvas * s + sample % s
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
    source[6, at] = nearest if nearest > _F(0.0) else _F(0.0)
    source[7, at] = middle + half
    return True


@inner
def settle(source: Any, ray: Any, place: Any, radius: Any, points: Any, lane: Any, shadows: Any, at: Any) -> None:
    """A hit's point for shading, and its shadow ray, number `at`."""
    for k in range(3):
        points[P_X + k, lane] = fma(source[3 + k, ray], place, source[k, ray])
    x, y, z = points[P_X, lane], points[P_X + 1, lane], points[P_X + 2, lane]
    lx, ly, lz = _LAMP[0] - x, _LAMP[1] - y, _LAMP[2] - z
    scale = _F(1.0) / np.sqrt(fma(lx, lx, fma(ly, ly, lz * lz)))
    lx, ly, lz = lx * scale, ly * scale, lz * scale
    shadows[0, at], shadows[1, at], shadows[2, at] = x, y, z
    shadows[3, at], shadows[4, at], shadows[5, at] = lx, ly, lz
    middle = -fma(x, lx, fma(y, ly, z * lz))
    square = fma(middle, middle, fma(radius, radius, -fma(x, x, fma(y, y, z * z))))
    shadows[6, at] = _F(0.0)
    shadows[7, at] = middle + np.sqrt(square if square > _F(0.0) else _F(0.0))


@inner
def differentiate(points: Any, power: Any, rule: Any, gradient: Any) -> None:
    """Differences of the distance on either side of points, along each axis, to gradient [4, RAYS], whose
    last row is work space.

    A difference of this width spans several bands of orbits that escape after equally many steps. The
    exact gradient of one band points elsewhere, and the published pictures show the former.
    """
    for axis in range(3):
        row = P_X + axis
        for i in range(RAYS):
            gradient[3, i] = points[row, i]
            points[row, i] = gradient[3, i] + _F(GRADIENT_STEP)
        estimate(points, power, rule)
        for i in range(RAYS):
            gradient[axis, i] = points[DISTANCE, i]
            points[row, i] = gradient[3, i] - _F(GRADIENT_STEP)
        estimate(points, power, rule)
        for i in range(RAYS):
            gradient[axis, i] = gradient[axis, i] - points[DISTANCE, i]
            points[row, i] = gradient[3, i]


@inner
def diffuse(gradient: Any, lane: Any, shadows: Any, at: Any) -> Any:
    """Share of the lamp's light by the surface's orientation. The distance falls outwards in the band of a
    hit, mostly: the published sign, which lights what faces the lamp."""
    x, y, z = gradient[0, lane], gradient[1, lane], gradient[2, lane]
    square = fma(x, x, fma(y, y, z * z))
    found = -fma(shadows[3, at], x, fma(shadows[4, at], y, shadows[5, at] * z)) / np.sqrt(square)
    return found if square > _F(0.0) and found > _F(0.0) else _F(0.0)


@inner
def _share(v: Any) -> Any:
    return v if v < _F(1.0) else _F(1.0)


@inner
def light(points: Any, gradient: Any, lane: Any, view: Any, shadows: Any, colour: Any, at: Any) -> None:
    """The colour of a hit before the shadow's share, to colour [3, at]."""
    taxi = points[TRAP_TAXI, lane] * _F(2.0 / 3.0)
    taxi = taxi * taxi
    fourth = taxi * taxi
    tenth = fourth * fourth * taxi
    r2 = points[TRAP_R, lane]
    fifth = r2 * r2
    fifth = fifth * fifth * r2
    first, second, third = _share(points[TRAP_Z, lane]), _share(tenth), _share(fifth)
    x, y, z = shadows[0, at], shadows[1, at], shadows[2, at]
    bright = fma(diffuse(gradient, lane, shadows, at), _F(DIFFUSE), _F(AMBIENT)) * fma(x, x, fma(y, y, z * z))
    for k in range(3):
        mixed = fma(
            view[_COLOURS + k], first, fma(view[_COLOURS + 3 + k], second, view[_COLOURS + 6 + k] * third)
        )  # fmt: skip
        colour[k, at] = mixed * bright


@inner
def _byte(v: Any) -> Any:
    """A share of light, 0 and up, to a byte, rounded to nearest."""
    return _U(fma(_share(v), _F(255.0), _F(0.5)))


@inner
def _space() -> Any:
    """Work space of `draw`: primary rays, shadow rays, lanes, points, their gradient, hits' places,
    colours, ray numbers."""
    return (
        np.empty((8, BATCH), np.float32), np.empty((8, BATCH), np.float32), np.empty((MARCH_ROWS, RAYS), np.float32),
        np.zeros((POINT_ROWS, RAYS), np.float32), np.empty((4, RAYS), np.float32), np.empty(BATCH, np.float32),
        np.empty((3, BATCH), np.float32), np.empty(BATCH, np.int64),
    )  # fmt: skip


@inner
def _finish(parameters: Any, view: Any, radius: Any, power: Any, rule: Any, count: Any, space: Any, sums: Any) -> None:
    """March a batch of primary rays, shade what they hit, and add it to its pixels."""
    source, shadows, rays, points, gradient, found, colour, number = space
    march_all(source, count, power, rule, _F(THRESHOLD), _F(MARCH_STEPS), True, rays, found)
    hits, lane = 0, 0
    for ray in range(count):
        if found[ray] >= _F(0.0):
            settle(source, ray, found[ray], radius, points, lane, shadows, hits)
            number[hits] = number[ray]  # hits <= ray: what is overwritten has been read
            hits, lane = hits + 1, lane + 1
        if lane == RAYS or (ray == count - 1 and lane > 0):
            trap(points, power, rule)
            differentiate(points, power, rule, gradient)
            for i in range(lane):
                light(points, gradient, i, view, shadows, colour, hits - lane + i)
            lane = 0
    march_all(shadows, hits, power, rule, _F(SHADOW_THRESHOLD), _F(SHADOW_STEPS), False, rays, found)
    for hit in range(hits):
        more = _F(LIT) if found[hit] < _F(0.0) else _F(0.0)
        target = sums[number[hit] // (parameters.samples * parameters.samples)]
        for k in range(3):
            target[k] += _byte(colour[k, hit] + more)
        target[3] += _U(255)


@inner
def draw(parameters: Any, view: Any, radius: Any, power: Any, rule: Any, space: Any, sums: Any, texture: Any) -> None:
    """A variation on a canvas.

    Args:
        parameters: `Parameters`.
        view: float32 [VIEW_FIELDS], see `parameters`.
        radius: float32, of the bounding sphere.
        power, rule: int32.
        space: of `_space`.
        sums: uint32 [canvas^2, 4], work space.
        texture: uint8 [canvas^2, 4], written: red, green, blue (times coverage) and coverage.
    """
    each = parameters.samples * parameters.samples
    sums[:] = _U(0)
    count = 0
    for ray in range(parameters.canvas * parameters.canvas * each):
        if aim(parameters, view, radius, ray, space[0], count):
            space[7][count] = ray
            count += 1
            if count == BATCH:
                _finish(parameters, view, radius, power, rule, count, space, sums)
                count = 0
    if count > 0:
        _finish(parameters, view, radius, power, rule, count, space, sums)
    for pixel in range(parameters.canvas * parameters.canvas):
        for k in range(4):
            texture[pixel, k] = np.uint8((sums[pixel, k] + _U(each // 2)) // _U(each))


@stage
def surface_stage(parameters: Any, codes: Any, space: Any, first: Any, last: Any) -> None:
    """Draw every object of samples first .. last - 1: reads `space.objects` and `views`, writes `textures`.

    Args:
        parameters: `Parameters`.
        codes: `VariationCodes`.
        space: `Space`, as `view_stage` left it.
    """
    work, sums = _space(), np.empty((parameters.canvas * parameters.canvas, 4), np.uint32)
    for b in range(last - first):
        for view in range(parameters.views):
            for slot in range(parameters.max_objects):
                code = space.objects[b, view, slot, ObjectField.CODE]
                if code >= 0:
                    draw(
                        parameters, space.shapes.views[b, view, slot], codes.radii[code], codes.powers[code],
                        codes.rules[code], work, sums, space.shapes.textures[b, view, slot],
                    )  # fmt: skip
