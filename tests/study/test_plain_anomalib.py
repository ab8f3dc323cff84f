"""What the comparison with plain Anomalib computes of two sides' scores."""

from __future__ import annotations

import numpy as np
import pytest

from bench.study import plain_anomalib


def test_differences_are_shares_of_the_range() -> None:
    assert plain_anomalib.apart(np.array([0.0, 10.0]), np.array([0.0, 9.0])) == pytest.approx(0.1)


def test_the_mean_and_deviation_over_seeds() -> None:
    def one(auroc: float) -> dict[str, dict[str, float]]:
        return {side: {"image_auroc": auroc, "pixel_auroc": 0.5} for side in plain_anomalib.SIDES}

    found = plain_anomalib.over_seeds([one(0.6), one(0.8)])
    assert found["anomalib"]["image_auroc"] == [pytest.approx(0.7), pytest.approx(0.02**0.5)]
    assert found["fracgen"]["pixel_auroc"] == [0.5, 0.0]
