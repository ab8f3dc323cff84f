"""Average precision and the best F1 of images, by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np


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
