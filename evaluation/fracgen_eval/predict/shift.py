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
    number, scores = len(judged.scores), np.concatenate([judged.scores, normal.scores]).astype(np.float64)
    rows = _standardised(np.column_stack([scores, np.concatenate([judged.looks, normal.looks])]))
    rising = np.argsort(scores, kind="stable")
    distances = np.linalg.norm(rows[rising][:, None] - rows[rising][None], axis=2)
    ours = np.random.default_rng(0).permuted(np.tile(np.arange(len(rows)) < number, (DRAWS + 1, 1)), axis=1)
    ours[0] = rising < number
    energies = _energies(distances, ours)
    return float((energies >= energies[0] - 1e-12).mean()), _difference(judged.looks, normal.looks)


def _standardised(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    low, middle, high = np.quantile(rows, (0.16, 0.5, 0.84), axis=0)
    spread = (high - low) / 2
    spread = np.where(spread > 0, spread, np.maximum(rows.std(0), 1e-12))
    standardised: NDArray[np.float64] = np.clip((rows - middle) / spread, -FARTHEST, FARTHEST)
    return standardised


def _energies(distances: NDArray[np.float64], ours: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Energy statistics of rows that are split in two.

    Args:
        distances: [R, R], rows by rising score.
        ours: [D, R], of each split which rows are on the one side; of either side the last ones are left out.
    """
    a, b = (
        side & (side.cumsum(1) <= math.ceil(side[0].sum() * (1 - LEFT_OUT))) for side in (ours, ~ours)
    )  # fmt: skip
    a, b = (side / side.sum(1, keepdims=True) for side in (a, b))
    energies: NDArray[np.float64] = ((2 * a @ distances * b) - a @ distances * a - b @ distances * b).sum(1)
    return energies


def _difference(judged: NDArray[np.float64], normal: NDArray[np.float64]) -> str:
    middle, its = np.median(judged, axis=0), np.median(normal, axis=0)
    spread = np.quantile(normal, 0.84, axis=0) - np.quantile(normal, 0.16, axis=0)
    most = int(np.argmax(np.abs(middle - its) / (spread + 1e-3)))
    return f"{LOOKS[most]} {middle[most]:.3g} instead of {its[most]:.3g} grey levels"
