"""One code made ready: choose it, jitter it, and tabulate the choice of its maps."""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.draws import Purpose
from fracgen.formulas.ifs import MAX_MAPS
from fracgen.formulas.ifs.records import JITTER_TRIES
from fracgen.rendering.cpu.arithmetic import below, draw, fma, sin_cos, uniform
from fracgen.rendering.cpu.jit import inner
from fracgen.rendering.parameters import Jitter

_F = np.float32
_U = np.uint32
_JITTER = _U(Purpose.JITTER)
CHOICES = 1 << 16
"""A map is chosen by 16 random bits."""
_COLUMN = CHOICES // MAX_MAPS
A, B, E, C, D, F = range(6)
"""Order of a map's numbers in a bank: the rows (a, b, e) and (c, d, f) of a 2x3 matrix."""


@inner
def _squares(m):
    """Sum of the squared singular values of a map, and the absolute determinant."""
    norm = fma(m[A], m[A], fma(m[B], m[B], fma(m[C], m[C], m[D] * m[D])))
    det = fma(m[A], m[D], -(m[B] * m[C]))
    return norm, abs(det)


@inner
def _contracts(maps, n):
    """Whether no singular value exceeds 1: (1 - s1^2)(1 - s2^2) >= 0 and s1 s2 <= 1."""
    for i in range(n):
        norm, det = _squares(maps[i])
        if not (det <= _F(1.0) and norm <= fma(det, det, _F(1.0))):
            return False
    return True


@inner
def _sigma(m):
    """s1 + 2 s2 of one map."""
    norm, det = _squares(m)
    total = np.sqrt(fma(det, _F(2.0), norm))
    difference = np.sqrt(max(fma(det, _F(-2.0), norm), _F(0.0)))
    return fma(total, _F(1.5), difference * _F(-0.5))


@inner
def _turn(m, right, w):
    """Turn a map's left or right singular vectors by a random angle."""
    s, c = sin_cos(uniform(w[1], _F(-0.5), _F(0.5)))
    a, b, cc, d = m[A], m[B], m[C], m[D]
    if right:
        m[A], m[B] = fma(a, c, b * s), fma(b, c, -(a * s))
        m[C], m[D] = fma(cc, c, d * s), fma(d, c, -(cc * s))
    else:
        m[A], m[B] = fma(c, a, -(s * cc)), fma(c, b, -(s * d))
        m[C], m[D] = fma(s, a, c * cc), fma(s, b, c * d)


@inner
def _vary(parameters, code, maps, n, w):
    """One try of the recipe's jitter on `maps`, which hold a copy of `code`."""
    if parameters.jitter == Jitter.SCALE:  # all six numbers of one map
        m = maps[below(w[0], n)]
        factor = uniform(w[1], _F(0.8), _F(1.1))
        for k in range(6):
            m[k] = m[k] * factor
    elif parameters.jitter == Jitter.SVD:  # turn one map's left or right singular vectors, or move it
        which = below(w[0], 3 * n)
        m = maps[which // 3]
        if which % 3 == 2:
            m[E] = m[E] + uniform(w[1], _F(-0.5), _F(0.5))
            m[F] = m[F] + uniform(w[2], _F(-0.5), _F(0.5))
        else:
            _turn(m, which % 3 == 1, w)
    elif parameters.jitter == Jitter.SVAL:  # one map's singular values, the code's sigma factor staying in range
        k = below(w[0], n)
        total = _F(0.0)
        for i in range(n):
            total = total + _sigma(code[i])
        own = _sigma(code[k])
        if own > _F(0.0):
            rest = own - total
            low = (fma(_F(n), _F(0.5), _F(2.5)) + rest) / own
            high = (fma(_F(n), _F(0.5), _F(3.0)) + rest) / own
            factor = uniform(w[1], low, high)
            for j in (A, B, C, D):
                maps[k, j] = maps[k, j] * factor
    elif parameters.jitter == Jitter.FRACTALDB:  # one number of every map, by one factor
        step = _F(below(w[3], _U(5))) - _F(2.0)
        factor = fma(step, parameters.jitter_strength, _F(1.0))
        bits = (np.uint64(w[0]) << np.uint64(32)) | np.uint64(w[1])
        for i in range(n):
            coefficient = ((bits >> np.uint64(8 * i)) & np.uint64(255)) * np.uint64(6) >> np.uint64(8)
            maps[i, coefficient] = maps[i, coefficient] * factor


@inner
def jitter(parameters, code, n, slot, sample, maps):
    """Vary `code` [8, 6] into `maps`: up to four tries that still contract, else the code itself."""
    for attempt in range(JITTER_TRIES + 1):
        for i in range(n):
            for k in range(6):
                maps[i, k] = code[i, k]
        if parameters.jitter == Jitter.NONE or attempt == JITTER_TRIES:
            return
        w = draw(_U(attempt), _JITTER, slot, _U(0), sample)
        _vary(parameters, code, maps, n, w)
        if _contracts(maps, n):
            return


@inner
def choice_table(maps, n, code, probabilities, choices):
    """Walker's alias table over the eight columns that 16 random bits u fall into.

    Column u >> 13 keeps its own map while u << 8 <= entry, else it yields map entry & 7, so one
    comparison of integers decides. Probabilities are those of the code in `probabilities` [K, 8], or |det A|
    where that is empty; rounded down to 2^-16, but never to zero, and the likeliest map takes what that leaves.
    """
    weights = np.zeros(MAX_MAPS, np.float32)
    total = _F(0.0)
    for i in range(n):
        _, det = _squares(maps[i])
        weights[i] = probabilities[code, i] if len(probabilities) else det
        total = total + weights[i]
    if not total > _F(0.0):
        for i in range(n):
            weights[i] = _F(1.0)
        total = _F(n)

    share = np.zeros(MAX_MAPS, np.int32)
    left = np.int32(CHOICES)
    largest = 0
    for i in range(n):
        share[i] = np.int32(weights[i] / total * _F(CHOICES))
        if share[i] == 0 and weights[i] > _F(0.0):
            share[i] = 1
        left = np.int32(left - share[i])
        if share[i] > share[largest]:
            largest = i
    share[largest] += left

    done = 0
    for _ in range(MAX_MAPS):
        low, high = -1, -1
        for i in range(MAX_MAPS):
            if not (done >> i) & 1:
                if low < 0 or share[i] < share[low]:
                    low = i
                if high < 0 or share[i] > share[high]:
                    high = i
        done |= 1 << low
        own = min(share[low], np.int32(_COLUMN))
        choices[low] = np.int32((low * _COLUMN + own - 1) * 256 + high)
        share[high] -= np.int32(_COLUMN - own)
