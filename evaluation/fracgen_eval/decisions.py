"""From scores to decisions whose false alarms are bounded: conformal p-values, and a test for pictures of another kind.

The p-value of a picture is the share of normal pictures, itself counted among them, whose scores reach its own
(Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005). Where normal pictures and judged ones are
exchangeable and one model that saw neither gives the scores of both, p is at most a with a probability of at most a.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError

TIE = 1e-4
"""Scores that differ by less than this share count as equal: other processors and thread counts round otherwise."""
Scores = NDArray[np.floating]


def check_rate(rate: float) -> None:
    """Refuse a rate of false alarms that is none. Raises EvaluationError.

    >>> check_rate(1.5)
    Traceback (most recent call last):
    fracgen_eval.errors.EvaluationError: a rate of 1.5 false alarms: use a number above 0 and below 1, such as 0.05
    """
    if not 0 < rate < 1:
        raise EvaluationError(f"a rate of {rate:g} false alarms: use a number above 0 and below 1, such as 0.05")


def promised_rate(normal: int, rate: float) -> float:
    """The rate of false alarms that so many normal pictures can promise: `rate`, or 1 in n + 1 if that is more.

    >>> promised_rate(99, 0.01), promised_rate(9, 0.01)
    (0.01, 0.1)
    """
    return max(rate, 1 / (normal + 1))


def pictures_needed(rate: float) -> int:
    """Number of normal pictures from which on that rate can be promised.

    >>> pictures_needed(0.05), pictures_needed(0.01)
    (19, 99)
    """
    return math.ceil(1 / rate - 1e-9) - 1


def p_values(scores: Scores, normal: Scores) -> NDArray[np.float64]:
    """Conformal p-values.

    Args:
        scores: [M], of the pictures to judge.
        normal: [N], of normal pictures that the model was not fitted on.

    Returns:
        [M], each in [1 / (N + 1), 1].

    >>> p_values(np.array([0.5, 9.0]), np.array([1.0, 2.0, 3.0]))
    array([1.  , 0.25])
    """
    rising = np.sort(np.asarray(normal, np.float64))
    below = np.searchsorted(rising, _lowered(scores), side="left")
    return (1 + len(rising) - below) / (len(rising) + 1)


def flagged(p: NDArray[np.float64], normal: int, rate: float) -> NDArray[np.bool_]:
    """Whether each p-value is at most the rate that so many normal pictures can promise; never where there are none.

    >>> flagged(np.array([0.1, 0.2]), 9, 0.05)
    array([ True, False])
    """
    return (p <= promised_rate(normal, rate) + 1e-9) & (normal > 0)


def threshold(normal: Scores, rate: float) -> float:
    """The score above which `p_values` are at most `promised_rate`; infinite where there are no normal pictures.

    >>> threshold(np.arange(40.0), 0.05), threshold(np.arange(9.0), 0.05)
    (38.0, 8.0)
    """
    number = len(normal)
    if not number:
        return math.inf
    exceeding = math.floor(promised_rate(number, rate) * (number + 1) + 1e-9) - 1
    return float(np.sort(normal)[number - 1 - exceeding])


def _lowered(scores: Scores) -> NDArray[np.float64]:
    exact = np.asarray(scores, np.float64)
    return exact - TIE * np.abs(exact)
