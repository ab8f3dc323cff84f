"""What the table of gains over random weights says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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


def test_without_random_weights_there_is_nothing_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(tmp_path, weights="fractal")
    main([str(tmp_path)])
    assert not capsys.readouterr().out
