"""Every metric beside its definition, written down plainly, on random sets with ties, empty masks and constant maps."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.datasets.base import Sample, Saturation
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.result import METRICS
from fracgen_eval.images import Geometry, saturated_regions
from fracgen_eval.metrics import (
    Region,
    aupimo,
    aupro,
    auroc,
    best_f1_threshold,
    count_pixels,
    image_metrics,
    normal_threshold,
    pixel_auroc,
    pixel_metrics,
    segmentation_f1,
)
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import label

Images = Sequence[NDArray[np.floating]]
Masks = Sequence[NDArray[np.integer]]
SETS = range(30)


def random_set(seed: int) -> tuple[Images, Masks]:
    """Five maps with few, many or no ties and masks with several regions; the first two images are good, every third
    set has a defect image whose mask is empty, every fourth constant maps, every fifth images of two sizes."""
    rng = np.random.default_rng(seed)
    shapes = [(9, 11) if seed % 5 or n % 2 else (7, 13) for n in range(5)]
    levels = (4, 30, 10_000)[seed % 3]
    masks = [(rng.random(shape) < (0.02, 0.2)[seed % 2]).astype(np.uint8) * 255 for shape in shapes]
    masks[0][:] = masks[1][:] = 0
    masks[2][3:6, 4:9] = 1
    if seed % 3 == 0:
        masks[4][:] = 0
    maps = [rng.integers(0, levels, shape).astype(np.float32) for shape in shapes]
    for values, mask in zip(maps, masks, strict=True):
        values += (mask != 0) * np.float32(rng.integers(0, levels))
        if seed % 4 == 0:
            values[:] = 3.5
    return maps, masks


def thresholds(maps: Images) -> list[float]:
    return sorted({float(value) for values in maps for value in values.ravel()}, reverse=True)


def plain_curve(scores: NDArray[np.floating], truth: NDArray[np.bool_]) -> dict[str, float]:
    """Every threshold, one after the other."""
    ap = f1 = iou = last = 0.0
    for threshold in thresholds([scores]):
        marked = scores >= threshold
        hits, precision = int((marked & truth).sum()), float(truth[marked].mean())
        recall = hits / truth.sum()
        ap, last = ap + (recall - last) * precision, recall
        f1 = max(f1, 2 * precision * recall / (precision + recall)) if hits else f1
        iou = max(iou, hits / int((marked | truth).sum()))
    higher = sum(float((score > scores[~truth]).sum() + (score == scores[~truth]).sum() / 2) for score in scores[truth])
    return {"auroc": higher / int(truth.sum()) / int((~truth).sum()), "ap": ap, "f1_max": f1, "iou_max": iou}


def plain_pixel_metrics(maps: Images, masks: Masks) -> dict[str, float]:
    curve = plain_curve(np.concatenate([m.ravel() for m in maps]), np.concatenate([m.ravel() != 0 for m in masks]))
    return {
        **{f"pixel_{name}": curve[name] for name in ("auroc", "ap", "f1_max")}, "iou_max": curve["iou_max"],
        "aupro": plain_aupro(maps, masks, 0.3), "aupro_05": plain_aupro(maps, masks, 0.05),
        "aupimo": plain_aupimo(maps, masks, (1e-5, 1e-4)),
    }  # fmt: skip


def plain_aupro(maps: Images, masks: Masks, limit: float) -> float:
    """Every threshold, every region, every pixel; images may differ in size."""
    regions = []
    for image, mask in enumerate(masks):
        labels = label(mask != 0, connectivity=2)  # type: ignore[no-untyped-call]
        regions += [(image, labels == k) for k in range(1, labels.max() + 1)]
    normal = sum(int((mask == 0).sum()) for mask in masks)
    curve = [(0.0, 0.0)]
    for threshold in thresholds(maps):
        hit = [m >= threshold for m in maps]
        false = sum(int((h & (mask == 0)).sum()) for h, mask in zip(hit, masks, strict=True))
        curve.append((false / normal, float(np.mean([hit[i][r].mean() for i, r in regions]))))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 < limit:
            if x1 > limit:
                y1, x1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0), limit
            area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def plain_aupimo(maps: Images, masks: Masks, rates: tuple[float, float]) -> float:
    """Of each image with a defect, the mean over log-rates of the share that is found at the lowest threshold whose
    mean false-positive rate over the good images is no higher."""
    good = [values for values, mask in zip(maps, masks, strict=True) if not mask.any()]
    curve = [(float(np.mean([(m >= t).mean() for m in good])), t) for t in [math.inf, *thresholds(maps)]]
    shares = []
    for values, mask in zip(maps, masks, strict=True):
        if mask.any():
            stops = sorted({*rates, *(rate for rate, _ in curve if rates[0] < rate < rates[1])})
            area = 0.0
            for start, end in itertools.pairwise(stops):
                threshold = min(t for rate, t in curve if rate <= start * (1 + 1e-12))
                area += math.log(end / start) * float((values[mask != 0] >= threshold).mean())
            shares.append(area / math.log(rates[1] / rates[0]))
    return float(np.mean(shares))


@pytest.mark.parametrize("seed", SETS)
def test_pixel_metrics_are_those_of_their_definitions(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    maps, masks = random_set(seed)
    found = pixel_metrics(count_pixels(maps, masks))
    assert found == pytest.approx(plain_pixel_metrics(maps, masks), abs=1e-12)
    assert set(found) <= set(METRICS)
    # Some hundred pixels have no rates as low as AUPIMO's, so its arithmetic is tried at higher ones.
    rates = (0.02, 0.4)
    monkeypatch.setattr("fracgen_eval.metrics.pixel.PIMO_RATES", rates)
    monkeypatch.setattr("fracgen_eval.metrics.counts.TAIL", 0.5)
    assert aupimo(count_pixels(maps, masks)) == pytest.approx(plain_aupimo(maps, masks, rates), abs=1e-12)


@pytest.mark.parametrize("seed", SETS)
def test_the_best_threshold_has_the_best_f1_and_a_rising_function_changes_nothing(seed: int) -> None:
    maps, masks = random_set(seed)
    counts = count_pixels(maps, masks)
    marked = np.concatenate([m.ravel() >= best_f1_threshold(counts) for m in maps])
    truth = np.concatenate([m.ravel() != 0 for m in masks])
    f1 = 2 * (marked & truth).sum() / (marked.sum() + truth.sum())
    assert f1 == pytest.approx(pixel_metrics(counts)["pixel_f1_max"], abs=1e-12)
    assert pixel_metrics(count_pixels([np.exp(m / 1000) for m in maps], masks)) == pixel_metrics(counts)


def test_aupimo_is_anomalibs_where_there_are_enough_pixels() -> None:
    """Theirs takes 300,000 thresholds and straight lines between them, so not to the last digit."""
    import torch
    from anomalib.metrics.pimo.functional import aupimo_scores

    rng = np.random.default_rng(0)
    masks = np.zeros((8, 160, 160), np.uint8)
    masks[4:, 20:60, 30:90] = 1
    maps = (rng.normal(size=masks.shape) + masks * rng.uniform(2, 5, (8, 1, 1))).astype(np.float32)
    *_, theirs, _ = aupimo_scores(torch.from_numpy(maps), torch.from_numpy(masks).bool(), force=True)
    assert aupimo(count_pixels(maps, masks)) == pytest.approx(float(theirs[4:].mean()), abs=0.01)


def plain_quantile(scores: NDArray[np.floating], share: float) -> float:
    falling = sorted(float(score) for score in scores)
    place = share * (len(falling) - 1)
    low, high = falling[math.floor(place)], falling[math.ceil(place)]
    part = place - math.floor(place)
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


@pytest.mark.parametrize("seed", SETS)
def test_image_metrics_are_those_of_their_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[False, True], rng.random(rng.integers(2, 70)) < 0.6])
    scores = rng.normal(size=len(labels)) + labels
    scores = scores.round(seed % 3) if seed % 4 else np.full(len(labels), 0.5)  # some ties, many, all
    good, bad = scores[~labels], scores[labels]
    found = image_metrics(labels, scores, 0.4)
    for name, value in plain_curve(scores, labels).items():
        assert name == "iou_max" or found[f"image_{name}"] == pytest.approx(value, abs=1e-12)
    for name, share in (("2", 0.02), ("5", 0.05)):
        assert found[f"pg_{name}"] == (good < plain_quantile(bad, share)).mean()
        assert found[f"pb_{name}"] == (bad > plain_quantile(good, 1 - share)).mean()
    assert (found["false_alarms"], found["detections"]) == ((good > 0.4).mean(), (bad > 0.4).mean())
    assert set(found) <= set(METRICS)
    assert "detections" not in image_metrics(labels, scores)


def test_pg_and_pb_are_anomalibs() -> None:
    import torch
    from anomalib.metrics.pg_pb import _PBn, _PGn

    rng = np.random.default_rng(1)
    labels = np.repeat([False, True], [57, 43])
    scores = rng.normal(size=100).astype(np.float32) + labels
    found = image_metrics(labels, scores)
    for name, share in (("2", 0.02), ("5", 0.05)):
        for metric, kind in (("pg", _PGn(fnr=share)), ("pb", _PBn(fpr=share))):
            kind.update(torch.from_numpy(scores), torch.from_numpy(labels))
            assert found[f"{metric}_{name}"] == pytest.approx(float(kind.compute()), abs=1e-6)


def test_images_may_be_made_on_access() -> None:
    class Lazy:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, n: int) -> NDArray[np.int64]:
            return np.random.default_rng(n).integers(0, 40, (10 + n, 20 - n))

    masks = [np.zeros((10 + n, 20 - n), np.uint8) for n in range(3)]
    masks[1][1:3, 7:12] = 1
    masks[2][4:6, 4:6] = masks[2][8, :] = 1
    made = [Lazy()[n].astype(float) for n in range(3)]
    assert pixel_metrics(count_pixels(Lazy(), masks)) == pixel_metrics(count_pixels(made, masks))


def test_a_test_set_of_mvtec_size_takes_seconds() -> None:
    """167 images of 256 x 256, as MVTec's largest; generous, for a busy machine."""
    rng = np.random.default_rng(0)
    maps = rng.random((167, 256, 256), np.float32)
    masks = np.zeros((167, 256, 256), np.uint8)
    masks[40:, 100:150, 100:160] = 1
    start = time.perf_counter()
    found = pixel_metrics(count_pixels(maps, masks))
    assert (found["aupro"], found["pixel_auroc"]) == pytest.approx((0.15, 0.5), abs=0.01)
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [([0, 0], [1.0, 2.0], "all 2 test images are normal"), ([1, 1], [1.0, 2.0], "all 2 test images are anomalous"),
     ([0, 1], [1.0, float("nan")], "not finite")],
)  # fmt: skip
def test_scores_that_have_no_metrics_are_refused(labels: list[int], scores: list[float], message: str) -> None:
    for metric in (auroc, image_metrics):
        with pytest.raises(EvaluationError, match=message):
            metric(labels, scores)


@pytest.mark.parametrize(
    ("maps", "masks", "message"),
    [
        (np.zeros((1, 4, 4)), np.zeros((2, 4, 4)), "one mask per map"),
        (np.zeros((1, 4, 4)), np.ones((1, 4, 5)), "shape"),
        (np.full((1, 4, 4), np.nan), np.eye(4)[None], "not finite"),
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), "marks a defect"),
        (np.zeros((1, 4, 4)), np.ones((1, 4, 4)), "needs normal pixels"),
        (np.zeros((1, 4, 4)), np.eye(4)[None], "AUPIMO needs one without"),
    ],
)
def test_maps_that_have_no_metrics_are_refused(
    maps: NDArray[np.float64], masks: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        pixel_metrics(count_pixels(maps, masks))
    if "AUPIMO" in message:
        assert pixel_auroc(count_pixels(maps, masks)) == 0.5


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
