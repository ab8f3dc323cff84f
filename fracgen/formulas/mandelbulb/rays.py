"""Rays from the camera and to the lamp, and how they are marched: RAYS at a time, a finished one's lane going to the
next."""

# mypy: ignore-errors
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fracgen.formulas.mandelbulb import constants as of
from fracgen.formulas.mandelbulb.constants import ViewField
from fracgen.formulas.mandelbulb.lanes import RAYS
from fracgen.formulas.mandelbulb.orbit import (
    AT,
    BEFORE,
    COLOURED,
    DR,
    END,
    POINT,
    R2,
    SPREAD,
    STATE,
    STEP,
    STEPS,
    STRETCHED,
    TRAPS,
    Way,
    X,
    march,
    march_sampling,
)  # fmt: skip
from fracgen.rendering.cpu.arithmetic import bits_float, float_bits, fma
from fracgen.rendering.cpu.jit import inner

_F, _I, _Q = np.float32, np.int32, np.int64
_FORWARD, _UP, _SIDE = (int(field) for field in (ViewField.FORWARD, ViewField.UP, ViewField.SIDE))
_ONE, _GONE = _Q(1), _F(-1.0)
_HALF = _F(0.5)
_RHO2 = POINT + 6
_LAMP = tuple(_F(v) for v in of.LAMP)
_ROOT = tuple(_F(v) for v in of.INVERSE_ROOT)


@inner
def inverse_root(v):
    """1 / sqrt(v), as `lanes.inverse_root`."""
    y = bits_float(_I(0x5F3759DF) - (float_bits(v) >> _I(1)))
    t = v * y * y
    return y * fma(fma(fma(t, _ROOT[3], _ROOT[2]), t, _ROOT[1]), t, _ROOT[0])


@inner
def reach_of(power):
    """Longest step of a march, in distances."""
    half = _F(0.5) * _F(power)
    return half if half < _F(of.REACH) else _F(of.REACH)


@inner
def lamp_way(power):
    """How rays to the lamp march."""
    return Way(
        _F(of.SHADOW_THRESHOLD), _F(0.0), _F(of.SHADOW_STRIDE), _F(of.SHADOW_GROWTH), reach_of(power),
        _F(of.SHADOW_STEPS), _F(of.MARCH_BAIL_OUT), _F(of.SHADOW_STEEP), False,
    )  # fmt: skip


@inner
def cone_way(spread, reach):
    """How cones march: an orbit spread so far apart is as near as they go."""
    threshold = _F(of.NEAR) * spread
    steep = _F(of.CONE_SLOPE) / fma(spread, _F(of.CONE_NEAREST), threshold)
    least = _F(of.CONE_STEEP)
    return Way(
        threshold, spread, _F(0.0), _F(0.0), reach, _F(of.MARCH_STEPS), _F(of.MARCH_BAIL_OUT),
        steep if steep > least else least, True,
    )  # fmt: skip


@inner
def ray_way(power):
    """How rays to the surface march."""
    escape = _F(of.MARCH_BAIL_OUT) if power > of.FRAIL else _F(of.BAIL_OUT)
    return Way(
        _F(of.THRESHOLD), _F(0.0), _F(of.RAY_STRIDE), _F(0.0), reach_of(power), _F(of.MARCH_STEPS), escape,
        _F(of.STEEP), True,
    )  # fmt: skip


@inner
def middle(parameters, pixel, pixels):
    """The column or row of rays at the middle of so many pixels from one on."""
    return _F(pixel * parameters.samples) + _HALF * _F(pixels * parameters.samples - 1)


@inner
def across(parameters, column):
    """How far from the middle a column of rays is, one unit from the camera."""
    return fma(_F(column), parameters.ray_step, parameters.ray_first)


@inner
def scale_of(parameters, column, row):
    """Length of the part of a ray that is one unit ahead, turned over."""
    u, w = across(parameters, column), across(parameters, row)
    return inverse_root(fma(u, u, fma(w, w, _F(1.0))))


@inner
def direct(parameters, view, scale, column, row, rays, at):
    """Put origin and direction of the ray of a column and a row into column `at` of `rays`."""
    u, w = across(parameters, column), -across(parameters, row)
    for k in range(3):
        rays[k, at] = _F(-of.CAMERA) * view[_FORWARD + k]
        rays[3 + k, at] = fma(view[_SIDE + k], u, fma(view[_UP + k], w, view[_FORWARD + k])) * scale


