"""All test pixels, reduced to what the pixel metrics need: a count at and between defect scores.

ROC, PRO and precision curves rise only at scores that some defect pixel has. Between two such scores it
matters how many normal pixels there are, not what their scores are. So one pass collects the
scores of the defect pixels, a second counts the normal pixels around them, one image at a time:
exact, ties included, in memory that grows with the defects' area and not with the test set. AUPIMO also needs the
highest scores of the good images, which the second pass has sorted anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fracgen_eval.errors import EvaluationError

Floats = NDArray[np.floating]
TAIL = 1e-3
"""False-positive rate of the good images down to which their highest scores are kept."""


@dataclass(frozen=True)
class Region:
    """A defect region with a mask of its own, as MVTec LOCO AD has them."""

    mask: NDArray[np.bool_]
    """[H, W]."""
    saturation: float
    """How many of its pixels must be found for it to count in full, in (0, number of its pixels]."""


class Regions(Protocol):
    """The defect regions of each image; they may be made on access."""

    def __getitem__(self, n: int, /) -> Sequence[Region]: ...


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of a test set, grouped by the K distinct scores of its defect pixels."""

    scores: Floats
    """[K], falling."""
    defect: NDArray[np.int64]
    """[K]: defect pixels of each score."""
    overlap: NDArray[np.float64]
    """[K]: what these pixels add to the mean over regions of the covered fraction; sums to 1."""
    tied: NDArray[np.int64]
    """[K]: normal pixels of exactly that score."""
    between: NDArray[np.int64]
    """[K + 1]: normal pixels above the highest score, between neighbours, and below the lowest."""
    _: KW_ONLY
    recall: NDArray[np.float64]
    """[K]: what these pixels add to the mean over images with a defect of the covered fraction; sums to 1."""
    good: Floats
    """[T], falling: the highest scores of the images without a defect."""
    rate: NDArray[np.float64]
    """[T], rising: mean over these images of the share of pixels so far; it ends above `TAIL`, or at 1."""

    @property
    def normal(self) -> int:
        """Number of normal pixels."""
        return int(self.tied.sum() + self.between.sum())


class Images(Protocol):
    """Arrays [H, W] by number: a list of them, an array [N, H, W], or what reads them when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, n: int, /) -> ArrayLike: ...


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
    >>> counts.scores.tolist(), counts.defect.tolist(), counts.tied.tolist(), counts.between.tolist()
    ([9, 7], [1, 1], [0, 1], [0, 0, 1])
    """
    if len(maps) != len(masks):
        raise EvaluationError(f"{len(maps)} maps for {len(masks)} masks: give one mask per map")
    found = [_defect_pixels(maps, masks, regions, n) for n in range(len(maps))]
    parts = [part for of_image in found for part in of_image]
    number = sum(count for _, _, count in parts)
    if not number:
        raise EvaluationError("no mask of the test set marks a defect: pixel metrics need at least one")
    ascending, group = np.unique(np.concatenate([scores for scores, _, _ in parts]), return_inverse=True)
    overlap = np.bincount(group, np.concatenate([shares for _, shares, _ in parts])) / number
    sizes = [size for of_image in found if (size := sum(len(scores) for scores, _, _ in of_image))]
    recall = np.bincount(group, np.repeat(1 / np.array(sizes), sizes)) / len(sizes)
    codes = np.zeros(2 * len(ascending) + 1, np.int64)
    tail: Floats = np.zeros(0)
    weight, good = np.zeros(0), len(maps) - len(sizes)
    for n in range(len(maps)):
        normal = np.sort(_map(maps, masks, n)[np.asarray(masks[n]) == 0])
        # An even code 2i lies below the i-th rising defect score and above its predecessor; 2i + 1 equals it.
        code = np.searchsorted(ascending, normal, "left") + np.searchsorted(ascending, normal, "right")
        codes += np.bincount(code, minlength=len(codes))
        if not found[n]:
            own = normal[::-1][: int(TAIL * good * len(normal)) + 1]
            tail, weight = _highest(np.append(tail, own), np.append(weight, np.full(len(own), 1 / good / len(normal))))
    if not codes.sum():
        raise EvaluationError("every pixel of the test set is defect: a false-positive rate needs normal pixels")
    return PixelCounts(
        ascending[::-1], np.bincount(group)[::-1], overlap[::-1], codes[1::2][::-1], codes[0::2][::-1],
        recall=recall[::-1], good=tail, rate=np.cumsum(weight),
    )  # fmt: skip


def _highest(scores: Floats, weight: NDArray[np.float64]) -> tuple[Floats, NDArray[np.float64]]:
    """The highest scores, falling, up to the first with which their weights exceed `TAIL`; and these weights."""
    order = np.argsort(-scores, kind="stable")
    order = order[: np.searchsorted(np.cumsum(weight[order]), TAIL, "right") + 1]
    return scores[order], weight[order]


def _defect_pixels(
    maps: Images, masks: Images, regions: Regions | None, n: int
) -> list[tuple[Floats, NDArray[np.float64], int]]:
    """Scores of an image's defect pixels, what each adds to its region's covered fraction, and how many regions
    these are; one tuple for all connected regions, or for each given one."""
    mask = np.asarray(masks[n]) != 0
    if not mask.any():
        return []
    scores = _map(maps, masks, n)
    return [_connected(scores, mask)] if regions is None else [_saturated(scores, region) for region in regions[n]]


def _connected(scores: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.float64], int]:
    from skimage.measure import label

    labels, number = label(mask, connectivity=2, return_num=True)  # type: ignore[no-untyped-call]
    inside = labels[mask] - 1
    return scores[mask], 1.0 / np.bincount(inside, minlength=number)[inside], int(number)


def _saturated(scores: Floats, region: Region) -> tuple[Floats, NDArray[np.float64], int]:
    """The highest scores of the region share the whole, those beyond saturation add nothing."""
    falling = np.sort(scores[region.mask])[::-1]
    covered = np.minimum(np.arange(1, len(falling) + 1) / region.saturation, 1.0)
    return falling, np.diff(covered, prepend=0.0), int(len(falling) > 0)


def _map(maps: Images, masks: Images, n: int) -> Floats:
    array, shape = np.asarray(maps[n]), np.shape(masks[n])
    if array.shape != shape or array.ndim != 2:
        raise EvaluationError(
            f"map {n} has shape {list(array.shape)}, its mask {list(shape)}: both must be [H, W], alike"
        )
    if not np.isfinite(array).all():
        raise EvaluationError(f"map {n} holds a score that is not finite: the method diverged or overflowed")
    return array
