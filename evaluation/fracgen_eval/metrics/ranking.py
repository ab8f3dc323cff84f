"""Whether scores rank images at all; average precision and the best F1 of images, by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen_eval.errors import EvaluationError


def check_ranking(scores: Any, what: str = "scores") -> None:
    """Refuse scores that no metric should be computed from.

    Args:
        scores: of any shape.
        what: their name in the plural, for the message.

    Raises:
        EvaluationError: one is not finite, or there are several and all are equal.

    >>> check_ranking([0.5, 0.5, 0.5])
    Traceback (most recent call last):
    fracgen_eval.errors.EvaluationError: all 3 scores are 0.5, which is no result: use more training images, other \
settings or other weights
    """
    check_finite(scores, what)
    numbers = np.asarray(scores)
    if numbers.size > 1 and numbers.min() == numbers.max():
        raise EvaluationError(
            f"all {numbers.size} {what} are {numbers.flat[0]:g}, which is no result: use more training images, other "
            "settings or other weights"
        )


def check_finite(scores: Any, what: str = "scores") -> None:
    """Raises EvaluationError where one of the scores, of any shape, is not finite; see `check_ranking`."""
    numbers = np.asarray(scores)
    if bad := int(np.count_nonzero(~np.isfinite(numbers))):
        raise EvaluationError(
            f"{bad} of {numbers.size} {what} are not finite, the method diverged: use a lower learning rate, another "
            "seed or other weights"
        )


def average_precision(labels: Any, scores: Any) -> float:
    """Average precision in [0, 1] of scores [N] (higher: more anomalous) against labels [N] (true: anomalous)."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(np.asarray(labels, bool), np.asarray(scores)))


def f1_max(labels: Any, scores: Any) -> float:
    """The highest F1 in [0, 1] that a threshold on the scores [N] reaches; it looks at the labels [N].

    Example:
        >>> f1_max([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9])
        0.8
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(np.asarray(labels, bool), np.asarray(scores))
    total = precision + recall
    return float(np.max(np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)))
