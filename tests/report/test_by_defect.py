"""Numbers by type of defect: beside each category, and their mean where several categories have the type."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from fracgen_eval.report import write_report
from fracgen_eval.report.by_defect import defect_tables
from fracgen_eval.report.gather import gather
from fracgen_eval.report.significance import verdict
from fracgen_eval.report.tables import make_tables

from tests.report.cells import add


def test_types_in_several_categories_have_a_mean_and_lone_ones_do_not(tmp_path: Path) -> None:
    for category, crack in (("brick", 0.9), ("coins", 0.7)):
        kinds = {"crack": {"image_auroc": crack}} | ({"drop": {"image_auroc": 0.5}} if category == "coins" else {})
        add(tmp_path, category=category, by_defect=kinds)
    add(tmp_path, category="brick", weights="fractal", by_defect={"crack": {"image_auroc": 1.0}})
    for category in ("brick", "coins"):
        add(tmp_path, "padim", category, by_defect={"crack": {"image_auroc": 0.6}})
    (table,) = defect_tables(gather(tmp_path))
    assert table.rows == [("all", "crack"), ("brick", "crack"), ("coins", "crack"), ("coins", "drop")]
    assert table.values["all", "crack", "patchcore", "random"] == pytest.approx(80)
    assert table.values["all", "crack", "padim", "random"] == pytest.approx(60)
    assert ("all", "crack", "patchcore", "fractal") not in table.values  # of one category only
    done = write_report(tmp_path)
    (path,) = (p for p in done.files if p.name.endswith("by-defect.csv"))
    table_rows = csv.DictReader(path.read_text().splitlines())
    rows = {(r["category"], r["defect"], r["weights"]): r["value"] for r in table_rows
            if r["method"] == "patchcore"}  # fmt: skip
    assert rows["coins", "drop", "random"] == "50.00"
    assert rows["coins", "drop", "fractal"] == ""
    assert "By type of defect" in done.html.read_text()


@pytest.mark.parametrize(("shift", "said"), [(0.1, ", significant over test images"), (0.005, ", not significant")])
def test_intervals_stand_in_tables_summary_and_verdict(tmp_path: Path, shift: float, said: str) -> None:
    for category in ("brick", "coins"):
        wave = [0.02 * (-1) ** n for n in range(40)]
        add(tmp_path, category=category, value=0.8, replicates={"image_auroc": [0.8 + w for w in wave]})
        add(tmp_path, category=category, weights="fractal", value=0.8 + shift,
            replicates={"image_auroc": [0.8 + shift - w for w in wave]})  # fmt: skip
    table = make_tables(gather(tmp_path))[0]
    interval = table.values["brick", "patchcore", "random"].interval
    assert interval is not None
    low, high = interval
    assert low < 80 < high
    assert table.averages["patchcore", "random"].interval is not None
    done = write_report(tmp_path)
    assert any(line.startswith(f"  fractal minus random: {100 * shift:+.1f} [") for line in done.summary)
    (csv_path,) = (p for p in done.files if p.name.endswith("image_auroc.csv"))
    row = next(csv.DictReader(csv_path.read_text().splitlines()))
    assert float(row["low"]) == pytest.approx(low, abs=1e-3)
    (sentence,) = verdict(tmp_path)
    assert sentence.endswith(said)
    assert "mean image AUROC over 1 method and 2 categories: random 80.0 [" in sentence
