"""The bootstrap: it equals the exact metrics, its intervals cover, its draws are paired, and it costs little."""

from __future__ import annotations

import numpy as np
import pytest
from fracgen_eval.metrics import auroc, count_pixels, image_metrics, pixel_metrics
from fracgen_eval.metrics.bootstrap import difference_interval, interval, pixel_replicates, resamples
from fracgen_eval.metrics.image import image_replicates
from numpy.typing import NDArray
from scipy.stats import norm

Maps = NDArray[np.float32]
LABELS = np.repeat([False, True], [30, 40])


def test_a_resample_keeps_the_number_of_each_kind_and_is_the_keys() -> None:
    counts = resamples(LABELS, [5], 50)
    assert (counts[:, ~LABELS].sum(1) == 30).all()
    assert (counts[:, LABELS].sum(1) == 40).all()
    np.testing.assert_array_equal(counts, resamples(LABELS, [5], 50))
    assert (counts != resamples(LABELS, [6], 50)).any()


@pytest.mark.parametrize("ties", [False, True])
def test_a_replicate_is_the_metric_of_the_images_that_it_drew(ties: bool) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=70) + LABELS
    scores = scores.round() if ties else scores
    counts = resamples(LABELS, [1], 20)
    replicates = image_replicates(LABELS, scores, counts, 0.5)
    for n, count in enumerate(counts.astype(int)):
        whole = image_metrics(np.repeat(LABELS, count), np.repeat(scores, count), 0.5)
        assert {name: values[n] for name, values in replicates.items()} == pytest.approx(whole, abs=1e-12)


def maps_and_masks(rng: np.random.Generator, images: int = 12, side: int = 64) -> tuple[Maps, NDArray[np.uint8]]:
    masks = np.zeros((images, side, side), np.uint8)
    maps = rng.normal(size=masks.shape).astype(np.float32)
    for n in range(images // 2, images):
        masks[n, 5:17, 8:20] = masks[n, 30:34, 30:36] = 1
        maps[n] += masks[n] * rng.uniform(0.5, 3)
    return maps, masks


def test_pixel_replicates_are_the_metrics_of_the_images_drawn() -> None:
    """Bins make them approximate: within 0.002, a tenth of their own spread, and AP, to which the highest few pixels
    matter, within 0.02, a quarter of it."""
    maps, masks = maps_and_masks(np.random.default_rng(0))
    counts = resamples(masks.any((1, 2)), [2], 6)
    found = pixel_replicates(maps, masks, counts, count_pixels(maps, masks).good)
    for n, count in enumerate(counts.astype(int)):
        drawn = np.repeat(np.arange(len(maps)), count)
        for name, value in pixel_metrics(count_pixels(maps[drawn], masks[drawn])).items():
            assert found[name][n] == pytest.approx(value, abs=2e-2 if name == "pixel_ap" else 2e-3), name


@pytest.mark.parametrize(("good", "bad", "truth"), [(28, 28, 0.6), (28, 28, 0.95), (30, 60, 0.85), (100, 100, 0.75)])
def test_intervals_cover_the_true_auroc_in_95_of_100(good: int, bad: int, truth: float) -> None:
    """200 draws of scores whose AUROC is known; between 92 and 98 % of the intervals hold it."""
    labels = np.repeat([False, True], [good, bad])
    rng = np.random.default_rng(20)
    distance, covered = norm.ppf(truth) * np.sqrt(2), 0
    for n in range(200):
        scores = rng.normal(size=good + bad) + distance * labels
        ends = interval(auroc(labels, scores), image_replicates(labels, scores, resamples(labels, [n]))["image_auroc"])
        covered += ends is not None and ends[0] <= truth <= ends[1]
    print(f"{good} good, {bad} anomalous, AUROC {truth}: {covered / 2:.1f} %")
    assert 184 <= covered <= 196


def test_intervals_of_a_paired_difference_cover_it_and_are_narrower_than_unpaired_ones() -> None:
    labels = np.repeat([False, True], [30, 40])
    rng = np.random.default_rng(20)
    truths = [norm.cdf(d / np.sqrt(2)) for d in (1.0, 1.5)]
    covered, paired, unpaired = 0, [], []
    for n in range(200):
        shared = rng.normal(size=70)
        scores = [0.8 * shared + 0.6 * rng.normal(size=70) + d * labels for d in (1.0, 1.5)]
        counts = resamples(labels, [n])
        first, second = (image_replicates(labels, s, counts)["image_auroc"] for s in scores)
        interval = difference_interval(auroc(labels, scores[1]) - auroc(labels, scores[0]), first, second)
        assert interval is not None
        low, high = interval
        covered += low <= truths[1] - truths[0] <= high
        paired.append(high - low)
        unpaired.append(2 * 1.96 * np.hypot(first.std(), second.std()))
    assert 184 <= covered <= 196
    assert np.mean(paired) < 0.75 * np.mean(unpaired)


def test_a_perfect_score_has_no_interval() -> None:
    scores = LABELS + 0.0
    replicates = image_replicates(LABELS, scores, resamples(LABELS, [0]))
    assert interval(1.0, replicates["image_auroc"]) is None
    assert difference_interval(0.0, replicates["image_auroc"], replicates["image_auroc"]) is None
