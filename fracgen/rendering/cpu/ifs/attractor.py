"""Draw an attractor: the chaos game into a histogram, the histogram into densities."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen.draws import Purpose
from fracgen.rendering.cpu.arithmetic import fill, sample_of
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.cpu.simd import LANES, advance, locate
from fracgen.rendering.parameters import FULL_CELL, ORBITS, ROUND_STEPS
from fracgen.rendering.records import ObjectField

_U = np.uint32
_ORBIT = _U(Purpose.ORBIT)
_FULL = np.uint16(FULL_CELL)
_ONE = np.uint16(1)


@inner
def _overfull(histogram: Any) -> Any:
    seen = np.uint16(0)
    for i in range(histogram.size):
        seen |= histogram[i]
    return seen & _FULL


@inner
def chaos_game(
    parameters: Any, table: Any, x: Any, y: Any, grid_window: Any, strides: Any, words: Any, cells: Any,
    slot: Any, view: Any, sample: Any, histogram: Any,
) -> None:  # fmt: skip
    """Count `parameters.points` points of the orbits from x, y [ORBITS] in histogram [side^2 + 1] uint16.

    Drawing ends early, at a multiple of 32,768 points, where some cell then holds 2^15 points: the
    image is all but one dot, and another round could carry its 16-bit counter over.
    """
    histogram[:] = 0
    steps = (parameters.points + ORBITS - 1) // ORBITS
    for step in range(steps):
        if step % ROUND_STEPS == 0 and step > 0 and _overfull(histogram[:-1]):
            return
        if step & 7 == 0:
            fill(words, _U((step >> 3) * ORBITS), ORBITS, _ORBIT, slot, view, sample)
        row, shift = words[(step & 7) >> 1], np.int32((step & 1) << 4)
        for i in range(0, ORBITS, LANES):
            advance(table, row, shift, x, y, i)
        for i in range(0, ORBITS, LANES):
            locate(x, y, grid_window, strides, cells, i)
        for i in range(min(ORBITS, parameters.points - step * ORBITS)):
            histogram[np.uint32(cells[i])] += _ONE


@inner
def densities(parameters: Any, histogram: Any, stamp: Any, counts: Any, out: Any) -> None:
    """Densities 0..255 of canvas^2 pixels, to out: 255 count / largest count rounded up, 0 where no point
    fell; the quotient is exactly count * floor(255 * 2^24 / largest) / 2^24.

    Stamping every point equals convolving the histogram with the stamp: bit 3 i + j of `stamp` is
    its cell (i, j). The histogram's one-pixel halo supplies points just outside of the image.
    Counts stay below 2^24 (`parameters.points` does), so the division by the largest is a 32-bit product.
    """
    side, canvas = parameters.canvas + 2, parameters.canvas
    largest = np.uint32(0)
    for r in range(canvas):  # a row at a time, so that its sums stay in the nearest cache
        target = counts[r * canvas : (r + 1) * canvas]
        for c in range(canvas):
            target[c] = 0
        for tap in range(9):
            if (stamp >> tap) & 1:
                first = (r + tap // 3) * side + tap % 3
                source = histogram[first : first + canvas]
                for c in range(canvas):
                    target[c] += np.uint32(source[c])
        for c in range(canvas):
            largest = max(largest, target[c])
    if largest == 0:
        out[:] = 0
        return
    per_count = np.uint32(np.uint64(0xFF000000) // np.uint64(largest))
    for i in range(canvas * canvas):
        out[i] = np.uint8(np.uint32(np.uint32(counts[i] * per_count) + np.uint32(0xFFFFFF)) >> np.uint32(24))


@stage
def attractor_stage(parameters: Any, samples: Any, space: Any, first: Any, last: Any) -> None:
    """Draw every attractor of samples first .. last - 1: writes `space.density`, uses up `space.starts`."""
    objects, tables, starts, windows = space.objects, space.tables, space.starts, space.windows
    side = parameters.canvas + 2
    histogram = np.empty(side * side + 1, np.uint16)
    counts = np.empty(parameters.canvas * parameters.canvas, np.uint32)
    words, cells = np.empty((4, ORBITS), np.uint32), np.empty(ORBITS, np.int32)
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
                chaos_game(
                    parameters, tables[b, view, slot], starts[b, view, slot, 0], starts[b, view, slot, 1],
                    windows[b, view, slot], strides, words, cells, _U(slot), _U(view), sample, histogram,
                )  # fmt: skip
                densities(parameters, histogram, obj[ObjectField.STAMP], counts, space.density[b, view, slot])
