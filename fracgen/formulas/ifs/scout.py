"""Everything that must be known before points are drawn: the numbers of a scene and its objects, the
jittered code, where its attractor lies, and points on it to start from.

A few long orbits run to stationarity; from then on they measure the extent and, at intervals,
leave their points as starts for the orbits that are drawn. So no drawn orbit pays for a burn-in
of its own, and the window is known before the first point is drawn: no point is computed twice
or kept. The extent is that of 24,576 points rather than of 100,000 drawn ones themselves, so it
is a little smaller: by 0.7% in the median of 400 codes, 2.6% in the mean. `tests/rendering/test_statistics.py`
holds it there, and the window's distribution against the ancestor's.
"""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.draws import Purpose
from fracgen.formulas.ifs import MAX_MAPS
from fracgen.formulas.ifs.chaos import advance
from fracgen.formulas.ifs.code import A, B, C, D, E, F, choice_table, jitter
from fracgen.formulas.ifs.records import SCOUT_BURN_IN, SCOUT_STEPS, SCOUT_STRIDE, SCOUTS
from fracgen.rendering.cpu.arithmetic import LANES, below, draw, fill, fma, sample_of, uniform
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.cpu.scene import draw_scenes
from fracgen.rendering.records import ObjectField

_F, _I, _U = np.float32, np.int32, np.uint32
_INFINITY = _F(np.inf)
_SCOUT, _OBJECT = _U(Purpose.SCOUT), _U(Purpose.OBJECT)


@inner
def fixed_point(m):
    """The point that a map leaves where it is, which lies on the attractor; (0, 0) if there is none."""
    p, q = _F(1.0) - m[A], _F(1.0) - m[D]
    det = fma(p, q, -(m[B] * m[C]))
    if not abs(det) > _F(1e-6):
        return _F(0.0), _F(0.0)
    return fma(q, m[E], m[B] * m[F]) / det, fma(p, m[F], m[C] * m[E]) / det


@inner
def fill_table(maps, n, choices, table):
    """The table that `chaos.advance` reads: float32 [7, LANES], see `records.TABLE_ROWS`."""
    bits = table.view(np.int32)
    for i in range(MAX_MAPS):
        m = maps[i if i < n else 0]  # unused columns are never chosen
        table[0, i], table[1, i], table[2, i] = m[A], m[B], m[C]
        table[3, i], table[4, i], table[5, i] = m[D], m[E], m[F]
        bits[6, i] = choices[i]


@inner
def scout(maps, n, table, words, slot, view, sample, x, y):
    """Run the scouting orbits; starts go to x, y [ORBITS].

    Returns:
        The extent: smallest x, smallest y, largest x, largest y.
    """
    px = np.empty(SCOUTS, np.float32)
    py = np.empty(SCOUTS, np.float32)
    for i in range(SCOUTS):
        px[i], py[i] = fixed_point(maps[i % n])
    low_x, low_y = np.empty(SCOUTS, np.float32), np.empty(SCOUTS, np.float32)
    high_x, high_y = np.empty(SCOUTS, np.float32), np.empty(SCOUTS, np.float32)
    for i in range(SCOUTS):
        low_x[i], low_y[i], high_x[i], high_y[i] = _INFINITY, _INFINITY, -_INFINITY, -_INFINITY
    for step in range(SCOUT_STEPS):
        if step & 7 == 0:
            fill(words, _U((step >> 3) * SCOUTS), SCOUTS, _SCOUT, slot, view, sample)
        for i in range(0, SCOUTS, LANES):
            advance(table, words[(step & 7) >> 1], np.int32((step & 1) << 4), px, py, i)
        if step >= SCOUT_BURN_IN:
            for i in range(SCOUTS):  # all are read before any is chosen: a read that depends on a choice is no vector's
                now_x, left, right, now_y, under, above = px[i], low_x[i], high_x[i], py[i], low_y[i], high_y[i]
                low_x[i] = now_x if now_x < left else left
                high_x[i] = now_x if now_x > right else right
                low_y[i] = now_y if now_y < under else under
                high_y[i] = now_y if now_y > above else above
            save, phase = divmod(step - SCOUT_BURN_IN, SCOUT_STRIDE)
            if phase == SCOUT_STRIDE - 1:
                for i in range(SCOUTS):
                    x[save * SCOUTS + i] = px[i]
                    y[save * SCOUTS + i] = py[i]
    for i in range(1, SCOUTS):
        low_x[0], low_y[0] = min(low_x[0], low_x[i]), min(low_y[0], low_y[i])
        high_x[0], high_y[0] = max(high_x[0], high_x[i]), max(high_y[0], high_y[i])
    return low_x[0], low_y[0], high_x[0], high_y[0]