@inner
def aim(parameters, view, radius, column, row, rays, at):
    """Put the ray of a column and a row, from its entry into a sphere to its exit, into column `at` of `rays`; False
    where it misses that."""
    scale = scale_of(parameters, column, row)
    ahead = _F(of.CAMERA) * scale
    square = fma(ahead, ahead, fma(radius, radius, _F(-of.CAMERA * of.CAMERA)))
    if not square > _F(0.0):
        return False
    half = square * inverse_root(square)
    direct(parameters, view, scale, column, row, rays, at)
    nearest = ahead - half
    rays[AT, at] = nearest if nearest > _F(0.0) else _F(0.0)
    rays[END, at] = ahead + half
    return True


@inner
def to_lamp(points, hit):
    """The way from a hit to the lamp."""
    return _LAMP[0] - points[0, hit], _LAMP[1] - points[1, hit], _LAMP[2] - points[2, hit]


@inner
def shadow(points, hit, radius, shadows, at):
    """The ray from a hit to the lamp, number `at`."""
    x, y, z = points[0, hit], points[1, hit], points[2, hit]
    lx, ly, lz = to_lamp(points, hit)
    scale = inverse_root(fma(lx, lx, fma(ly, ly, lz * lz)))
    lx, ly, lz = lx * scale, ly * scale, lz * scale
    shadows[0, at], shadows[1, at], shadows[2, at] = x, y, z
    shadows[3, at], shadows[4, at], shadows[5, at] = lx, ly, lz
    ahead = -fma(x, lx, fma(y, ly, z * lz))
    square = fma(ahead, ahead, fma(radius, radius, -fma(x, x, fma(y, y, z * z))))
    shadows[AT, at] = _F(of.SHADOW_START)
    shadows[END, at] = ahead + (square * inverse_root(square) if square > _F(0.0) else _F(0.0))


@inner
def _start(rays, lane):
    """Begin a lane's ray and its orbit."""
    rays[BEFORE, lane] = rays[STEP, lane] = rays[STRETCHED, lane] = rays[STEPS, lane] = _F(0.0)
    rays[COLOURED, lane] = _F(0.0)
    x, y, z = (
        fma(rays[3, lane], rays[AT, lane], rays[0, lane]), fma(rays[4, lane], rays[AT, lane], rays[1, lane]),
        fma(rays[5, lane], rays[AT, lane], rays[2, lane]),
    )  # fmt: skip
    rays[POINT, lane], rays[POINT + 1, lane], rays[POINT + 2, lane] = x, y, z
    rays[POINT + 3, lane], rays[POINT + 4, lane], rays[POINT + 5, lane] = x, y, z
    rho2 = fma(x, x, y * y)
    rays[_RHO2, lane], rays[R2, lane] = rho2, fma(z, z, rho2)
    rays[DR, lane] = rays[SPREAD, lane] = _F(1.0)
    rays[POINT + STATE - 1, lane] = _F(0.0)
    for k in range(3):
        rays[TRAPS + k, lane] = _F(1e20)


@inner
def _idle(rays, lane):
    """Leave a lane with an orbit that has escaped, and a ray that stands there."""
    rays[:, lane] = _F(0.0)
    rays[X, lane] = rays[POINT, lane] = rays[POINT + 3, lane] = _F(8.0)
    rays[_RHO2, lane] = rays[R2, lane] = _F(4.0 * of.BAIL_OUT)
    rays[DR, lane] = rays[SPREAD, lane] = _F(1.0)


@inner
def _give(source, ray, there, rays, lane):
    """Begin a ray of `source` in a lane, or leave that idle where there is none."""
    if there:
        rays[:8, lane] = source[:, ray]
        _start(rays, lane)
    else:
        _idle(rays, lane)


