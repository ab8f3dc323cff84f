"""Pixel metrics, all from the same counted pixels (`count_pixels`), and segmentations at a threshold.

AUPRO as MVTec AD defines it (Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021, section 5): for every
threshold, the mean over 8-connected ground-truth regions of the covered fraction (PRO) against the false-positive rate
over all normal pixels, those of good images included; the trapezoid area up to a rate of 0.3, PRO interpolated there,
divided by 0.3. It lies in [0, 1]; a constant map has 0.15. AU-sPRO is the same area under the curve of the saturated
overlap (Bergmann et al., "Beyond Dents and Scratches", IJCV 2022, section 3.4), up to a rate of 0.05: pixels counted
with regions that saturate.

AUPIMO (Bertoldo et al., "AUPIMO", BMVC 2024): the mean over images with a defect of the share of the defect that is
found, against the mean over images without one of the share of pixels that are marked; the mean over the logarithms of
these rates from 1e-5 to 1e-4. Here the curve is a staircase: at a rate F stands the lowest threshold that marks a
share of F or less.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fracgen_eval.errors import EvaluationError
from fracgen_eval.metrics.counts import Images, PixelCounts

FPR_LIMIT = 0.3
AUPRO_LIMITS = {"aupro": FPR_LIMIT, "aupro_05": 0.05}
"""False-positive rates: MVTec AD's usual one, and MVTec AD 2's stricter one."""
SPRO_LIMIT = 0.05
"""MVTec LOCO AD's usual false-positive rate of AU-sPRO."""
PIMO_RATES = (1e-5, 1e-4)
DEVIATIONS = 3


def pixel_metrics(counts: PixelCounts) -> dict[str, float]:
    """All that counted pixels tell, by name, each in [0, 1].

    Raises:
        EvaluationError: no image is without a defect.
    """
    hits, iou = np.cumsum(counts.defect), _iou(counts)
    return {
        "pixel_auroc": pixel_auroc(counts),
        **{name: aupro(counts, limit) for name, limit in AUPRO_LIMITS.items()},
        "pixel_ap": float(np.sum(counts.defect * hits / (hits + _false(counts))) / hits[-1]),
        "pixel_f1_max": float(2 * iou.max() / (1 + iou.max())),
        "iou_max": float(iou.max()),
        "aupimo": aupimo(counts),
    }


def pixel_auroc(counts: PixelCounts) -> float:
    """AUROC in [0, 1] over all pixels of all images.

    >>> from fracgen_eval.metrics import count_pixels
    >>> pixel_auroc(count_pixels([[[9, 1], [1, 1]]], [[[1, 1], [0, 0]]]))
    0.75
    """
    above = 2 * _false(counts) - counts.tied  # twice the normal pixels above a score, those tied with it by half
    return 1 - float(np.sum(counts.defect * above)) / (2 * float(counts.defect.sum()) * counts.normal)


def aupro(counts: PixelCounts, fpr_limit: float = FPR_LIMIT) -> float:
    """AUPRO in [0, 1] up to a false-positive rate in (0, 1].

    Two of the four pixels of the defect lie above every normal pixel, the others among them:

    >>> from fracgen_eval.metrics import count_pixels
    >>> aupro(count_pixels([[[9, 9, 1, 1], [1, 1, 1, 1]]], [[[1, 1, 0, 0], [1, 1, 0, 0]]]))
    0.575
    """
    pro = np.concatenate([[0.0], np.cumsum(counts.overlap)])
    pro[-1] = 1.0
    # The curve's steps in order: flat over the normal pixels between scores, a slope over those tied with one.
    steps = np.empty(2 * len(counts.scores) + 1)
    steps[0::2], steps[1::2] = counts.between, counts.tied
    start, end = np.repeat(pro, 2)[:-1], np.repeat(pro, 2)[1:]
    limit = fpr_limit * counts.normal
    before = np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    width = np.clip(limit - before, 0.0, steps)
    share = np.divide(width, steps, out=np.zeros_like(steps), where=steps > 0)
    end = start + (end - start) * share
    return float(min(1.0, np.sum(width * (start + end)) / 2 / limit))


def aupimo(counts: PixelCounts) -> float:
    """AUPIMO in [0, 1], the mean over images with a defect.

    Raises:
        EvaluationError: no image is without a defect.
    """
    if not len(counts.good):
        raise EvaluationError("every test image has a defect: AUPIMO needs one without")
    last = np.append(np.diff(counts.good) != 0, True)  # of equal scores
    # At rates from the one before to this one, what lies above this score is found.
    rates = np.log(np.clip(np.append(0.0, counts.rate[last]), *PIMO_RATES))
    found = np.append(0.0, np.cumsum(counts.recall))[np.searchsorted(-counts.scores, -counts.good[last], "left")]
    return float(min(1.0, np.sum(np.diff(rates) * found) / np.log(PIMO_RATES[1] / PIMO_RATES[0])))


def best_f1_threshold(counts: PixelCounts) -> float:
    """The score s for which `map >= s` has the highest pixel F1; it looks at the test set's masks.

    >>> from fracgen_eval.metrics import count_pixels
    >>> best_f1_threshold(count_pixels([[[9, 7], [3, 1]]], [[[1, 1], [0, 0]]]))
    7.0
    """
    return float(counts.scores[int(np.argmax(_iou(counts)))])


def predicted_mask(scores: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Where scores reach a threshold: `scores >= threshold`, at the precision of the scores.

    Scores that were rounded when they were kept are compared with a threshold that is rounded alike, so that a score
    which reached it still does.

    >>> predicted_mask(np.array([0.1, 0.2], np.float16), 0.1).tolist()
    [True, True]
    """
    scores = np.asarray(scores)
    kind = scores.dtype if np.issubdtype(scores.dtype, np.floating) else np.dtype(np.float64)
    with np.errstate(over="ignore"):  # a threshold above all that the type holds is reached by nothing
        reached: NDArray[np.bool_] = scores >= np.asarray(threshold).astype(kind)
    return reached


def normal_threshold(maps: ArrayLike) -> float:
    """Mean and three standard deviations of all pixels of maps [N, H, W] of normal images.

    Heckler-Kram et al., "The MVTec AD 2 Dataset" (2025): the threshold of the segmentations, from the maps of the
    validation images.
    """
    pixels = np.asarray(maps, np.float64)
    return float(pixels.mean() + DEVIATIONS * pixels.std())


def segmentation_f1(maps: Images, masks: Images, threshold: float) -> float:
    """F1 in [0, 1] of `map >= threshold` against masks (defect where not zero), all pixels of all images pooled:
    MVTec AD 2's SegF1.

    >>> segmentation_f1([[[9, 7], [7, 1]]], [[[1, 1], [0, 0]]], 7)
    0.8
    """
    hits = both = 0
    for n in range(len(maps)):
        predicted, true = predicted_mask(maps[n], threshold), np.asarray(masks[n]) != 0
        hits, both = hits + int((predicted & true).sum()), both + int(predicted.sum()) + int(true.sum())
    return 2 * hits / both if both else 0.0


def _false(counts: PixelCounts) -> NDArray[np.int64]:
    """[K]: normal pixels that reach each score."""
    return np.cumsum(counts.tied + counts.between[:-1])


def _iou(counts: PixelCounts) -> NDArray[np.float64]:
    """[K]: intersection over union of the pixels that reach each score with the defects; F1 rises with it."""
    hits = np.cumsum(counts.defect)
    iou: NDArray[np.float64] = hits / (hits[-1] + _false(counts))
    return iou