@inner
def axis_window(low, high, shift, scale, cells, flip):
    """Scale and offset from a coordinate to its place on the histogram's grid.

    Pixel floor((v - low') (cells - 1) / span) of the shifted and scaled window is grid line
    round(v * scale + offset), one line being kept free for the halo; a flip mirrors it.
    """
    extent = high - low
    span = extent * scale
    if not span > _F(0.0):
        span = _F(1.0)
    centre = fma(extent, shift, (low + high) * _F(0.5))
    per_unit = _F(cells - 1) / span
    start = fma(span, _F(-0.5), centre)
    offset = fma(-start, per_unit, _F(-0.5))
    if flip:
        return -per_unit, _F(cells) - offset
    return per_unit, offset + _F(1.0)


@inner
def window(parameters, extent, w, flips, out):
    """The recipe's random window over an extent, to out [4]; `w` are four random words."""
    shift_x = uniform(w[0], -parameters.window_shift, parameters.window_shift)
    shift_y = uniform(w[1], -parameters.window_shift, parameters.window_shift)
    scale_x = uniform(w[2], parameters.scale_low, parameters.scale_high)
    scale_y = uniform(w[3], parameters.scale_low, parameters.scale_high)
    out[0], out[1] = axis_window(extent[0], extent[2], shift_x, scale_x, parameters.canvas, flips & 2)
    out[2], out[3] = axis_window(extent[1], extent[3], shift_y, scale_y, parameters.canvas, flips & 4)


@inner
def flipped(stamp, flips):
    """A stamp turned as its attractor is: rows, columns, then transposed. Its cells (i, j) lie along x and y."""
    result = _I(0)
    for i in range(3):
        for j in range(3):
            row = 2 - i if flips & 2 else i
            column = 2 - j if flips & 4 else j
            bit = 3 * column + row if flips & 1 else 3 * row + column
            result |= _I((stamp >> (3 * i + j) & 1) << bit)
    return result


@inner
def draw_object(parameters, slot, view, sample, out):
    """The random fields of one object, all but its code and place. The views of a sample share its stamp."""
    w = draw(_U(1), _OBJECT, slot, view, sample)
    out[ObjectField.FLIPS] = _I(w[0] & _U(7)) if parameters.flips else _I(0)
    word = draw(_U(1), _OBJECT, slot, _U(0), sample)[1]
    stamp = _I(1 + below(word, _U(511))) if parameters.stamp else _I(16)  # never the empty stamp
    out[ObjectField.STAMP] = flipped(stamp, out[ObjectField.FLIPS]) if parameters.views > 1 else stamp
    out[ObjectField.SATURATION] = _I(uniform(w[2], _F(0.3), _F(1.0)) * _F(255.0))
    out[ObjectField.VALUE] = _I(uniform(w[3], _F(0.5), _F(1.0)) * _F(255.0))
    out[ObjectField.HUE] = _I(below(draw(_U(2), _OBJECT, slot, view, sample)[0], _U(255)))


@stage
def scout_stage(parameters, codes, samples, space, first, last):
    """All that must be known before points are drawn, for samples first .. last - 1: writes `space.scenes`,
    `objects`, `tables`, `starts` and `windows`.

    Args:
        parameters: `Parameters`.
        codes: `Codes`.
        samples: `Samples`.
        space: `Space` for at least last - first samples.
    """
    objects, attractors = space.objects, space.shapes
    tables, starts, windows = attractors.tables, attractors.starts, attractors.windows
    maps = np.zeros((MAX_MAPS, 6), np.float32)
    choices = np.zeros(MAX_MAPS, np.int32)
    words = np.empty((4, SCOUTS), np.uint32)
    draw_scenes(parameters, codes.classes, codes.per_class, samples, space, first, last)
    for b in range(last - first):
        sample = sample_of(samples, first + b)
        for view_number in range(parameters.views):
            view = _U(view_number)
            for slot_number in range(parameters.max_objects):
                slot = _U(slot_number)
                obj = objects[b, view, slot]
                code = obj[ObjectField.CODE]
                if code < 0:
                    continue
                draw_object(parameters, slot, view, sample, obj)
                n = np.int64(codes.sizes[code])
                jitter(parameters, codes.maps[code], n, slot, sample, maps)
                choice_table(maps, n, code, codes.probabilities, choices)
                fill_table(maps, n, choices, tables[b, view, slot])
                extent = scout(
                    maps, n, tables[b, view, slot], words, slot, view, sample, starts[b, view, slot, 0],
                    starts[b, view, slot, 1],
                )  # fmt: skip
                w = draw(_U(0), _OBJECT, slot, view, sample)
                window(parameters, extent, w, obj[ObjectField.FLIPS], windows[b, view, slot])
