"""The F1 of segmentations at a threshold that is found on normal images alone, as MVTec AD 2 judges them (SegF1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen_eval.metrics.counts import Images
from fracgen_eval.metrics.threshold import predicted_mask

DEVIATIONS = 3


def normal_threshold(maps: Any) -> float:
    """Mean and three standard deviations of all pixels of maps [N, H, W] of normal images.

    Heckler-Kram et al., "The MVTec AD 2 Dataset" (2025): the threshold of the segmentations, from the maps of the
    validation images.
    """
    pixels = np.asarray(maps, np.float64)
    return float(pixels.mean() + DEVIATIONS * pixels.std())


def segmentation_f1(maps: Images, masks: Images, threshold: float) -> float:
    """F1 in [0, 1] of `map >= threshold` against masks (defect where not zero), all pixels of all images pooled.

    Args:
        maps: score maps [H, W], one per image.
        masks: ground truth [H, W] of the same sizes.
        threshold: in the maps' unit.

    >>> segmentation_f1([[[9, 7], [7, 1]]], [[[1, 1], [0, 0]]], 7)
    0.8
    """
    hits = found = defects = 0
    for n in range(len(maps)):
        predicted, true = predicted_mask(maps[n], threshold), np.asarray(masks[n]) != 0
        hits, found, defects = (
            hits + int((predicted & true).sum()),
            found + int(predicted.sum()),
            defects + int(true.sum()),
        )
    return 2 * hits / (found + defects) if found + defects else 0.0