@inner
def march_all(source, count, power, rule, way, rays, found):
    """March rays 0 .. count - 1.

    Args:
        source: float32 [8, >= count]: origin, direction, place to begin, place to stop.
        power, rule: int32 of the class.
        way: `Way`.
        rays: float32 [MARCH_ROWS, RAYS], work space.
        found: float32 [>= count], written: the place of the hit, or -1.
    """
    holds = np.empty(RAYS, np.int32)
    busy = following = min(RAYS, count)
    live = (_ONE << _Q(busy)) - _ONE
    for lane in range(RAYS):
        _give(source, lane, lane < count, rays, lane)
        holds[lane] = lane
    while live != 0:
        hit, out, spent = march(rays, power, rule, way, _I(busy // 2))
        ended = (hit | out | spent) & live
        lane = 0
        while ended != 0:
            if ended & _ONE:
                bit = _ONE << lane
                surface = (hit & bit) != 0 or (way.spent_hits and (out & bit) == 0)
                found[holds[lane]] = rays[AT, lane] if surface else _GONE
                _give(source, following, following < count, rays, lane)
                if following < count:
                    holds[lane], following = following, following + 1
                else:
                    live &= ~bit
                    busy -= 1
            ended >>= _ONE
            lane += 1


class Samples(NamedTuple):
    """What the rays of pixels found, a column a pixel; a row of a pixel's rays is one of `s`."""

    hits: np.ndarray
    """int32 [BATCH], how many hit."""
    shown: np.ndarray
    """int32 [s, BATCH], whether one of a row hit."""
    points: np.ndarray
    """float32 [s, 3, BATCH], where the first of a row that hits does so."""
    ends: np.ndarray
    """float32 [s, 2, BATCH]: r^2 and dr of its orbit."""
    traps: np.ndarray
    """float32 [3, BATCH]: sums of the traps' shares over all that hit."""


@inner
def share(v):
    """At most 1."""
    return v if v < _F(1.0) else _F(1.0)


@inner
def _sample(
    parameters, view, pixel, k, source, slot, start, rays, lane
):
    """Begin ray k of a pixel, whose cone is column `slot` of `source`."""
    s = parameters.samples
    column, row = pixel % parameters.canvas, pixel // parameters.canvas
    scale = scale_of(parameters, middle(parameters, column, 1), middle(parameters, row, 1))
    direct(parameters, view, scale, column * s + k % s, row * s + k // s, rays, lane)
    rays[AT, lane], rays[END, lane] = start, source[END, slot]
    _start(rays, lane)


@inner
def _take(rays, lane, samples: Samples, slot, row):
    """Take in a lane's hit, in a row of a pixel's rays."""
    if samples.shown[row, slot] == 0:
        for k in range(3):
            samples.points[row, k, slot] = fma(rays[3 + k, lane], rays[AT, lane], rays[k, lane])
        samples.ends[row, 0, slot], samples.ends[row, 1, slot] = rays[R2, lane], rays[DR, lane]
        samples.shown[row, slot] = _I(1)
    taxi = rays[TRAPS + 1, lane] * _F(2.0 / 3.0)
    taxi = taxi * taxi
    fourth = taxi * taxi
    r2 = rays[TRAPS + 2, lane]
    fifth = r2 * r2
    fifth = fifth * fifth * r2
    samples.traps[0, slot] += share(rays[TRAPS, lane])
    samples.traps[1, slot] += share(fourth * fourth * taxi)
    samples.traps[2, slot] += share(fifth)
    samples.hits[slot] += _I(1)


@inner
def _next_pixel(found, following, count):
    """The first pixel from one on whose cone ended at something; `count` where there is none."""
    while following < count and found[following] < _F(0.0):
        following += 1
    return following


@inner
def march_samples(
    parameters, view, source, numbers, found, count, power, rule, rays,
    samples: Samples,
):  # fmt: skip
    """March the rays of pixels, one of a pixel after another, from where their cones ended.

    Args:
        parameters: `Parameters`.
        view: float32 [VIEW_FIELDS].
        source: float32 [8, >= count], the cones.
        numbers: int64 [>= count], of their pixels.
        found: float32 [>= count], where they ended, or -1.
        power, rule: int32 of the class.
        rays: float32 [MARCH_ROWS, RAYS], work space.
        samples: written, columns 0 .. count - 1.
    """
    each, way = parameters.samples * parameters.samples, ray_way(power)
    holds, ray = np.empty(RAYS, np.int32), np.empty(RAYS, np.int32)
    samples.hits[:count], samples.shown[:, :count], samples.traps[:, :count] = _I(0), _I(0), _F(0.0)
    live, busy, following = _Q(0), 0, 0
    ended = (_ONE << RAYS) - _ONE  # at first, every lane wants a pixel
    ray[:] = each
    hit = _Q(0)
    while True:
        lane = 0
        while ended != 0:
            going, struck = live >> lane & _ONE, hit >> lane & _ONE
            if ended & going & struck and power > of.FRAIL and rays[COLOURED, lane] == _F(0.0):
                _start(rays, lane)  # an orbit of the place
                rays[COLOURED, lane] = _F(1.0)
            elif ended & _ONE:
                if going and struck:
                    _take(rays, lane, samples, holds[lane], ray[lane] // parameters.samples)
                ray[lane] += _I(going)
                if ray[lane] >= each:
                    following = _next_pixel(found, following, count)
                    holds[lane], ray[lane], following = following, 0, following + 1
                slot = holds[lane]
                if slot < count:
                    _sample(parameters, view, numbers[slot], ray[lane], source, slot, found[slot], rays, lane)
                else:
                    _idle(rays, lane)
                now = _Q(slot < count)
                busy += now - going
                live ^= (now ^ going) << lane
            ended >>= _ONE
            lane += 1
        if live == 0:
            return
        hit, out, spent = march_sampling(rays, power, rule, way, _I(busy // 2))
        ended = (hit | out | spent) & live
        hit |= spent & ~out
