"""Predicted masks of galleries: `map >= threshold`, as the threshold was found, whatever type the maps were kept in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.metrics import best_f1_threshold, count_pixels, predicted_mask, segmentation_f1
from fracgen_eval.report.gallery import TILE, galleries
from fracgen_eval.report.gather import gather
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tests.report.cells import add

SCORES = arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


@settings(max_examples=60)
@given(SCORES, st.integers(0, 11))
def test_a_score_that_is_the_threshold_reaches_it_also_after_rounding(scores: NDArray[np.float32], place: int) -> None:
    threshold = float(scores.flat[place])
    exact = scores >= np.float32(threshold)
    assert np.array_equal(predicted_mask(scores, threshold), exact)
    assert np.array_equal(predicted_mask(scores.astype(np.float64), threshold), exact)
    kept = predicted_mask(scores.astype(np.float16), threshold)
    assert kept[exact].all()
    apart = np.abs(scores - threshold) > 0.1  # more than float16 rounds by below 100
    assert np.array_equal(kept[apart], exact[apart])


@pytest.mark.parametrize("threshold", [7.5, 70_000.0, -70_000.0])
def test_whole_numbers_and_thresholds_out_of_range(threshold: float) -> None:
    assert predicted_mask([[9, 7], [8, 1]], threshold).tolist() == (np.array([[9, 7], [8, 1]]) >= threshold).tolist()
    assert predicted_mask(np.array([9, 7], np.float16), threshold).tolist() == [threshold <= 9, threshold <= 7]
    assert segmentation_f1([[[9, 7], [8, 1]]], [[[1, 0], [1, 0]]], 7.5) == 1


@pytest.mark.parametrize("kept", [np.float32, np.float16])
def test_a_gallery_draws_the_mask_of_the_best_f1(kept: type[np.floating], tmp_path: Path) -> None:
    """The defect's own lowest score is the threshold: all of the defect is drawn, and nothing else."""
    truth = np.zeros((1, 8, 8), bool)
    truth[0, 2:5, 1:6] = True
    maps = np.where(truth, np.float32(0.7) + np.arange(64, dtype=np.float32).reshape(1, 8, 8) / 999, np.float32(0.5))
    threshold = best_f1_threshold(count_pixels(maps, truth))
    assert threshold == float(maps[truth].min())
    assert float(np.float16(threshold)) != threshold
    (tmp_path / "maps").mkdir()
    np.savez(tmp_path / "maps/m.npz", maps=maps.astype(kept), masks=truth)
    images = [{"path": "test/a.png", "defect": "stain", "score": 1.0}]
    how = {"value": threshold, "from": "best pixel F1 on the test set"}
    add(tmp_path, maps="maps/m.npz", images=images, side=8, mask_threshold=how)
    (gallery,), _ = galleries(gather(tmp_path), {})
    (case,) = gallery.cases
    ((_, _, mask, _),) = case.judged
    assert mask is not None
    assert case.truth is not None
    assert mask.shape == (TILE, TILE, 3)
    assert np.array_equal(mask, case.truth)
