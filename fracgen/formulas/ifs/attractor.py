"""Draw an attractor: the chaos game into a histogram, the histogram into densities."""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.draws import Purpose
from fracgen.formulas.ifs.chaos import PAIRS, draw_four
from fracgen.formulas.ifs.records import ORBITS, ROUND_STEPS
from fracgen.rendering.cpu.arithmetic import LANES, fill, sample_of
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import ObjectField

_U, _H = np.uint32, np.uint16
_ORBIT = _U(Purpose.ORBIT)
PACKED_CELL = 7281
"""Nine cells of so many points fit 16 bits."""


@inner
def _fullest(histogram):
    """The largest count of any cell."""
    largest = _H(0)
    for i in range(histogram.size):
        largest = max(largest, histogram[i])
    return largest


@inner
def _empty(histogram, totals):
    """Move all counts to `totals`."""
    for i in range(histogram.size):
        totals[i] += histogram[i]
        histogram[i] = 0


@inner
def chaos_game(
    parameters, table, x, y, grid_window, strides, words, cells,
    slot, view, sample, histogram, totals,
):  # fmt: skip
    """Count `parameters.points` points of the orbits from x, y [ORBITS] in histogram [side^2 + 1] uint16.

    Four steps of all orbits at a time go to cells int32 [4 * ORBITS]: those of orbits 0 .. PAIRS - 1 step by step,
    then those of the others, which share their maps in another order (`parameters.PAIR_ORDER`). Where another
    round of ROUND_STEPS steps could carry a 16-bit counter over, the counts move to totals [side^2] uint32.

    Returns:
        Whether all counts are in `totals`, as one of them needed more than 16 bits; else they are in `histogram`.
    """
    histogram[:] = 0
    points, inside, full = parameters.points, histogram[:-1], False
    for first in range(0, points, 4 * ORBITS):
        step, left = first // ORBITS, points - first
        if step % ROUND_STEPS == 0 and step > 0 and _fullest(inside) + min(left, ROUND_STEPS * ORBITS) > 65535:
            if not full:
                totals[:] = 0
            full = True
            _empty(inside, totals)
        if step & 7 == 0:
            fill(words, _U((step >> 3) * PAIRS), PAIRS, _ORBIT, slot, view, sample)
        for i in range(0, PAIRS, LANES):
            draw_four(table, words[(step & 4) >> 1], words[((step & 4) >> 1) + 1], x, y, grid_window, strides, cells, i)
        if left >= 4 * ORBITS:
            for i in range(4 * ORBITS):
                histogram[_U(cells[i])] += _H(1)
        else:
            for k in range(8):
                for i in range(max(0, min(PAIRS, left - (k & 3) * ORBITS - (k >> 2) * PAIRS))):
                    histogram[_U(cells[k * PAIRS + i])] += _H(1)
    if full:
        _empty(inside, totals)
    return full


@inner
def _stamp(histogram, stamp, canvas, counts):
    """Stamped counts of canvas^2 pixels, to counts of any unsigned type that holds them; returns the largest.

    Stamping every point equals convolving the histogram with the stamp: bit 3 i + j of `stamp` is
    its cell (i, j). The histogram's one-pixel halo supplies points just outside of the image.
    """
    zero = counts[0] - counts[0]
    largest = zero
    for r in range(canvas):  # a row at a time, so that its sums stay in the nearest cache
        target = counts[r * canvas : (r + 1) * canvas]
        for c in range(canvas):
            target[c] = 0
        for tap in range(9):
            if (stamp >> tap) & 1:
                first = (r + tap // 3) * (canvas + 2) + tap % 3
                source = histogram[first : first + canvas]
                for c in range(canvas):
                    target[c] += source[c]
        for c in range(canvas):
            largest = max(largest, target[c])
    return largest


@inner
def _grade(counts, largest, out):
    """Densities: 255 count / largest rounded up; the quotient is exactly count * floor(255 * 2^24 / largest) / 2^24.

    Counts are 2^24 at most (`parameters.points` is), so it is a 32-bit product.
    """
    per_count = _U(0) if largest == 0 else _U(np.uint64(0xFF000000) // np.uint64(largest))
    for i in range(out.size):
        out[i] = np.uint8(_U(_U(_U(counts[i]) * per_count) + _U(0xFFFFFF)) >> _U(24))


@inner
def densities(
    parameters, histogram, totals, full, stamp, narrow, wide, out
):
    """Densities 0..255 of canvas^2 pixels, to out: 0 where no point fell, 255 in the fullest pixel.

    full: whether the counts are in `totals`, see `chaos_game`.
    narrow: uint16 [canvas^2], work space, where its numbers suffice; wide: uint32 [canvas^2], where not.
    """
    if full:
        _grade(wide, _stamp(totals, stamp, parameters.canvas, wide), out)
    elif _fullest(histogram[:-1]) <= PACKED_CELL:
        _grade(narrow, _stamp(histogram, stamp, parameters.canvas, narrow), out)
    else:
        _grade(wide, _stamp(histogram, stamp, parameters.canvas, wide), out)


@stage
def attractor_stage(parameters, samples, space, first, last):
    """Draw every attractor of samples first .. last - 1: writes their density, uses up their starts."""
    objects, attractors = space.objects, space.shapes
    tables, starts, windows, density = attractors.tables, attractors.starts, attractors.windows, attractors.density
    side = parameters.canvas + 2
    histogram, totals = np.empty(side * side + 1, np.uint16), np.empty(side * side, np.uint32)
    pixels = parameters.canvas * parameters.canvas
    narrow, wide = np.zeros(pixels, np.uint16), np.zeros(pixels, np.uint32)
    words, cells = np.empty((4, PAIRS), np.uint32), np.empty(4 * ORBITS, np.int32)
    strides = np.empty(4, np.int32)
    for b in range(last - first):
        sample = sample_of(samples, first + b)
        for view in range(parameters.views):
            for slot in range(parameters.max_objects):
                obj = objects[b, view, slot]
                if obj[ObjectField.CODE] < 0:
                    continue
                strides[0], strides[1] = (1, side) if obj[ObjectField.FLIPS] & 1 else (side, 1)
                strides[2], strides[3] = side, side * side
                full = chaos_game(
                    parameters, tables[b, view, slot], starts[b, view, slot, 0], starts[b, view, slot, 1],
                    windows[b, view, slot], strides, words, cells, _U(slot), _U(view), sample, histogram, totals,
                )  # fmt: skip
                densities(
                    parameters, histogram, totals, full, obj[ObjectField.STAMP], narrow, wide, density[b, view, slot]
                )
