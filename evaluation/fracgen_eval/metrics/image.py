"""Image metrics, all from one ranking of the test images, for the test set as it is or for resamples of it.

PG and PB as in Baitieva et al., "Beyond Academic Benchmarks" (arXiv 2503.23451), and in Anomalib: PG2 is the share of
good parts below the 2 % quantile of the bad ones' scores (released where 2 % of the defects are missed), PB2 the share
of bad parts above the 98 % quantile of the good ones' (found at 2 % false alarms); quantiles between two scores are
interpolated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fracgen_eval.errors import EvaluationError

Array = NDArray[np.float64]
SHARES = {"2": 0.02, "5": 0.05}
"""Of PG and PB."""


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """AUROC in [0, 1] of scores [N] (higher is more anomalous) against labels [N] (true where anomalous).

    Raises:
        EvaluationError: a score is not finite, or only one kind of image is there.

    >>> auroc([False, False, True, True], [1.0, 2.0, 2.0, 3.0])
    0.875
    """
    from sklearn.metrics import roc_auc_score

    labels, scores = np.asarray(labels, bool), np.asarray(scores)
    if not np.isfinite(scores).all():
        raise EvaluationError("an image's score is not finite: the method diverged or overflowed")
    if labels.all() or not labels.any():
        kind = "anomalous" if labels.size and labels.all() else "normal"
        raise EvaluationError(f"all {labels.size} test images are {kind}: AUROC needs both kinds")
    return float(roc_auc_score(labels, scores))


def image_metrics(labels: ArrayLike, scores: ArrayLike, threshold: float | None = None) -> dict[str, float]:
    """All that scores tell, by name, each in [0, 1].

    Args:
        labels: [N], true where anomalous.
        scores: [N], higher is more anomalous.
        threshold: above it an image is taken for anomalous; None for no decision.

    Raises:
        EvaluationError: a score is not finite, or only one kind of image is there.

    >>> found = image_metrics([0, 0, 1, 1], [0.1, 0.6, 0.5, 0.9], threshold=0.7)
    >>> found["image_f1_max"], found["false_alarms"], found["detections"]
    (0.8, 0.0, 0.5)
    """
    first = {"image_auroc": auroc(labels, scores)}
    once = image_replicates(labels, scores, np.ones((1, np.size(scores))), threshold)
    return {name: float(values[0]) for name, values in once.items()} | first


def image_replicates(
    labels: ArrayLike, scores: ArrayLike, counts: Array, threshold: float | None = None
) -> dict[str, Array]:
    """The metrics of every resample, each [B] in [0, 1].

    Args:
        labels: [N], true where anomalous; both kinds are there.
        scores: [N], higher is more anomalous.
        counts: [B, N], how often an image is in a resample, see `resamples`; at least once for one of each kind.
        threshold: see `image_metrics`.
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    labels, scores, counts = labels[order], scores[order], counts[:, order]
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))  # ties count together
    hits, false = (np.cumsum(counts * kind, 1)[:, ends] for kind in (labels, ~labels))
    recall, rate, seen = hits / hits[:, -1:], false / false[:, -1:], hits + false
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    found = {
        "image_auroc": trapezoid(recall, rate),
        "image_ap": (np.diff(recall, axis=1, prepend=0.0) * precision).sum(1),
        "image_f1_max": (2 * hits / (seen + hits[:, -1:])).max(1),
    }
    good, bad = ((scores[kind], counts[:, kind]) for kind in (~labels, labels))
    for name, share in SHARES.items():
        found[f"pg_{name}"] = _share(*good, np.less, _quantile(*bad, share))
        found[f"pb_{name}"] = _share(*bad, np.greater, _quantile(*good, 1 - share))
    if threshold is not None:
        at = np.full(len(counts), threshold)
        found["false_alarms"], found["detections"] = (_share(*kind, np.greater, at) for kind in (good, bad))
    return found


def trapezoid(height: Array, across: Array, limit: float = 1.0) -> Array:
    """Area [B] under curves [B, K] that start at (0, 0), up to `limit` across; straight between their points."""
    start, step = np.pad(across[:, :-1], ((0, 0), (1, 0))), np.diff(across, axis=1, prepend=0.0)
    low = np.pad(height[:, :-1], ((0, 0), (1, 0)))
    width = np.clip(limit - start, 0.0, step)
    share = np.divide(width, step, out=np.zeros_like(step), where=step > 0)
    area: Array = (width * (low + (height - low) * share / 2)).sum(1)
    return area


def _quantile(falling: Array, counts: Array, share: float) -> Array:
    """[B]: the quantile of scores [N] that are there `counts` times [B, N], linear between two of them."""
    seen = np.cumsum(counts[:, ::-1], 1)
    place = share * (seen[:, -1:] - 1)
    below = np.floor(place)
    low, high = (falling[::-1][np.minimum((seen <= n).sum(1), len(falling) - 1)] for n in (below, below + 1))
    part = (place - below)[:, 0]
    between: Array = np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part))
    return between


def _share(scores: Array, counts: Array, compared: np.ufunc, threshold: Array) -> Array:
    """[B]: the share of scores [N], there `counts` times [B, N], that lie on one side of a threshold [B]."""
    share: Array = (counts * compared(scores, threshold[:, None])).sum(1) / counts.sum(1)
    return share


def check_ranking(scores: ArrayLike, what: str = "scores") -> None:
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


def check_finite(scores: ArrayLike, what: str = "scores") -> None:
    """Raises EvaluationError where one of the scores, of any shape, is not finite; see `check_ranking`."""
    numbers = np.asarray(scores)
    if bad := int(np.count_nonzero(~np.isfinite(numbers))):
        raise EvaluationError(
            f"{bad} of {numbers.size} {what} are not finite, the method diverged: use a lower learning rate, another "
            "seed or other weights"
        )
