"""What the table of gains over random weights says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.study import plain_anomalib
from bench.study.scores import main
from tests.report.cells import add


def test_gains_are_of_equal_cells_by_method_and_over_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, category in enumerate(("brick", "coins")):
        for method, gain in (("patchcore", 0.2), ("padim", 0.1)):
            add(tmp_path, method, category, "random", value=0.5 + 0.1 * number, replicates={"image_auroc": [0.5, 0.6]})
            add(tmp_path, method, category, "fractal", value=0.5 + 0.1 * number + gain,
                replicates={"image_auroc": [0.7, 0.8]})  # fmt: skip
    add(tmp_path, "padim", "stars", "fractal", value=0.99)  # random weights have no such cell
    main([str(tmp_path), "-o", str(tmp_path / "scores.json")])
    text = capsys.readouterr().out
    assert "| method | random | fractal | above random |" in text
    assert "| PatchCore | 55.0 | 75.0 | +20.0" in text
    assert "| mean of all | 55.0 |" in text
    tables = json.loads((tmp_path / "scores.json").read_text())["tables"]
    table = next(table for table in tables if table["metric"] == "image_auroc")
    gains = {row["method"]: row["gain"] for row in table["rows"] if row["weights"] == "fractal"}
    assert gains == {"patchcore": pytest.approx(20), "padim": pytest.approx(10), "all": pytest.approx(15)}


def test_the_gain_over_two_sets_is_the_mean_of_theirs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = {"image_auroc": [0.4, 0.5, 0.6]}
    for dataset, gain in (("surfaces", 0.2), ("elpv", 0.3)):
        for weights, value in (("random", 0.5), ("fractal", 0.5 + gain)):
            shifted = {"image_auroc": [v * (1 if weights == "random" else 0.5) for v in drawn["image_auroc"]]}
            add(tmp_path / dataset, weights=weights, dataset=dataset, value=value, replicates=shifted)
    main([str(tmp_path / "surfaces"), str(tmp_path / "elpv"), "-o", str(tmp_path / "scores.json")])
    assert "fractal, over 2 tables: +25.0 [" in capsys.readouterr().out
    record = json.loads((tmp_path / "scores.json").read_text())
    rows = [row for table in record["tables"] if table["metric"] == "image_auroc" for row in table["rows"]]
    ends = [row["gain_interval"] for row in rows if row["method"] == "all" and "gain" in row]
    halves = [(high - low) / 2 for low, high in ends]
    low, high = record["together"][0]["gain_interval"]
    assert (high - low) / 2 == pytest.approx((halves[0] ** 2 + halves[1] ** 2) ** 0.5 / 2)
    assert halves[0] > 0


def test_random_networks_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, (weights, value) in enumerate((("random", 0.4), ("random-1", 0.6))):
        for category, more in (("brick", 0.0), ("coins", 0.1)):
            add(tmp_path, weights=weights, category=category, seed=seed, value=value + more,
                by_defect={"crack": {"image_auroc": value}})  # fmt: skip
            add(tmp_path, weights="fractal", category=category, seed=seed, value=0.9)
    main([str(tmp_path), "-o", str(tmp_path / "scores.json")])
    assert "| PatchCore | 55.0 (45.0 to 65.0) | 90.0 |" in capsys.readouterr().out
    tables = json.loads((tmp_path / "scores.json").read_text())["tables"]
    row = next(row for row in tables[0]["rows"] if row["weights"] == "random")
    assert row["by_network"] == {"0": pytest.approx(45), "1": pytest.approx(65)}
    assert row["by_category"] == {"brick": pytest.approx(50), "coins": pytest.approx(60)}
    assert row["by_defect"] == {"crack": pytest.approx(50)}


def test_without_random_weights_there_is_nothing_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(tmp_path, weights="fractal")
    main([str(tmp_path)])
    assert not capsys.readouterr().out


def test_differences_are_shares_of_the_range() -> None:
    assert plain_anomalib.apart(np.array([0.0, 10.0]), np.array([0.0, 9.0])) == pytest.approx(0.1)


def test_the_mean_and_deviation_over_seeds() -> None:
    def one(auroc: float) -> dict[str, dict[str, float]]:
        return {side: {"image_auroc": auroc, "pixel_auroc": 0.5} for side in plain_anomalib.SIDES}

    found = plain_anomalib.over_seeds([one(0.6), one(0.8)])
    assert found["anomalib"]["image_auroc"] == [pytest.approx(0.7), pytest.approx(0.02**0.5)]
    assert found["fracgen"]["pixel_auroc"] == [0.5, 0.0]
