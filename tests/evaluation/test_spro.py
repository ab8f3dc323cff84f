"""AU-sPRO and SegF1 beside their definitions, written down plainly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.datasets.base import Sample, Saturation
from fracgen_eval.images import Geometry, saturated_regions
from fracgen_eval.metrics import Region, aupro, count_pixels, normal_threshold, segmentation_f1
from numpy.typing import NDArray
from PIL import Image


def plain_au_spro(
    maps: NDArray[np.float64], masks: NDArray[np.bool_], regions: list[list[Region]], limit: float
) -> float:
    """Thresholds at every score, the mean over regions of min(found / saturation, 1), trapezoid to the limit."""
    maps, masks = np.asarray(maps, float), np.asarray(masks) != 0
    flat = [(n, region) for n, of in enumerate(regions) for region in of]
    points = [(0.0, 0.0)]
    for t in np.unique(maps)[::-1]:
        found = maps >= t
        rate = (found & ~masks).sum() / (~masks).sum()
        overlap = [min((found[n] & r.mask).sum() / r.saturation, 1.0) for n, r in flat]
        points.append((rate, float(np.mean(overlap))))
    rates, values = map(np.array, zip(*points, strict=True))
    inside = rates <= limit
    end = np.interp(limit, rates, values)
    x, y = np.append(rates[inside], limit), np.append(values[inside], end)
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2 / limit)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("limit", [0.05, 0.3])
def test_au_spro_is_that_of_its_definition(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(4, 20, 24)).round(1 if seed % 2 else 6)  # with and without many ties
    masks, regions = np.zeros((4, 20, 24), bool), []
    for n in range(3):
        of_image = []
        for _ in range(rng.integers(1, 4)):
            top, left, height, width = (int(v) for v in rng.integers((0, 0, 2, 2), (14, 16, 6, 8)))
            mask = np.zeros((20, 24), bool)
            mask[top : top + height, left : left + width] = True  # regions may overlap
            of_image.append(Region(mask, float(rng.uniform(0.5, mask.sum()))))
            masks[n] |= mask
            maps[n][mask] += rng.uniform(0, 2)
        regions.append(of_image)
    regions.append([])
    ours = aupro(count_pixels(maps, masks, regions), limit)
    assert ours == pytest.approx(plain_au_spro(maps, masks, regions, limit), abs=1e-12)


def test_without_saturation_it_is_aupro_those_regions() -> None:
    rng = np.random.default_rng(3)
    maps, masks = rng.normal(size=(3, 16, 16)), np.zeros((3, 16, 16), bool)
    masks[0, 2:6, 3:9] = masks[1, 8:12, 8:12] = True
    regions = [[Region(mask, float(mask.sum()))] if mask.any() else [] for mask in masks]
    for limit in (0.05, 0.3, 1.0):
        assert aupro(count_pixels(maps, masks, regions), limit) == pytest.approx(
            aupro(count_pixels(maps, masks), limit), abs=1e-12
        )


def test_half_of_a_region_is_all_of_it_where_that_saturates() -> None:
    maps = [[[9, 9, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]]
    masks = [[[1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]]]
    whole = np.asarray(masks[0], bool)
    assert aupro(count_pixels(maps, masks, [[Region(whole, 2.0)]]), 0.3) == 1
    assert aupro(count_pixels(maps, masks, [[Region(whole, 4.0)]]), 0.3) < 0.8


def test_regions_of_files_keep_their_share_at_another_size(tmp_path: Path) -> None:
    values = np.zeros((40, 40), np.uint8)
    values[:20, :20] = 255
    Image.fromarray(values).save(tmp_path / "000.png")
    values[:] = 0
    values[30:32, 30:40] = 254
    Image.fromarray(values).save(tmp_path / "001.png")
    sample = Sample(tmp_path / "x.png", "logical_anomalies", (tmp_path / "000.png", tmp_path / "001.png"))
    kinds = [Saturation(255, 100, False), Saturation(254, 0.5, True)]
    full = saturated_regions([sample], kinds, None)[0]
    assert [(int(r.mask.sum()), r.saturation) for r in full] == [(400, 100.0), (20, 10.0)]
    half = saturated_regions([sample], kinds, Geometry(20))[0]
    assert [(int(r.mask.sum()), r.saturation) for r in half] == [(100, 25.0), (5, 2.5)]
    assert Geometry(20).mask(sample).sum() == 105


@pytest.mark.parametrize(("kind", "share"), [
    (Saturation(1, 1000, False), 1.0), (Saturation(1, 1.0, True), 1.0), (Saturation(1, 1e-9, True), 0.02),
    (Saturation(1, 10, False), 0.2),
])  # fmt: skip
def test_a_region_saturates_at_one_pixel_at_least_and_at_all_of_it_at_most(kind: Saturation, share: float) -> None:
    assert kind.share(50) == pytest.approx(share)


def test_seg_f1_is_scikit_learns_at_the_threshold_of_the_validation_maps() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    maps, masks = rng.normal(size=(5, 12, 12)), rng.random((5, 12, 12)) < 0.2
    maps[masks] += 3
    normal = rng.normal(size=(6, 12, 12)).astype(np.float32)
    threshold = normal_threshold(normal)
    assert threshold == pytest.approx(normal.mean(dtype=np.float64) + 3 * normal.std(dtype=np.float64))
    expected = f1_score(masks.ravel(), (maps >= threshold).ravel())
    assert segmentation_f1(maps, masks, threshold) == pytest.approx(expected)
    assert segmentation_f1(maps, np.zeros_like(masks), 1e9) == 0
