"""All test pixels, reduced to what the pixel metrics need: a count at and between defect scores.

ROC and PRO curves rise only at scores that some defect pixel has. Between two such scores it
matters how many normal pixels there are, not what their scores are. So one pass collects the
scores of the defect pixels, a second counts the normal pixels around them, one image at a time:
exact, ties included, in memory that grows with the defects' area and not with the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.errors import EvaluationError


@dataclass(frozen=True)
class Region:
    """A defect region with a mask of its own, as MVTec LOCO AD has them."""

    mask: NDArray[np.bool_]
    """[H, W]."""
    saturation: float
    """How many of its pixels must be found for it to count in full, in (0, number of its pixels]."""


Regions = Sequence[Sequence[Region]]
"""The defect regions of each image; they may be made on access."""


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of a test set, grouped by the K distinct scores of its defect pixels."""

    scores: NDArray[Any]
    """[K], falling."""
    defect: NDArray[np.int64]
    """[K]: defect pixels of each score."""
    overlap: NDArray[np.float64]
    """[K]: what these pixels add to the mean over regions of the covered fraction; sums to 1."""
    tied: NDArray[np.int64]
    """[K]: normal pixels of exactly that score."""
    between: NDArray[np.int64]
    """[K + 1]: normal pixels above the highest score, between neighbours, and below the lowest."""
    regions: int
    """Defect regions, over all images: 8-connected ones, unless they were given."""

    @property
    def normal(self) -> int:
        """Normal pixels in all."""
        return int(self.tied.sum() + self.between.sum())


class Images(Protocol):
    """Arrays [H, W] by number: a list of them, an array [N, H, W], or what reads them when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, n: int, /) -> Any: ...


def count_pixels(maps: Images, masks: Images, regions: Regions | None = None) -> PixelCounts:
    """Count the pixels of a test set.

    Args:
        maps: score maps [H, W], one per image, higher is more anomalous; sizes may differ between images.
        masks: ground truth [H, W] of the same sizes, defect where not zero; all zero for a good image.
            Both are read twice, one image at a time, so they may be made on access.
        regions: the defect regions; the 8-connected parts of the masks, none of which saturates, where None.

    Raises:
        EvaluationError: numbers or shapes differ, a score is not finite, or no pixel is defect or none normal.

    >>> counts = count_pixels([[[9, 7], [7, 1]]], [[[1, 1], [0, 0]]])
    >>> counts.scores.tolist(), counts.defect.tolist(), counts.tied.tolist(), counts.between.tolist(), counts.regions
    ([9, 7], [1, 1], [0, 1], [0, 0, 1], 1)
    """
    if len(maps) != len(masks):
        raise EvaluationError(f"{len(maps)} maps for {len(masks)} masks: give one mask per map")
    scores, ascending, overlap, defect, number = _defect_pixels(maps, masks, regions)
    codes = np.zeros(2 * len(scores) + 1, np.int64)
    for n in range(len(maps)):
        values = _map(maps[n], masks[n], n)
        normal = np.sort(values[np.asarray(masks[n]) == 0])
        # An even code 2i lies below the i-th rising defect score and above its predecessor; 2i + 1 equals it.
        code = np.searchsorted(ascending, normal, "left") + np.searchsorted(ascending, normal, "right")
        codes += np.bincount(code, minlength=len(codes))
    if not codes.sum():
        raise EvaluationError("every pixel of the test set is defect: a false-positive rate needs normal pixels")
    return PixelCounts(scores, defect[::-1], overlap[::-1], codes[1::2][::-1], codes[0::2][::-1], number)


def _defect_pixels(
    maps: Images, masks: Images, regions: Regions | None
) -> tuple[Any, Any, Any, Any, int]:
    values: list[NDArray[Any]] = []
    weights: list[NDArray[np.float64]] = []
    total = 0
    for n in range(len(maps)):
        mask = np.asarray(masks[n]) != 0
        if not mask.any():
            continue
        scores = _map(maps[n], masks[n], n)
        found = [_connected(scores, mask)] if regions is None else [_saturated(scores, r) for r in regions[n]]
        for region_scores, shares, number in found:
            values.append(region_scores)
            weights.append(shares)
            total += number
    if not total:
        raise EvaluationError("no mask of the test set marks a defect: pixel metrics need at least one")
    ascending, group = np.unique(np.concatenate(values), return_inverse=True)
    overlap = np.bincount(group, weights=np.concatenate(weights)) / total
    return ascending[::-1], ascending, overlap, np.bincount(group).astype(np.int64), total


def _connected(scores: Any, mask: Any) -> tuple[Any, Any, int]:
    """Scores of the defect pixels, what each adds to its region's covered fraction, and how many regions there are."""
    from skimage.measure import label

    labels, number = label(mask, connectivity=2, return_num=True)  # type: ignore[no-untyped-call]
    inside = labels[mask] - 1
    return scores[mask], 1.0 / np.bincount(inside, minlength=number)[inside], int(number)


def _saturated(scores: Any, region: Region) -> tuple[Any, Any, int]:
    """The same of one region: its highest scores share the whole, those beyond saturation add nothing."""
    falling = np.sort(scores[region.mask])[::-1]
    covered = np.minimum(np.arange(1, len(falling) + 1) / region.saturation, 1.0)
    return falling, np.diff(covered, prepend=0.0), int(len(falling) > 0)


def _map(values: Any, mask: Any, number: int) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != np.shape(mask) or array.ndim != 2:
        raise EvaluationError(
            f"map {number} has shape {list(array.shape)}, its mask {list(np.shape(mask))}: both must be [H, W], alike"
        )
    if not np.isfinite(array).all():
        raise EvaluationError(f"map {number} holds a score that is not finite: the method diverged or overflowed")
    return array
