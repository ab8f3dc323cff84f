"""What a prediction is worth: the metrics of a cell, over all test images and by type of defect."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fracgen_eval.datasets import Category
from fracgen_eval.datasets.base import GOOD
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import Scores, Threshold
from fracgen_eval.images import at_original_size, saturated_regions
from fracgen_eval.methods import Prediction, settings_of
from fracgen_eval.metrics import (
    SPRO_LIMIT,
    Regions,
    aupro,
    auroc,
    best_f1_threshold,
    check_finite,
    check_ranking,
    count_pixels,
    image_metrics,
    pixel_auroc,
    pixel_metrics,
    segmentation_f1,
)
from fracgen_eval.metrics.bootstrap import pixel_replicates, resamples
from fracgen_eval.metrics.counts import Images
from fracgen_eval.metrics.image import image_replicates

AUPRO_DEFINITION = "official MVTec AD: 8-connected regions, trapezoid to FPR 0.3, divided by 0.3, in [0, 1]"
Item = TypeVar("Item", covariant=True)


@dataclass(frozen=True)
class Thresholds:
    """What normal images that were kept back say of where to cut; None where there were none."""

    mask: Threshold | None = None
    image: Threshold | None = None


def score(
    cell: Cell, category: Category, prediction: Prediction, masks: Images | None, normal: Thresholds
) -> tuple[Scores, Threshold | None]:
    """The metrics over all test images and per defect type, each beside the good ones; and the threshold of masks.

    Args:
        cell: names the protocol and the size at which maps are compared.
        category: its test images.
        prediction: what the method says about them.
        masks: bool [N, side, side], or None where the dataset has none.
        normal: thresholds from normal images.

    Raises:
        EvaluationError: a map or a score is not finite, all of them are equal, or only one kind of image is there.
    """
    check_ranking(prediction.scores)
    if prediction.maps is not None:
        check_ranking(prediction.maps, "values of the maps")
    for name, scores in prediction.beside.items():
        check_ranking(scores, f"scores of {name}")
    check_finite([t.value for t in (normal.mask, normal.image) if t is not None], "thresholds of normal images")
    labels, pixels = [s.anomalous for s in category.test], _pixels(cell, category, prediction, masks)
    decision = None if normal.image is None else normal.image.value
    metrics = image_metrics(labels, prediction.scores, decision)
    resampled = resamples(labels, [int.from_bytes(hashlib.sha256(cell.data.digest.encode()).digest()[:8], "big")])
    replicates = image_replicates(labels, prediction.scores, resampled, decision)
    best = None
    if pixels is not None:
        counts = count_pixels(pixels.maps, pixels.masks)
        metrics |= pixel_metrics(counts) | pixels.saturated()
        if category.seg_f1 and normal.mask is not None:
            metrics["seg_f1"] = segmentation_f1(pixels.maps, pixels.masks, normal.mask.value)
        replicates |= pixel_replicates(pixels.maps, pixels.masks, resampled, counts.good)
        best = Threshold(best_f1_threshold(counts), "best pixel F1 on the test set")
    by_defect: dict[str, dict[str, float]] = {}
    for defect in sorted({s.defect for s in category.test if s.anomalous}):
        chosen = [n for n, s in enumerate(category.test) if s.defect in (defect, GOOD)]
        by_defect[defect] = {"image_auroc": auroc([labels[n] for n in chosen], prediction.scores[chosen])}
        if pixels is not None:
            part = pixels.chosen(chosen)
            counts = count_pixels(part.maps, part.masks)
            by_defect[defect] |= {"pixel_auroc": pixel_auroc(counts), "aupro": aupro(counts)} | part.saturated()
    beside = {name: {"image_auroc": auroc(labels, scores)} for name, scores in prediction.beside.items()}
    rounded = {name: tuple(values.round(4).tolist()) for name, values in replicates.items()}
    return (
        Scores(metrics, by_defect, beside, AUPRO_DEFINITION, rounded),
        best if cell.method.protocol == "paper" else normal.mask,
    )


@dataclass(frozen=True)
class _Pixels:
    """Score maps and their ground truth, image by image."""

    maps: Images
    masks: Images
    regions: Regions | None = None
    """Where every defect region has a mask of its own."""

    def saturated(self) -> dict[str, float]:
        """AU-sPRO, where there are such regions."""
        if self.regions is None:
            return {}
        return {"au_spro": aupro(count_pixels(self.maps, self.masks, self.regions), SPRO_LIMIT)}

    def chosen(self, numbers: list[int]) -> _Pixels:
        """Those of some of the images."""
        regions = None if self.regions is None else _Chosen(self.regions, numbers)
        return _Pixels(_Chosen(self.maps, numbers), _Chosen(self.masks, numbers), regions)


def _pixels(cell: Cell, category: Category, prediction: Prediction, masks: Images | None) -> _Pixels | None:
    """As they are compared; None where the method gives no maps or the dataset has no masks."""
    if prediction.maps is None or masks is None:
        return None
    how, kinds = cell.method, category.saturation
    if how.map_size == "original":
        maps, truth = at_original_size(category.test, prediction.maps)
        return _Pixels(maps, truth, saturated_regions(category.test, kinds, None) if kinds else None)
    geometry = settings_of(how.name, how.settings, protocol=how.protocol).geometry
    return _Pixels(prediction.maps, masks, saturated_regions(category.test, kinds, geometry) if kinds else None)


class _Items(Protocol[Item]):
    def __getitem__(self, n: int, /) -> Item: ...


class _Chosen(Generic[Item]):
    """Some of the items of another sequence, which may make them on access."""

    def __init__(self, items: _Items[Item], chosen: Sequence[int]) -> None:
        self.items, self.chosen = items, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, n: int, /) -> Item:
        return self.items[self.chosen[n]]
