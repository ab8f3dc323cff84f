"""Benchmark records say what was measured, where and when, and a wrong one is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from fracgen.benchmarking import timing
from fracgen.benchmarking.render import bench_render
from fracgen.recipes.presets import preset

RESULTS = Path(__file__).parents[2] / "bench" / "results"


def test_actions_take_turns_and_are_timed_alone() -> None:
    calls: list[str] = []
    time = iter(range(1000))

    def clock() -> float:
        return float(next(time))

    def slow() -> None:
        calls.append("b")
        for _ in range(4):
            clock()

    seconds = timing.interleaved({"a": lambda: calls.append("a"), "b": slow}, 3, warm_up=0, clock=clock)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert seconds == {"a": [1.0] * 3, "b": [5.0] * 3}
    with pytest.raises(ValueError, match="rounds 0"):
        timing.interleaved({}, 0)


def test_summary() -> None:
    expected = {"median": 3.0, "spread": 2 / 3, "min": 1.0, "max": 10.0, "n": 5}
    assert timing.summary([4.0, 1.0, 2.0, 3.0, 10.0]) == expected


@pytest.fixture(scope="module")
def measured() -> dict[str, object]:
    chosen = preset("multi-formula")
    return bench_render(chosen, chosen.recipe.at_size(32), device="cpu", batch=4, rounds=2, threads=1)


def test_a_render_benchmark(measured: dict[str, object]) -> None:
    results = timing.check_record(measured)["results"]
    for name in ("images", "points"):
        assert results[name]["median"] > 0
    shares = [r["median"] for name, r in results.items() if name.startswith("share")]
    assert sum(shares) == pytest.approx(1, abs=0.2)
    # 4 to 10 attractors of 100,000 points an image.
    assert 4e5 <= results["points"]["median"] / results["images"]["median"] <= 10e5
    table = timing.markdown(timing.check_record(measured))
    assert all(name in table for name in results)


@pytest.mark.parametrize("field", ["commit", "machine", "results", "date"])
def test_a_record_that_lacks_a_field_is_refused(measured: dict[str, object], field: str) -> None:
    damaged = copy.deepcopy(measured)
    del damaged[field]
    with pytest.raises(ValueError, match="has the fields"):
        timing.check_record(damaged)


def test_a_record_of_the_wrong_kind_is_refused(measured: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="wrong type"):
        timing.check_record({**measured, "machine": "fast"})
    with pytest.raises(ValueError, match="schema 99"):
        timing.check_record({**measured, "schema_version": 99})
    with pytest.raises(ValueError, match="'images' must be a summary"):
        timing.check_record({**measured, "results": {"images": 7}})


def test_published_results_keep_to_the_schema() -> None:
    files = sorted(RESULTS.glob("*.json"))
    assert files, "bench/results holds no record"
    for file in files:
        assert timing.check_record(json.loads(file.read_text()))["commit"]
