"""Sample IFS codes: Anderson and Farrell, "Improving Fractal Pre-training" (WACV 2022), section 3.2.

Code k of a bank is a pure function of (seed, k, range of the number of maps). Only sums, products,
quotients and square roots are used, which IEEE 754 defines to the last bit, so a bank is the same
on every machine: directions are drawn by rejection from the unit disk rather than by sine and
cosine of an angle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Purpose, philox4x32, seed_key
from fracgen.formulas.ifs import MAX_MAPS

SAMPLER_VERSION = 1
"""Changes when the same seed gives other codes; it is part of a bank's metadata."""

_ATTEMPTS = 64
_SYSTEM, _VALUES, _DIRECTIONS = range(3)

Array = NDArray[np.float64]


def sample_codes(
    seed: int, first: int, count: int, maps: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Codes first .. first + count - 1 of a bank.

    Args:
        seed: integer in [0, 2^64).
        first, count: the range of codes.
        maps: smallest and largest number of maps, both within [2, 8].

    Returns:
        Maps float32 [count, 8, 2, 3], zero beyond each code's own, and their numbers uint8 [count].
    """
    key = seed_key(seed)
    code = np.arange(first, first + count, dtype=np.uint64)
    words = philox4x32((0, _slot(_SYSTEM, 0), code, 0), key)
    low, high = maps
    n = low + (words[0] * np.uint64(high - low + 1) >> np.uint64(32)).astype(np.int64)
    alpha = (5 + n) / 2 + _unit(words[1]) / 2

    singular = _singular_values(code, n, alpha, key)
    result = np.zeros((count, MAX_MAPS, 2, 3))
    for i in range(MAX_MAPS):
        has = np.flatnonzero(n > i)
        if not has.size:
            break
        words = philox4x32((0, _slot(_VALUES, i), code[has], 0), key)
        u, v = _rotations(code[has], i, key)
        # Random reflections: the sign of each axis, before and after the scaling. Only their
        # products enter U diag(s) V, so one sign per singular value serves both.
        sign = 1.0 - 2.0 * np.stack([words[2] & np.uint64(1), words[3] & np.uint64(1)], -1)
        s = singular[has, i] * sign
        for r in range(2):
            for c in range(2):
                result[has, i, r, c] = u[:, r, 0] * s[:, 0] * v[:, 0, c] + u[:, r, 1] * s[:, 1] * v[:, 1, c]
        result[has, i, 0, 2] = 2.0 * _unit(words[0]) - 1.0
        result[has, i, 1, 2] = 2.0 * _unit(words[1]) - 1.0
    return _contracting(result.astype(np.float32)), n.astype(np.uint8)


def _contracting(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Maps [K, 8, 2, 3] of which none has a singular value of 1: rounding makes that of one just below 1, in one code
    of 500,000. Such a map is shrunk by 2^-20."""
    expands = largest_singular_values(maps) >= 1.0
    maps[expands, :, :2] *= np.float32(1.0 - 2.0**-20)
    return maps


def norms_and_determinants(maps: NDArray[np.float32]) -> tuple[Array, Array]:
    """Sum of squared singular values, and absolute determinant, of every map: float64 [K, 8] each."""
    a = maps[..., :2].astype(np.float64)
    return (a * a).sum(axis=(-2, -1)), np.abs(a[..., 0, 0] * a[..., 1, 1] - a[..., 0, 1] * a[..., 1, 0])


def largest_singular_values(maps: NDArray[np.float32]) -> Array:
    """Of every map, float64 [K, 8]."""
    norm, det = norms_and_determinants(maps)
    result: Array = (np.sqrt(norm + 2 * det) + np.sqrt(np.maximum(norm - 2 * det, 0.0))) / 2
    return result


def _slot(kind: int, index: int) -> int:
    return Purpose.CODE | (kind * 16 + index) << 8


def _unit(words: NDArray[np.uint64]) -> Array:
    """Uniform double in (0, 1), symmetric about 1/2."""
    result: Array = (words.astype(np.float64) + 0.5) * 2.0**-32
    return result


def _singular_values(code: NDArray[np.uint64], n: NDArray[np.int64], alpha: Array, key: tuple[int, int]) -> Array:
    """Pairs s1 >= s2 [K, 8, 2] with sum(s1 + 2 s2) = alpha, drawn one pair after the other so that
    what is left can always still be spent (p) and never must exceed what the rest can hold (q)."""
    s = np.zeros((len(code), MAX_MAPS, 2))
    p, q = alpha.copy(), alpha - 3.0 * n + 3.0
    for i in range(MAX_MAPS):
        words = philox4x32((1, _slot(_VALUES, i), code, 0), key)
        last = n == i + 1
        more = n > i + 1
        low = np.maximum(0.0, q / 3.0)
        s1 = low + (np.minimum(1.0, p) - low) * _unit(words[0])
        q1, p1 = q - s1, p - s1
        low = np.maximum(0.0, q1 / 2.0)
        s2 = low + (np.minimum(s1, p1 / 2.0) - low) * _unit(words[1])
        low = np.maximum(0.0, (p - 1.0) / 2.0)
        s2_last = low + (p / 3.0 - low) * _unit(words[1])
        s[more, i, 0], s[more, i, 1] = s1[more], s2[more]
        s[last, i, 0], s[last, i, 1] = (p - 2.0 * s2_last)[last], s2_last[last]
        q, p = q1 - 2.0 * s2 + 3.0, p1 - 2.0 * s2
    return s


def _rotations(code: NDArray[np.uint64], index: int, key: tuple[int, int]) -> tuple[Array, Array]:
    """Two independent uniform rotation matrices [K, 2, 2] per code, for map `index`."""
    direction = np.zeros((len(code), 2, 2))
    for half in range(2):
        direction[:, half, 0] = 1.0
        left = np.arange(len(code))
        for attempt in range(_ATTEMPTS):
            words = philox4x32((attempt, _slot(_DIRECTIONS, index), code[left], 0), key)
            x = 2.0 * _unit(words[2 * half]) - 1.0
            y = 2.0 * _unit(words[2 * half + 1]) - 1.0
            square = x * x + y * y
            inside = (square <= 1.0) & (square >= 1e-4)
            norm = np.sqrt(square[inside])
            direction[left[inside], half, 0] = x[inside] / norm
            direction[left[inside], half, 1] = y[inside] / norm
            left = left[~inside]
            if not left.size:
                break
    cosine, sine = direction[..., 0], direction[..., 1]
    matrices = np.stack([np.stack([cosine, -sine], -1), np.stack([sine, cosine], -1)], -2)
    return matrices[:, 0], matrices[:, 1]
