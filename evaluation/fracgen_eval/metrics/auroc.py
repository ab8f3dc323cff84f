"""AUROC of images and of pixels, by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen_eval.errors import EvaluationError
from fracgen_eval.metrics.counts import Images, PixelCounts, count_pixels


def auroc(labels: Any, scores: Any) -> float:
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


def pixel_auroc(maps: Images, masks: Images) -> float:
    """AUROC in [0, 1] over all pixels of all images. Raises EvaluationError as `count_pixels` does.

    >>> pixel_auroc([[[9, 1], [1, 1]]], [[[1, 1], [0, 0]]])
    0.75
    """
    return pixel_auroc_of(count_pixels(maps, masks))


def pixel_auroc_of(counts: PixelCounts) -> float:
    """AUROC in [0, 1] from counted pixels.

    scikit-learn sees one weighted sample per group instead of every pixel: the rank of the group
    as its score and the group's size as its weight, which gives the same area.
    """
    from sklearn.metrics import roc_auc_score

    groups = len(counts.scores)
    odd, even = np.arange(1, 2 * groups, 2), np.arange(0, 2 * groups + 1, 2)
    rank = -np.concatenate([odd, odd, even])
    label = np.concatenate([np.ones(groups), np.zeros(2 * groups + 1)])
    weight = np.concatenate([counts.defect, counts.tied, counts.between])
    seen = weight > 0
    return float(roc_auc_score(label[seen], rank[seen], sample_weight=weight[seen].astype(np.float64)))
