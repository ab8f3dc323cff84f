"""False alarms that are bounded: p-values, thresholds, and the test for pictures of another kind."""

from __future__ import annotations

import numpy as np
import pytest
from fracgen_eval import decisions
from fracgen_eval.errors import EvaluationError
from fracgen_eval.predict.pictures import LOOKS
from fracgen_eval.predict.shift import LEVEL, Seen, shift
from hypothesis import given, settings
from hypothesis import strategies as st

few = settings(max_examples=100, deadline=None, derandomize=True)
SCORES = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=60).map(np.array)
RATES = st.sampled_from([0.001, 0.01, 0.05, 0.1, 1 / 3, 0.5, 0.9])


@given(SCORES, SCORES, RATES)
@few
def test_p_values_thresholds_and_decisions_say_the_same(scores: np.ndarray, normal: np.ndarray, rate: float) -> None:
    p = decisions.p_values(scores, normal)
    assert p.tolist() == [(1 + sum(n >= s for n in normal)) / (len(normal) + 1) for s in scores]
    flags = decisions.flagged(p, len(normal), rate)
    assert flags.tolist() == (scores > decisions.threshold(normal, rate)).tolist()
    assert flags.tolist() == [its <= max(rate, 1 / (len(normal) + 1)) + 1e-12 for its in p]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
def test_of_exchangeable_scores_the_rate_is_the_promised_one(rate: float) -> None:
    """Over 5,000 draws of 40 normal scores and a judged one, within four standard errors of floor(41 a) / 41."""
    draws = np.random.default_rng(0).standard_normal((5_000, 41))
    flags = [decisions.flagged(decisions.p_values(row[:1], row[1:]), 40, rate)[0] for row in draws]
    exact = max(1, int(rate * 41)) / 41
    assert abs(np.mean(flags) - exact) < 4 * np.sqrt(exact / 5_000)


def test_scores_that_other_machines_round_otherwise_are_equal() -> None:
    normal = np.linspace(1, 2, 40)
    for factor in (1 - 2e-6, 1, 1 + 2e-6):
        assert np.array_equal(decisions.p_values(normal * factor, normal), decisions.p_values(normal, normal))


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_a_rate_outside_is_refused(rate: float) -> None:
    with pytest.raises(EvaluationError, match=r"false alarms: use a number above 0 and below 1, such as 0\.05"):
        decisions.check_rate(rate)


def seen(rng: np.random.Generator, number: int, by: float = 0.0) -> Seen:
    return Seen(rng.standard_normal(number), rng.standard_normal((number, len(LOOKS))) + by)


def test_the_test_for_a_shift_has_its_level_and_power() -> None:
    """100 draws each: without a shift more than eight warnings have a probability of 0.001 (binomial, LEVEL)."""
    assert LEVEL == 0.02
    rng = np.random.default_rng(1)
    alike = [shift(seen(rng, 20), seen(rng, 40))[0] <= LEVEL for _ in range(100)]
    apart = [shift(seen(rng, 20, by=0.7), seen(rng, 40))[0] <= LEVEL for _ in range(100)]
    assert sum(alike) <= 8
    assert sum(apart) >= 90


def test_a_quarter_with_defects_is_no_shift() -> None:
    rng, warned = np.random.default_rng(2), 0
    for _ in range(50):
        judged = seen(rng, 40)
        judged.scores[:10] += 9
        judged.looks[:10] += 3
        warned += shift(judged, seen(rng, 40))[0] <= LEVEL
    assert warned <= 5


def test_a_shift_says_in_what() -> None:
    rng = np.random.default_rng(3)
    judged = seen(rng, 30)
    judged.looks[:, LOOKS.index("contrast")] += 20
    p, difference = shift(judged, seen(rng, 40))
    assert p == 0.001
    assert difference.startswith("contrast 20")
