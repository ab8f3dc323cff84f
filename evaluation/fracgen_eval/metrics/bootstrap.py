"""How sure a metric is: the bootstrap over test images (Efron, 1979), all metrics on the same resamples.

Good and anomalous test images are drawn anew, each among their own kind and with replacement, and every
metric is computed on each draw. The draws are a pure function of a key, the data's, so that the
replicates of two weights (or methods, or seeds) on the same test images are paired: the interval of
their difference is that of the differences of their replicates. Nothing is computed image by image: a
resample is a row of weights, and a metric of all resamples is a few products of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fracgen_eval.metrics.counts import Floats, Images
from fracgen_eval.metrics.image import Array, trapezoid
from fracgen_eval.metrics.pixel import AUPRO_LIMITS, PIMO_RATES

REPLICATES = 500
DEVIATIONS = 1.959964
"""Standard deviations either way of a normal 95 % interval."""
BINS_FINE, BINS_COARSE = 128, 64
"""Bins of pixel scores: so many below a false-positive rate of 0.05, and from there to 0.3 and to 1."""


def resamples(labels: ArrayLike, key: Sequence[int], number: int = REPLICATES) -> Array:
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


def pixel_replicates(maps: Images, masks: Images, counts: Array, good: Floats) -> dict[str, Array]:
    """The metrics of `pixel_metrics` of every resample, each [B] in [0, 1].

    Scores are sorted into bins first, fine ones where the false-positive rate is low; within a bin curves are
    straight lines.

    Args:
        maps: score maps [H, W], one per image, finite.
        masks: ground truth [H, W], defect where not zero.
        counts: [B, N], see `resamples`.
        good: the highest scores of the good images, falling, see `PixelCounts`.
    """
    edges = _edges(maps, masks, good)
    parts = [_binned(np.asarray(maps[n]), np.asarray(masks[n]) != 0, edges) for n in range(len(maps))]
    normal, defect, overlap = (np.stack(part) for part in list(zip(*parts, strict=True))[:3])
    regions = counts @ np.array([part[3] for part in parts], np.float64)
    false, hits = (np.cumsum(counts @ part, 1) for part in (normal, defect))
    rate, recall, pro = false / false[:, -1:], hits / hits[:, -1:], np.cumsum(counts @ overlap, 1) / regions[:, None]
    precision = np.divide(hits, hits + false, out=np.ones_like(hits), where=hits + false > 0)
    iou = (hits / (hits[:, -1:] + false)).max(1)
    is_bad = defect.any(1)
    marked, found = (
        np.cumsum(counts[:, kind] @ (part[kind] / part[kind].sum(1)[:, None]), 1) / counts[:, kind].sum(1)[:, None]
        for kind, part in ((~is_bad, normal), (is_bad, defect))
    )
    logarithms = np.log(np.clip(marked, *PIMO_RATES)) - np.log(PIMO_RATES[0])
    return {
        "pixel_auroc": trapezoid(recall, rate),
        **{name: trapezoid(pro, rate, limit) / limit for name, limit in AUPRO_LIMITS.items()},
        "pixel_ap": (np.diff(recall, axis=1, prepend=0.0) * (precision + np.roll(precision, 1, 1)) / 2)[:, 1:].sum(1)
        + recall[:, 0] * precision[:, 0],
        "pixel_f1_max": 2 * iou / (1 + iou),
        "iou_max": iou,
        "aupimo": (np.diff(logarithms, axis=1, prepend=0.0) * found).sum(1) / np.log(PIMO_RATES[1] / PIMO_RATES[0]),
    }


def interval(value: float, replicates: ArrayLike) -> tuple[float, float] | None:
    """The 95 % interval of a metric in [0, 1], or of a mean of such.

    Normal on the logit scale, with the replicates' standard deviation: it stays within [0, 1], and covers what
    percentiles of few images close to 1 do not. None where the replicates do not vary, as those of a perfect
    score: then resampling says nothing about other test images.

    Example:
        >>> low, high = interval(0.9, np.random.default_rng(0).normal(0.9, 0.03, 500))
        >>> round(low, 2), round(high, 2)
        (0.82, 0.95)
    """
    spread = float(np.std(np.asarray(replicates), ddof=1))
    if spread == 0 or not 0 < value < 1:
        return None
    logit, reach = np.log(value / (1 - value)), DEVIATIONS * spread / (value * (1 - value))
    return float(1 / (1 + np.exp(reach - logit))), float(1 / (1 + np.exp(-reach - logit)))


def difference_interval(value: float, first: ArrayLike, second: ArrayLike) -> tuple[float, float] | None:
    """The 95 % interval of second minus first, from their paired replicates; None where these do not vary."""
    spread = float(np.std(np.asarray(second) - np.asarray(first), ddof=1))
    return None if spread == 0 else (value - DEVIATIONS * spread, value + DEVIATIONS * spread)


def _edges(maps: Images, masks: Images, good: Floats) -> Floats:
    """Rising edges between bins, at false-positive rates that are dense where AUPRO and AUPIMO look."""
    step = max(1, np.size(maps[0]) * len(maps) // 200_000)
    normal = np.sort(np.concatenate([np.ravel(maps[n])[np.ravel(masks[n]) == 0][::step] for n in range(len(maps))]))
    rates = np.concatenate([
        np.linspace(0, 0.05, BINS_FINE, endpoint=False), np.linspace(0.05, 0.3, BINS_COARSE, endpoint=False),
        np.linspace(0.3, 1, BINS_COARSE, endpoint=False),
    ])  # fmt: skip
    usual = normal[(len(normal) - 1 - np.round(rates * (len(normal) - 1))).astype(np.int64)]
    last = max(len(good) - 1, 0)
    return np.unique(np.append(usual, good[np.unique(np.geomspace(1, last + 1, BINS_COARSE).astype(np.int64)) - 1]))


def _binned(scores: Floats, mask: NDArray[np.bool_], edges: Floats) -> tuple[Array, Array, Array, int]:
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
