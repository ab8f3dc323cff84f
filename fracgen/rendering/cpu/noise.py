"""Diamond-square noise in integers: the recipe's backgrounds.

A value is a uint16 in 2048ths, counted from -2.25: at most 11,245 whatever is drawn, so that the sum of
four fits 16 bits and the kernels can work on two points in the halves of a word. A level doubles the
lattice: `m` cells a side become 2m. Its new points are the cells' centres (diamonds, m x m), the
middles of horizontal edges ((m + 1) x m) and of vertical edges (m x (m + 1)); each is the mean of
its four neighbours, wrapping at the lattice's edges, plus a displacement. A call of the generator
serves eight neighbouring points of a row: point j takes part j % 8 of call j // 8.
"""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.draws import Purpose
from fracgen.rendering.cpu.arithmetic import fill_in_order, sample_of
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import SceneField

_U, _H = np.uint32, np.uint16
_NOISE = _U(Purpose.NOISE)
DIAMOND, HORIZONTAL, VERTICAL = range(3)
"""Kinds of points; the noise slot is 4 * level + kind."""


@inner
def _displaced(a, b, c, d, random, amplitude, shift):
    """The mean of four uint16 neighbours, displaced by 16 random bits: uint32. See `_shift`."""
    mean = _U(_U(_U(_U(a) + _U(b)) + _U(_U(c) + _U(d))) + _U(2)) >> _U(2)
    return _U(_U(mean + (_U(_U(_U(random) * amplitude) + shift) >> _U(20))) - _U(1024))


@inner
def _shift(amplitude):
    """What makes u * amplitude + shift, over 2^20, a displacement plus 1024: uint32.

    `amplitude` is twice the largest displacement, in 16ths of a step. The last terms round to
    nearest, and take back the eighth of a step by which a mean of four that rounds halves up is too large.
    """
    return _U(_U((1024 << 20) + (1 << 19) - (1 << 17)) - _U(amplitude << _U(15)))


@inner
def _level(
    m, level, rows, amplitude, coarse, fine, diamond, words, view,
    sample,
):  # fmt: skip
    """One doubling: coarse [>= m + 1, >= m + 1] to the first `rows` rows of fine [rows, >= 2m].

    The last column, 2m, is written sample `fine` has room for it. diamond: uint16 [m, >= m + 2], work space;
    words: uint32 [>= (m + 1) * (m // 8 + 1) * 4], work space.
    """
    calls = m // 8 + 1
    shift = _shift(amplitude)
    random = words.view(np.uint16)
    fill_in_order(words, m * calls, _NOISE, _U(4 * level + DIAMOND), view, sample)
    for i in range(m):
        above, below, target, u = coarse[i], coarse[i + 1], diamond[i, 1:], random[i * calls * 8 :]
        for j in range(m):
            target[j] = _H(_displaced(above[j], above[j + 1], below[j], below[j + 1], u[j], amplitude, shift))
        diamond[i, 0], diamond[i, m + 1] = diamond[i, m], diamond[i, 1]
    whole = fine.shape[1] > 2 * m
    pairs = fine.view(np.uint32)  # of the whole: a view of a row keeps LLVM from vectorising
    fill_in_order(words, (rows + 1) // 2 * calls, _NOISE, _U(4 * level + HORIZONTAL), view, sample)
    for i in range((rows + 1) // 2):  # even rows: pairs of an old point and one on the edge to its right
        up, down = diamond[i - 1 if i > 0 else m - 1, 1:], diamond[i if i < m else 0, 1:]
        old, target, u = coarse[i], pairs[2 * i], random[i * calls * 8 :]
        for j in range(m):
            value = _displaced(up[j], down[j], old[j], old[j + 1], u[j], amplitude, shift)
            target[j] = _U(old[j]) | _U(value << _U(16))
        if whole:
            fine[2 * i, 2 * m] = old[m]
    fill_in_order(words, rows // 2 * calls, _NOISE, _U(4 * level + VERTICAL), view, sample)
    for i in range(rows // 2):  # odd rows: pairs of a point on the edge below and the diamond to its right
        above, below, centre, u = coarse[i], coarse[i + 1], diamond[i], random[i * calls * 8 :]
        target = pairs[2 * i + 1]
        for j in range(m):
            value = _displaced(centre[j], centre[j + 1], above[j], below[j], u[j], amplitude, shift)
            target[j] = value | _U(_U(centre[j + 1]) << _U(16))
        if whole:
            value = _displaced(centre[m], centre[m + 1], above[m], below[m], u[m], amplitude, shift)
            fine[2 * i + 1, 2 * m] = _H(value)


@stage
def noise_stage(parameters, samples, space, first, last):
    """The backgrounds of samples first .. last - 1: reads `space.scenes`, writes `space.noise`."""
    scenes, noise = space.scenes, space.noise
    half = noise.shape[3] // 2
    spare = (np.empty((half + 1, half + 2), np.uint16), np.empty((half + 1, half + 2), np.uint16))
    diamond = np.empty((half, half + 2), np.uint16)
    words = np.empty((half + 1) * (half // 8 + 1) * 4, np.uint32)
    for b in range(last - first):
        sample = sample_of(samples, first + b)
        for view in range(parameters.views):
            scene = scenes[b, view]
            now, after = spare
            for k in range(4):
                now[k >> 1, k & 1] = scene[SceneField.CORNERS + k]
            for level in range(parameters.levels):
                m = 1 << level
                rows = 2 * m + 1
                if level == parameters.levels - 1:
                    after, rows = noise[b, view], parameters.size
                amplitude = _U(scene[SceneField.AMPLITUDES + level])
                _level(m, level, rows, amplitude, now, after, diamond, words, _U(view), sample)
                now, after = after, now
