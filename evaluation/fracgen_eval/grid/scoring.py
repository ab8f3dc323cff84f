"""What a prediction is worth: the metrics of a cell, over all test images and by type of defect."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fracgen_eval.datasets import Category
from fracgen_eval.datasets.base import GOOD
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import Scores, Threshold
from fracgen_eval.images import Geometry, OriginalSize, SaturatedRegions
from fracgen_eval.methods import Prediction, settings_of
from fracgen_eval.metrics import (
    FPR_LIMIT,
    aupro_of,
    auroc,
    average_precision,
    best_f1_threshold,
    check_ranking,
    count_pixels,
    f1_max,
    pixel_auroc_of,
    segmentation_f1,
)
from fracgen_eval.metrics.bootstrap import image_replicates, pixel_replicates, resamples

AUPRO_LIMITS = {"aupro": FPR_LIMIT, "aupro_05": 0.05}
"""False-positive rates: MVTec AD's usual one, and MVTec AD 2's stricter one."""
AUPRO_DEFINITION = "official MVTec AD: 8-connected regions, trapezoid to FPR 0.3, divided by 0.3, in [0, 1]"
SPRO_LIMIT = 0.05
"""MVTec LOCO AD's usual false-positive rate of AU-sPRO."""


def score(
    cell: Cell, category: Category, prediction: Prediction, masks: Any, normal: Threshold | None = None
) -> tuple[Scores, Threshold | None]:
    """The metrics over all test images and per defect type, each beside the good ones; and a mask threshold.

    Args:
        cell: names the protocol and the size at which maps are compared.
        category: its test images.
        prediction: what the method says about them.
        masks: bool [N, side, side], or None where the dataset has none.
        normal: a mask threshold from normal images, where some were kept back.

    Raises:
        EvaluationError: a map or a score is not finite, all of them are equal, or only one kind of image is there.
    """
    check_ranking(prediction.scores)
    if prediction.maps is not None:
        check_ranking(prediction.maps, "values of the maps")
    for name, scores in prediction.beside.items():
        check_ranking(scores, f"scores of {name}")
    test, pixels = category.test, _pixels(cell, category, prediction, masks)
    labels = [s.anomalous for s in test]
    metrics: dict[str, float] = {
        "image_auroc": auroc(labels, prediction.scores), "image_ap": average_precision(labels, prediction.scores),
        "image_f1_max": f1_max(labels, prediction.scores),
    }  # fmt: skip
    resampled = resamples(labels, [int.from_bytes(hashlib.sha256(cell.data.digest.encode()).digest()[:8], "big")])
    replicates = image_replicates(labels, prediction.scores, resampled)
    best = None
    if pixels is not None:
        counts = count_pixels(pixels.maps, pixels.masks)
        metrics |= {"pixel_auroc": pixel_auroc_of(counts)}
        metrics |= {name: aupro_of(counts, limit) for name, limit in AUPRO_LIMITS.items()} | pixels.saturated()
        if category.seg_f1 and normal is not None:
            metrics["seg_f1"] = segmentation_f1(pixels.maps, pixels.masks, normal.value)
        replicates |= pixel_replicates(pixels.maps, pixels.masks, resampled, AUPRO_LIMITS)
        best = Threshold(best_f1_threshold(counts), "best pixel F1 on the test set")
    by_defect: dict[str, dict[str, float]] = {}
    for defect in sorted({s.defect for s in test if s.anomalous}):
        chosen = [n for n, s in enumerate(test) if s.defect in (defect, GOOD)]
        by_defect[defect] = {"image_auroc": auroc([labels[n] for n in chosen], prediction.scores[chosen])}
        if pixels is not None:
            part = pixels.chosen(chosen)
            counts = count_pixels(part.maps, part.masks)
            by_defect[defect] |= {"pixel_auroc": pixel_auroc_of(counts), "aupro": aupro_of(counts)} | part.saturated()
    beside = {name: {"image_auroc": auroc(labels, scores)} for name, scores in prediction.beside.items()}
    return (
        Scores(metrics, by_defect, beside, AUPRO_DEFINITION, {k: tuple(v.round(4)) for k, v in replicates.items()}),
        best if cell.method.protocol == "paper" else normal,
    )


@dataclass(frozen=True)
class _Pixels:
    """Score maps and their ground truth, image by image."""

    maps: Any
    masks: Any
    regions: Any = None
    """Where every defect region has a mask of its own."""

    def saturated(self) -> dict[str, float]:
        """AU-sPRO, where there are such regions."""
        if self.regions is None:
            return {}
        return {"au_spro": aupro_of(count_pixels(self.maps, self.masks, self.regions), SPRO_LIMIT)}

    def chosen(self, numbers: list[int]) -> _Pixels:
        """Of some of the images."""
        regions = None if self.regions is None else _Chosen(self.regions, numbers)
        return _Pixels(_Chosen(self.maps, numbers), _Chosen(self.masks, numbers), regions)


def _pixels(cell: Cell, category: Category, prediction: Prediction, masks: Any) -> _Pixels | None:
    """As they are compared; None where the method gives no maps or the dataset has no masks."""
    if prediction.maps is None or masks is None:
        return None
    how = cell.method
    geometry: Geometry | None = settings_of(how.name, how.settings, protocol=how.protocol).geometry
    maps: Any = prediction.maps
    if cell.method.map_size == "original":
        geometry, maps = None, OriginalSize(category.test, maps)
        masks = maps.masks()
    regions = SaturatedRegions(category.test, category.saturation, geometry) if category.saturation else None
    return _Pixels(maps, masks, regions)


class _Chosen(Sequence[Any]):
    def __init__(self, items: Any, chosen: list[int]) -> None:
        self.items, self.chosen = items, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, n: Any) -> Any:
        return self.items[self.chosen[n]]
