"""Codes in NumPy, slow and obvious: what `fracgen.rendering.cpu.ifs.code` must equal.

A map is a tuple of six float32 (a, b, e, c, d, f): x' = a x + b y + e, y' = c x + d y + f.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Purpose
from fracgen.formulas.files import Bank
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.recipe import Recipe
from tests.reference.arithmetic import Draws, F, Floats, below, fma, sin_cos, uniform

Maps = list[list[np.float32]]
Code = Floats | Maps
Words = tuple[int, ...]
TRIES = 4


def choose(recipe: Recipe, bank: Bank, draws: Draws, slot: int) -> int:
    """Sample i has class i mod C and code (i div C) mod K of it; other attractors may differ."""
    label = draws.index % bank.classes
    word = draws.words(Purpose.OBJECT, 3, slot)[0]
    if recipe.source == "class":
        return label * bank.per_class + below(word, bank.per_class)
    if recipe.source == "bank" and slot > 0:
        return below(word, len(bank))
    return label * bank.per_class + draws.index // bank.classes % bank.per_class


def squares(m: Floats | list[np.float32]) -> tuple[np.float32, np.float32]:
    """Sum of squared singular values, and |det|."""
    a, b, _, c, d, _ = m
    norm = fma(a, a, fma(b, b, fma(c, c, F(d * d))))
    det = fma(a, d, -F(b * c))
    return norm, abs(det)


def contracts(m: Floats | list[np.float32]) -> bool:
    """No singular value above 1: s1 s2 <= 1 and s1^2 + s2^2 <= 1 + s1^2 s2^2."""
    norm, det = squares(m)
    return bool(det <= 1 and norm <= fma(det, det, F(1)))


def sigma(m: Floats | list[np.float32]) -> np.float32:
    """s1 + 2 s2 = 3/2 (s1 + s2) - 1/2 (s1 - s2)."""
    norm, det = squares(m)
    total = np.sqrt(fma(det, F(2), norm))
    difference = np.sqrt(max(fma(det, F(-2), norm), F(0)))
    return F(fma(total, F(1.5), F(difference * F(-0.5))))


def scale(code: Code, w: Words, recipe: Recipe) -> Maps:
    """All six numbers of one map, by U(0.8, 1.1)."""
    maps = [list(m) for m in code]
    factor = uniform(w[1], 0.8, 1.1)
    chosen = below(w[0], len(maps))
    maps[chosen] = [F(v * factor) for v in maps[chosen]]
    return maps


def svd(code: Code, w: Words, recipe: Recipe) -> Maps:
    """One map: turn its left or its right singular vectors by U(-0.5, 0.5) radians, or move it."""
    maps = [list(m) for m in code]
    chosen, what = divmod(below(w[0], 3 * len(maps)), 3)
    a, b, e, c, d, f = maps[chosen]
    sine, cosine = sin_cos(uniform(w[1], -0.5, 0.5))
    if what == 0:
        turned = [
            fma(cosine, a, -F(sine * c)), fma(cosine, b, -F(sine * d)), e,
            fma(sine, a, F(cosine * c)), fma(sine, b, F(cosine * d)), f,
        ]  # fmt: skip
    elif what == 1:
        turned = [
            fma(a, cosine, F(b * sine)), fma(b, cosine, -F(a * sine)), e,
            fma(c, cosine, F(d * sine)), fma(d, cosine, -F(c * sine)), f,
        ]  # fmt: skip
    else:
        turned = [a, b, F(e + uniform(w[1], -0.5, 0.5)), c, d, F(f + uniform(w[2], -0.5, 0.5))]
    maps[chosen] = turned
    return maps


def sval(code: Code, w: Words, recipe: Recipe) -> Maps:
    """One map's linear part, so that the code's sigma factor becomes U((5 + N) / 2, (6 + N) / 2)."""
    maps = [list(m) for m in code]
    n = len(maps)
    chosen = below(w[0], n)
    total = F(0)
    for m in maps:
        total = F(total + sigma(m))
    own = sigma(maps[chosen])
    if own > 0:
        rest = F(own - total)
        low = F(F(fma(F(n), F(0.5), F(2.5)) + rest) / own)
        high = F(F(fma(F(n), F(0.5), F(3.0)) + rest) / own)
        factor = uniform(w[1], float(low), float(high))
        maps[chosen] = [v if k in (2, 5) else F(v * factor) for k, v in enumerate(maps[chosen])]
    return maps


def fractaldb(code: Code, w: Words, recipe: Recipe) -> Maps:
    """One number of every map, all by one of five factors evenly spaced on [1 - 2k, 1 + 2k]."""
    maps = [list(m) for m in code]
    factor = fma(F(below(w[3], 5) - 2), F(recipe.jitter_strength), F(1))
    bits = int(w[0]) << 32 | int(w[1])
    for i, m in enumerate(maps):
        k = (bits >> 8 * i & 255) * 6 >> 8
        m[k] = F(m[k] * factor)
    return maps


MODES = {"scale": scale, "svd": svd, "sval": sval, "fractaldb": fractaldb}


def jitter(recipe: Recipe, code: Code, draws: Draws, slot: int) -> Maps:
    """The first of four tries all of whose maps contract, else the code itself."""
    if recipe.jitter != "none":
        for attempt in range(TRIES):
            maps = MODES[recipe.jitter](code, draws.words(Purpose.JITTER, attempt, slot), recipe)
            if all(contracts(m) for m in maps):
                return maps
    return [list(m) for m in code]


def brings_probabilities(bank: CodeBank) -> bool:
    """Whether some code's probabilities are others than |det A| of its maps (all the same where all are 0)."""
    for maps, n, p in zip(bank.maps.astype(np.float64), bank.sizes, bank.probabilities, strict=True):
        det = np.abs(maps[:n, 0, 0] * maps[:n, 1, 1] - maps[:n, 0, 1] * maps[:n, 1, 0])
        det = det if det.any() else np.ones(n)
        if not np.allclose(p[:n], det / det.sum(), rtol=1e-6, atol=0):
            return True
    return False


def weights(maps: Code, stored: Floats | None) -> list[np.float32]:
    """How likely each map is: |det A|, or what the bank stores."""
    w = [squares(m)[1] for m in maps] if stored is None else [F(p) for p in stored[: len(maps)]]
    return w if any(v > 0 for v in w) else [F(1)] * len(w)


def shares(w: list[np.float32]) -> list[int]:
    """The weights in 2^-16, rounded down but never to zero; the likeliest map takes the rest."""
    total = F(0)
    for v in w:
        total = F(total + v)
    share = [max(int(F(F(v / total) * F(65536))), int(v > 0)) for v in w]
    likeliest = max(range(len(share)), key=lambda i: share[i])
    share[likeliest] += 65536 - sum(share)
    return share + [0] * (8 - len(share))


def choice(share: list[int]) -> NDArray[np.int64]:
    """Which map each of the 2^16 values of the random bits chooses, as Walker's alias method lays them
    out: int [8, 8192].

    Eight columns of 8,192 values. Eight times the map with the least left (the first of equals)
    fills its own column as far as it reaches, and the map with the most left (the first of equals,
    itself where it is the only one) gives the rest.
    """
    left = dict(enumerate(share))
    chosen = [[0] * 8192 for _ in range(8)]
    while left:
        low = min(left, key=lambda i: (left[i], i))
        high = max(left, key=lambda i: (left[i], -i))
        own = min(left[low], 8192)
        chosen[low] = [low] * own + [high] * (8192 - own)
        left[high] -= 8192 - own
        del left[low]
    return np.array(chosen)
