"""Pixel metrics against values worked by hand and against slow, direct computations."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest
from fracgen_eval.errors import EvaluationError
from fracgen_eval.metrics import aupro, auroc, best_f1_threshold, count_pixels, pixel_auroc
from skimage.measure import label

GOLDEN_MAPS = np.array(
    [[[9, 8, 1, 1], [2, 7, 3, 1], [1, 1, 1, 1], [1, 1, 1, 1]], [[1, 1, 1, 1], [1, 6, 1, 1], [1, 1, 1, 5], [1, 1, 4, 1]]]
)
GOLDEN_MASKS = np.zeros((2, 4, 4), int)
GOLDEN_MASKS[0, 0, 0] = GOLDEN_MASKS[0, 0, 1] = GOLDEN_MASKS[0, 1, 2] = GOLDEN_MASKS[1, 2, 3] = 1


def brute_force_aupro(maps: Any, masks: Any, limit: Any = 0.3) -> Any:
    """Every threshold, every region, every pixel; images may differ in size."""
    regions = []
    for image, mask in enumerate(masks):
        labels = label(mask != 0, connectivity=2)  # type: ignore[no-untyped-call]
        regions += [(image, labels == k) for k in range(1, labels.max() + 1)]
    normal = sum(int((mask == 0).sum()) for mask in masks)
    curve = [(0.0, 0.0)]
    for threshold in sorted(set(np.concatenate([np.ravel(m) for m in maps])), reverse=True):
        hit = [m >= threshold for m in maps]
        false = sum(int((h & (mask == 0)).sum()) for h, mask in zip(hit, masks, strict=True))
        curve.append((false / normal, np.mean([hit[i][r].mean() for i, r in regions])))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 >= limit:
            break
        if x1 > limit:
            y1, x1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0), limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def random_case(seed: int) -> Any:
    """Maps with ties, masks with several regions, a good image."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, rng.choice([4, 30, 10_000]), (4, 13, 17)).astype(np.float32)
    masks = (rng.random((4, 13, 17)) < rng.choice([0.02, 0.2])).astype(np.uint8) * 255
    masks[0] = 0
    masks[1, 3:6, 4:9] = 1
    return maps, masks


def test_aupro_golden_values() -> None:
    assert aupro(GOLDEN_MAPS, GOLDEN_MASKS) == pytest.approx(23 / 28, abs=1e-15)
    assert aupro(np.full((2, 8, 8), 3.5), np.eye(8)[None].repeat(2, 0)) == pytest.approx(0.15, abs=1e-15)
    assert aupro(GOLDEN_MASKS.astype(float), GOLDEN_MASKS) == 1.0


@pytest.mark.parametrize("seed", range(24))
def test_aupro_equals_brute_force(seed: int) -> None:
    maps, masks = random_case(seed)
    assert aupro(maps, masks) == pytest.approx(brute_force_aupro(maps, masks), abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_pixel_auroc_equals_scikit_learn_on_every_pixel(seed: int) -> None:
    from sklearn.metrics import roc_auc_score

    maps, masks = random_case(seed)
    assert pixel_auroc(maps, masks) == pytest.approx(roc_auc_score(masks.ravel() != 0, maps.ravel()), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_best_f1_threshold_is_the_best_of_all(seed: int) -> None:
    from sklearn.metrics import f1_score

    maps, masks = random_case(seed)
    truth, values = masks.ravel() != 0, maps.ravel()
    hits = [(truth & (values >= t)).sum() / (truth.sum() + (values >= t).sum()) for t in np.unique(values)]
    found = best_f1_threshold(count_pixels(maps, masks))
    assert f1_score(truth, values >= found) == pytest.approx(2 * max(hits), abs=1e-12)


def test_metrics_do_not_change_under_a_rising_function_of_the_scores() -> None:
    maps, masks = random_case(1)
    assert aupro(np.exp(maps / 1000), masks) == aupro(maps, masks)
    assert pixel_auroc(np.exp(maps / 1000), masks) == pixel_auroc(maps, masks)


def test_images_of_different_sizes_and_made_on_access() -> None:
    class Lazy:
        def __len__(self) -> Any:
            return 3

        def __getitem__(self, n: Any) -> Any:
            return np.random.default_rng(n).integers(0, 40, (10 + n, 20 - n))

    masks = [np.zeros((10 + n, 20 - n)) for n in range(3)]
    masks[1][1:3, 7:12] = 1
    masks[2][4:6, 4:6] = masks[2][8, :] = 1
    maps = Lazy()
    expected = brute_force_aupro([maps[n] for n in range(3)], masks)
    assert aupro(maps, masks) == pytest.approx(expected, abs=1e-12)
    assert 0.02 < expected < 0.5


def test_a_test_set_of_mvtec_size_takes_seconds() -> None:
    """167 images of 256 x 256, as MVTec's largest; generous, for a busy machine."""
    rng = np.random.default_rng(0)
    maps = rng.random((167, 256, 256), np.float32)
    masks = np.zeros((167, 256, 256), np.uint8)
    masks[40:, 100:150, 100:160] = 1
    start = time.perf_counter()
    assert aupro(maps, masks) == pytest.approx(0.15, abs=0.01)
    assert time.perf_counter() - start < 30


def test_image_auroc() -> None:
    assert auroc([0, 0, 1, 1], [1.0, 2.0, 2.0, 3.0]) == pytest.approx(0.875)
    with pytest.raises(EvaluationError, match="all 2 test images are normal"):
        auroc([0, 0], [1.0, 2.0])
    with pytest.raises(EvaluationError, match="not finite"):
        auroc([0, 1], [1.0, float("nan")])


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (np.zeros((1, 4, 4)), np.zeros((2, 4, 4)), "one mask per map"),
        (np.zeros((1, 4, 4)), np.ones((1, 4, 5)), "shape"),
        (np.full((1, 4, 4), np.nan), np.eye(4)[None], "not finite"),
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), "marks a defect"),
        (np.zeros((1, 4, 4)), np.ones((1, 4, 4)), "needs normal pixels"),
    ],
)
def test_bad_input_is_refused(maps: Any, masks: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        aupro(maps, masks)
