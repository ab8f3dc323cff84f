"""AUPRO, the area under the per-region-overlap curve, as MVTec AD defines it.

Bergmann et al., "The MVTec Anomaly Detection Dataset" (IJCV 2021), section 5: for every threshold,
the mean over 8-connected ground-truth regions of the covered fraction (PRO) against the
false-positive rate over all normal pixels, those of good images included; the trapezoid area up to
a rate of 0.3, PRO interpolated there, divided by 0.3. It lies in [0, 1]; a constant map has 0.15.

AU-sPRO is the same area under the curve of the saturated overlap (Bergmann et al., "Beyond Dents and Scratches",
IJCV 2022, section 3.4), up to a rate of 0.05: pixels counted with regions that saturate, see `count_pixels`.
"""

from __future__ import annotations

import numpy as np

from fracgen_eval.metrics.counts import Images, PixelCounts, count_pixels

FPR_LIMIT = 0.3


def aupro(maps: Images, masks: Images, fpr_limit: float = FPR_LIMIT) -> float:
    """AUPRO in [0, 1] of score maps [H, W] against masks [H, W] (defect where not zero).

    Raises:
        EvaluationError: see `count_pixels`.

    Two of the four pixels of the defect lie above every normal pixel, the others among them:

    >>> aupro([[[9, 9, 1, 1], [1, 1, 1, 1]]], [[[1, 1, 0, 0], [1, 1, 0, 0]]])
    0.575
    """
    return aupro_of(count_pixels(maps, masks), fpr_limit)


def aupro_of(counts: PixelCounts, fpr_limit: float = FPR_LIMIT) -> float:
    """AUPRO in [0, 1] from counted pixels, up to a false-positive rate in (0, 1]."""
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
