"""Diamond-square noise in integers: the recipe's backgrounds.

Values are int16 with 12 fractional bits; they stay within about [-3, 4.1]. A level doubles the
lattice: `m` cells a side become 2m. Its new points are the cells' centres (diamonds, m x m), the
middles of horizontal edges ((m + 1) x m) and of vertical edges (m x (m + 1)); each is the mean of
its four neighbours, wrapping at the lattice's edges, plus a displacement. The three kinds are kept
in arrays of their own until the level is complete, because contiguous rows are what SIMD units
and coalesced loads want.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen.draws import Purpose
from fracgen.rendering.cpu.arithmetic import fill, sample_of
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import SceneField

_U = np.uint32
_NOISE = _U(Purpose.NOISE)
DIAMOND, HORIZONTAL, VERTICAL, LAST_COLUMN = range(4)
"""Kinds of points; the noise slot is 4 * level + kind."""


@inner
def _displace(words: Any, calls: Any, row: Any, m: Any, amplitude: Any, target: Any) -> None:
    """Add to `target` [m] its displacements: 16 bits each, eight to a call.

    Point j of a row takes part j // calls of call j % calls, so that neighbouring calls serve
    neighbouring points.
    """
    for part in range(min(8, m)):
        source = words[part >> 1, row * calls : (row + 1) * calls]
        aim = target[part * calls : (part + 1) * calls]
        if part & 1:
            for g in range(calls):
                d = np.int32(source[g]) >> 16
                aim[g] = np.int16(aim[g] + np.int16(np.int32(d * amplitude) >> 19))
        else:
            for g in range(calls):
                d = np.int32(source[g] << np.uint32(16)) >> 16
                aim[g] = np.int16(aim[g] + np.int16(np.int32(d * amplitude) >> 19))


@inner
def _mean(a: Any, b: Any, c: Any, d: Any) -> Any:
    return np.int16((np.int32(a) + np.int32(b) + np.int32(c) + np.int32(d) + np.int32(2)) >> np.int32(2))


@inner
def _level(
    m: Any, level: Any, amplitude: Any, coarse: Any, fine: Any, work: Any, words: Any, view: Any, sample: Any
) -> None:
    """One doubling: coarse [m + 1, m + 1] to fine [2m + 1, 2m + 1]."""
    calls = max(1, m // 8)
    diamond, horizontal, vertical = work
    for kind in range(3):
        rows = m + 1 if kind == HORIZONTAL else m
        fill(words, _U(0), rows * calls, _NOISE, _U(4 * level + kind), view, sample)
        for i in range(rows):
            if kind == DIAMOND:
                row = diamond[i, 1:]
                for j in range(m):
                    row[j] = _mean(coarse[i, j], coarse[i, j + 1], coarse[i + 1, j], coarse[i + 1, j + 1])
            elif kind == HORIZONTAL:
                row = horizontal[i]
                up, down = diamond[(i - 1) % m, 1:], diamond[i % m, 1:]
                for j in range(m):
                    row[j] = _mean(up[j], down[j], coarse[i, j], coarse[i, j + 1])
            else:
                row = vertical[i]
                for j in range(m + 1):
                    row[j] = _mean(diamond[i, j], diamond[i, j + 1], coarse[i, j], coarse[i + 1, j])
            _displace(words, calls, i, m, amplitude, row)
            if kind == DIAMOND:
                diamond[i, 0], diamond[i, m + 1] = diamond[i, m], diamond[i, 1]
    column = fine[0, :m]  # not written yet, so free to work in
    column[:] = 0
    fill(words, _U(0), calls, _NOISE, _U(4 * level + LAST_COLUMN), view, sample)
    _displace(words, calls, 0, m, amplitude, column)
    for i in range(m):
        vertical[i, m] += column[i]

    for i in range(m):
        even, odd = fine[2 * i], fine[2 * i + 1]
        for j in range(m):
            even[2 * j] = coarse[i, j]
            even[2 * j + 1] = horizontal[i, j]
        even[2 * m] = coarse[i, m]
        for j in range(m):
            odd[2 * j] = vertical[i, j]
            odd[2 * j + 1] = diamond[i, j + 1]
        odd[2 * m] = vertical[i, m]
    for j in range(m):
        fine[2 * m, 2 * j], fine[2 * m, 2 * j + 1] = coarse[m, j], horizontal[m, j]
    fine[2 * m, 2 * m] = coarse[m, m]


@stage
def noise_stage(parameters: Any, samples: Any, space: Any, first: Any, last: Any) -> None:
    """The backgrounds of samples first .. last - 1: reads `space.scenes`, writes `space.noise`."""
    scenes, noise = space.scenes, space.noise
    side = noise.shape[2]
    half = side // 2 + 2
    spare = np.empty((side, side), np.int16)
    work = (np.empty((half, half), np.int16), np.empty((half, half), np.int16), np.empty((half, half), np.int16))
    words = np.empty((4, half * max(1, side // 16)), np.uint32)
    for b in range(last - first):
        sample = sample_of(samples, first + b)
        for view in range(parameters.views):
            scene = scenes[b, view]
            now, after = (spare, noise[b, view]) if parameters.levels & 1 else (noise[b, view], spare)
            for k in range(4):
                now[k >> 1, k & 1] = scene[SceneField.CORNERS + k]
            for level in range(parameters.levels):
                amplitude = scene[SceneField.AMPLITUDES + level]
                _level(1 << level, level, amplitude, now, after, work, words, _U(view), sample)
                now, after = after, now
