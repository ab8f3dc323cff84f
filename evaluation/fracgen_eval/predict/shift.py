"""Do the pictures to judge differ from the normal ones as a whole? Then no p-value can be trusted.

An energy test (Székely and Rizzo, 2004) on what pictures look like and on their scores. The quarter of either side with
the highest scores is left out, as some of the judged pictures may show defects; so it is in every permutation, and the
level is exact where the pictures are exchangeable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.predict.pictures import LOOKS

DRAWS = 999
"""Permutations."""
LEVEL = 0.02
"""How often the test speaks where nothing has changed."""
LEFT_OUT = 0.25
"""Share of the pictures of either side that may show defects."""
MOST = 300
"""Pictures of either side that are compared, the first ones."""
FARTHEST = 4.0
"""Differences from the median count up to so many spreads."""


@dataclass(frozen=True)
class Seen:
    """Pictures of one kind: scores [N] and looks [N, L]."""

    scores: NDArray[np.floating]
    looks: NDArray[np.float64]


def shift(judged: Seen, normal: Seen) -> tuple[float, str]:
    """Compare the pictures to judge with normal ones.

    Returns:
        The p-value of the test, and the look in which the two differ most, such as "red 90 instead of 70 grey levels".
    """
    judged, normal = (Seen(seen.scores[:MOST], seen.looks[:MOST]) for seen in (judged, normal))
    number = len(judged.scores)
    scores = np.concatenate([judged.scores, normal.scores]).astype(np.float64)
    rows = _standardised(np.column_stack([scores, np.concatenate([judged.looks, normal.looks])]))
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    rng = np.random.default_rng(0)
    places = np.arange(len(rows))
    found = _energy(distances, scores, places, number)
    reached = sum(_energy(distances, scores, rng.permutation(places), number) >= found - 1e-12 for _ in range(DRAWS))
    return (1 + reached) / (DRAWS + 1), _difference(judged.looks, normal.looks)


def _standardised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    low, middle, high = np.quantile(rows, (0.16, 0.5, 0.84), axis=0)
    spread = (high - low) / 2
    spread = np.where(spread > 0, spread, np.maximum(rows.std(0), 1e-12))
    standardised: NDArray[np.float64] = np.clip((rows - middle) / spread, -FARTHEST, FARTHEST)
    return standardised


def _energy(
    distances: NDArray[np.float64], scores: NDArray[np.float64], order: NDArray[np.intp], number: int
) -> float:
    """Energy statistic of the first `number` of that order and the others, each without its highest scores."""
    a, b = (_ordinary(part, scores) for part in (order[:number], order[number:]))
    between = distances[np.ix_(a, b)].mean()
    return float(2 * between - distances[np.ix_(a, a)].mean() - distances[np.ix_(b, b)].mean())


def _ordinary(part: NDArray[np.intp], scores: NDArray[np.float64]) -> NDArray[np.intp]:
    return part[np.argsort(scores[part], kind="stable")[: math.ceil(len(part) * (1 - LEFT_OUT))]]


def _difference(judged: NDArray[np.float64], normal: NDArray[np.float64]) -> str:
    middle, its = np.median(judged, axis=0), np.median(normal, axis=0)
    spread = np.quantile(normal, 0.84, axis=0) - np.quantile(normal, 0.16, axis=0)
    most = int(np.argmax(np.abs(middle - its) / (spread + 1e-3)))
    return f"{LOOKS[most]} {middle[most]:.3g} instead of {its[most]:.3g} grey levels"
