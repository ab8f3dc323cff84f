"""How sure a metric is: the bootstrap over test images (Efron, 1979), all metrics on the same resamples.

Good and anomalous test images are drawn anew, each among their own kind and with replacement, and every
metric is computed on each draw. The draws are a pure function of a key, the data's, so that the
replicates of two weights (or methods, or seeds) on the same test images are paired: the interval of
their difference is that of the differences of their replicates. Nothing is computed image by image: a
resample is a row of weights, and a metric of all resamples is a few products of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.metrics.counts import Images

REPLICATES = 500
DEVIATIONS = 1.959964
"""Standard deviations either way of a normal 95 % interval."""
BINS_FINE, BINS_COARSE = 128, 64
"""Bins of pixel scores: so many below a false-positive rate of 0.05, and from there to 0.3 and to 1."""

Array = NDArray[np.float64]


def resamples(labels: Any, key: Sequence[int], number: int = REPLICATES) -> Array:
    """How often each test image [N] is in each resample: [number, N], by kind as many as there are.

    Args:
        labels: [N], true where anomalous.
        key: whole numbers that name the test set.
        number: of resamples.
    """
    labels = np.asarray(labels, bool)
    rng = np.random.default_rng([*key, 0xB007])
    counts = np.zeros((number, len(labels)))
    for kind in (False, True):
        members = np.flatnonzero(labels == kind)
        if len(members):
            counts[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), number)
    return counts


def image_replicates(labels: Any, scores: Any, counts: Array) -> dict[str, Array]:
    """`image_auroc`, `image_ap` and `image_f1_max` of every resample, each [B] in [0, 1].

    Args:
        labels: [N], true where anomalous; both kinds are there.
        scores: [N], higher is more anomalous.
        counts: [B, N], see `resamples`.
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # ties count together
    falls = labels[order]
    hits = np.cumsum(counts[:, order] * falls, 1)[:, ends]
    false = np.cumsum(counts[:, order] * ~falls, 1)[:, ends]
    recall, rate = hits / hits[:, -1:], false / false[:, -1:]
    seen = hits + false
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return {
        "image_auroc": _trapezoid(recall, rate),
        "image_ap": (np.diff(recall, axis=1, prepend=0.0) * precision).sum(1),
        "image_f1_max": (2 * hits / (seen + hits[:, -1:])).max(1),
    }


def pixel_replicates(
    maps: Images, masks: Images, counts: Array, limits: dict[str, float]
) -> dict[str, Array]:
    """`pixel_auroc`, and AUPRO to each of the limits, of every resample, each [B] in [0, 1].

    Scores are sorted into bins first, fine ones where the false-positive rate is low; within a bin curves are
    straight lines.

    Args:
        maps: score maps [H, W], one per image, finite.
        masks: ground truth [H, W], defect where not zero.
        counts: [B, N], see `resamples`.
        limits: names and false-positive rates in (0, 1] of the AUPROs.
    """
    edges = _edges(maps, masks)
    parts = [_binned(np.asarray(maps[n]), np.asarray(masks[n]) != 0, edges) for n in range(len(maps))]
    normal, defect, overlap = (counts @ np.stack(part) for part in list(zip(*parts, strict=True))[:3])
    regions = counts @ np.array([part[3] for part in parts], np.float64)
    rate, hits = (np.cumsum(part, 1) / part.sum(1, keepdims=True) for part in (normal, defect))
    pro = np.cumsum(overlap, 1) / regions[:, None]
    limited = {name: _trapezoid(pro, rate, limit) / limit for name, limit in limits.items()}
    return {"pixel_auroc": _trapezoid(hits, rate), **limited}


def interval(value: float, replicates: Any) -> tuple[float, float] | None:
    """The 95 % interval of a metric in [0, 1], or of a mean of such.

    Normal on the logit scale, with the replicates' standard deviation: it stays within [0, 1], and covers what
    percentiles of few images close to 1 do not. None where the replicates do not vary, as those of a perfect
    score: then resampling says nothing about other test images.

    Example:
        >>> low, high = interval(0.9, np.random.default_rng(0).normal(0.9, 0.03, 500))
        >>> round(low, 2), round(high, 2)
        (0.82, 0.95)
    """
    spread = float(np.std(replicates, ddof=1))
    if spread == 0 or not 0 < value < 1:
        return None
    logit, reach = np.log(value / (1 - value)), DEVIATIONS * spread / (value * (1 - value))
    return float(1 / (1 + np.exp(reach - logit))), float(1 / (1 + np.exp(-reach - logit)))


def difference_interval(value: float, first: Any, second: Any) -> tuple[float, float] | None:
    """The 95 % interval of second minus first, from their paired replicates; None where these do not vary."""
    spread = float(np.std(np.asarray(second) - np.asarray(first), ddof=1))
    return None if spread == 0 else (value - DEVIATIONS * spread, value + DEVIATIONS * spread)


def _edges(maps: Images, masks: Images) -> NDArray[Any]:
    """Rising edges between bins, at false-positive rates that are dense where AUPRO looks."""
    step = max(1, np.size(maps[0]) * len(maps) // 200_000)
    normal = np.sort(np.concatenate([np.ravel(maps[n])[np.ravel(masks[n]) == 0][::step] for n in range(len(maps))]))
    rates = np.concatenate([
        np.linspace(0, 0.05, BINS_FINE, endpoint=False), np.linspace(0.05, 0.3, BINS_COARSE, endpoint=False),
        np.linspace(0.3, 1, BINS_COARSE, endpoint=False),
    ])  # fmt: skip
    return np.unique(normal[(len(normal) - 1 - np.round(rates * (len(normal) - 1))).astype(np.int64)])


def _binned(scores: Any, mask: Any, edges: Any) -> tuple[Array, Array, Array, int]:
    """Of one image, by falling score: normal pixels, defect pixels, covered shares of its regions; and its regions."""
    from skimage.measure import label

    bins = len(edges) - np.searchsorted(edges, scores.ravel(), "right")
    inside, size = mask.ravel(), len(edges) + 1
    normal = np.bincount(bins[~inside], minlength=size).astype(np.float64)
    if not inside.any():
        return normal, np.zeros(size), np.zeros(size), 0
    labels, found = label(mask, connectivity=2, return_num=True)  # type: ignore[no-untyped-call]
    region = labels.ravel()[inside] - 1
    share = 1.0 / np.bincount(region, minlength=found)[region]
    defect = np.bincount(bins[inside], minlength=size).astype(np.float64)
    overlap = np.bincount(bins[inside], share, minlength=size).astype(np.float64)
    return normal, defect, overlap, int(found)


def _trapezoid(height: Array, across: Array, limit: float = 1.0) -> Array:
    """Area [B] under curves [B, K] that start at (0, 0), up to `limit` across; straight between their points."""
    start, step = np.pad(across[:, :-1], ((0, 0), (1, 0))), np.diff(across, axis=1, prepend=0.0)
    low = np.pad(height[:, :-1], ((0, 0), (1, 0)))
    width = np.clip(limit - start, 0.0, step)
    share = np.divide(width, step, out=np.zeros_like(step), where=step > 0)
    area: Array = (width * (low + (height - low) * share / 2)).sum(1)
    return area
