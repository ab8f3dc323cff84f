"""The renderer's arithmetic in NumPy, slow and obvious: what `fracgen.rendering.cpu.arithmetic` must equal.

A fused multiply-add is emulated in double precision: the product of two float32 is exact there,
the sum is rounded to odd (so that a second rounding does no harm), and that is rounded to float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Purpose, philox4x32, seed_key

F = np.float32
Floats = NDArray[np.float32]
Whole = NDArray[np.integer]


@overload
def fma(a: np.float32, b: np.float32, c: np.float32) -> np.float32: ...  # type: ignore[overload-overlap]
@overload
def fma(a: Floats | np.float32, b: Floats | np.float32, c: Floats | np.float32) -> Floats: ...
def fma(a: object, b: object, c: object) -> Floats | np.float32:
    """float32 a * b + c, rounded once; arrays broadcast."""
    x, y, z = (np.asarray(v, np.float32).astype(np.float64) for v in (a, b, c))
    with np.errstate(invalid="ignore", over="ignore"):
        product = x * y  # exact: 24 + 24 bits
        total = product + z
        # Knuth's two-sum: `error` is what the addition lost.
        back = total - product
        error = (product - (total - back)) + (z - back)
        even = np.asarray(total).view(np.int64) & 1 == 0
        inexact = np.isfinite(total) & (error != 0)
        odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
        return np.where(inexact & even, odd, total).astype(np.float32)[()]


def nearest(v: np.float32) -> np.int64:
    """The nearest integer, ties to even, of a float32 below 2^22 in size."""
    return np.int64(np.rint(np.float64(v)))


def exp(v: np.float32) -> np.float32:
    """e^v for v in [-80, 0]: v = k ln 2 + r with ln 2 in two parts, a polynomial of degree 7 in r, k halvings."""
    k = nearest(F(v * F(1.44269504)))
    r = fma(F(k), F(-0.693359375), v)
    r = fma(F(k), F(2.12194440e-4), r)
    p = F(1 / 5040)
    for factorial in (720, 120, 24, 6, 2, 1, 1):
        p = fma(p, r, F(1 / factorial))
    for _ in range(-int(k)):
        p = F(p * F(0.5))
    return p


def sin_cos(q: np.float32) -> tuple[np.float32, np.float32]:
    """Taylor polynomials of degree 7 (sine) and 6 (cosine), by Horner's rule in the square."""
    s = F(q * q)
    sine = F(-1 / 5040)
    for term in (1 / 120, -1 / 6):
        sine = fma(sine, s, F(term))
    cosine = F(-1 / 720)
    for term in (1 / 24, -1 / 2, 1):
        cosine = fma(cosine, s, F(term))
    return fma(sine, F(s * q), q), cosine


def unit(word: int) -> np.float32:
    """Uniform float32 in [0, 1): the upper 24 bits."""
    return F(int(word) >> 8) * F(2.0**-24)


def uniform(word: int, low: float, high: float) -> np.float32:
    """Uniform float32 in [low, high]."""
    return fma(unit(word), F(F(high) - F(low)), F(low))


def below(word: int, n: int) -> int:
    """Uniform integer in [0, n)."""
    return int(word) * n >> 32


@dataclass(frozen=True)
class Draws:
    """The random words of one sample; see the table in `fracgen.draws`."""

    seed: int
    epoch: int
    index: int
    stream: int = 0

    def words(
        self, purpose: Purpose, number: int | NDArray[np.uint64], slot: int = 0, view: int = 0
    ) -> tuple[Any, ...]:
        """Four words (uint64 below 2^32) of each running number."""
        word1 = int(purpose) | slot << 8 | view << 16 | int(self.stream) << 24
        return philox4x32((number, word1, self.index, self.epoch), seed_key(self.seed))
