"""Calibration: published numbers beside cells of the same setting, and marks on what is off."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from fracgen_eval.datasets.counts import published_counts
from fracgen_eval.methods import METHODS, settings_for
from fracgen_eval.report import write_report
from fracgen_eval.report.gather import gather
from fracgen_eval.report.published import write_cells
from fracgen_eval.report.references import SOURCES, Compared, calibrate, references
from fracgen_eval.report.tables import make_tables

from tests.report.cells import add

SETTING: dict[str, Any] = {"dataset": "mvtec", "model": "wide_resnet50_2", "protocol": "paper", "weights": "imagenet"}


def test_every_source_has_every_class_and_the_averages_that_it_states() -> None:
    classes = set(published_counts("mvtec"))
    stated = {
        ("amazon-patchcore", "image_auroc"): 99.16, ("amazon-patchcore", "pixel_auroc"): 98.11,
        ("anomalib-padim", "image_auroc"): 95.0, ("anomalib-padim", "pixel_auroc"): 97.9,
        ("anomalib-cflow", "image_auroc"): 96.2, ("anomalib-cflow", "pixel_auroc"): 97.1,
        ("anomalib-rd", "image_auroc"): 98.5,  # its 96.9 for pixels does not follow from its classes: 97.4
        ("anomalib-fastflow", "image_auroc"): 96.3, ("anomalib-fastflow", "pixel_auroc"): 97.9,
    }  # fmt: skip
    for source, about in SOURCES.items():
        assert about.method in METHODS
        for metric in ("image_auroc", "pixel_auroc"):
            numbers = {c: references()[source, c, metric] for c in classes}
            assert all(80 < n <= 100 for n in numbers.values())
            if (source, metric) in stated:
                assert fmean(numbers.values()) == pytest.approx(stated[source, metric], abs=0.05)
    assert len(references()) == len(SOURCES) * len(classes) * 2


def run(folder: Path) -> list[Compared]:
    return calibrate(make_tables(gather(folder)))


def test_what_is_further_off_than_its_tolerance_is_marked(tmp_path: Path) -> None:
    add(tmp_path, "patchcore", "bottle", value=0.99, **SETTING)  # Amazon: 100.0 and 98.5
    add(tmp_path, "patchcore", "cable", value=0.97, **SETTING)  # Amazon: 99.7 and 98.4
    compared = {(c.source, c.metric, c.row): c for c in run(tmp_path)}
    near, far = (compared["amazon-patchcore", "image_auroc", row] for row in ("bottle", "cable"))
    assert (near.off, far.off) == (False, True)
    assert far.difference == pytest.approx(97 - 99.68)
    mean = compared["amazon-patchcore", "image_auroc", "average"]
    assert mean.difference == pytest.approx((near.difference + far.difference) / 2)
    assert mean.tolerance == near.tolerance / 2
    assert ("paper", "image_auroc", "cable") in compared
    done = write_report(tmp_path)
    assert any(line.startswith("calibration: ") and "PatchCore" in line for line in done.summary)
    page = done.html.read_text()
    assert "▲ -2.7" in page
    rows = list(csv.DictReader((tmp_path / "report/tables/calibration.csv").read_text().splitlines()))
    (row,) = (r for r in rows if (r["source"], r["metric"], r["class"]) == ("amazon-patchcore", "image_auroc", "cable"))
    assert (row["ours"], row["published"], row["off"]) == ("97.00", "99.68", "yes")


@pytest.mark.parametrize(
    "other",
    [{"protocol": "honest"}, {"model": "resnet18"}, {"weights": "random"}, {"limit": "12"}, {"shots": 4},
     {"settings": settings_for("patchcore", overrides={"coreset": 0.01})}],
)  # fmt: skip
def test_cells_of_another_setting_are_not_compared(tmp_path: Path, other: dict[str, Any]) -> None:
    add(tmp_path, "patchcore", "bottle", **(SETTING | other))
    assert run(tmp_path) == []
    done = write_report(tmp_path)
    assert "calibration" not in json.dumps(done.summary)
    assert not (tmp_path / "report/tables/calibration.csv").exists()


def test_the_papers_own_numbers_are_not_held_against_each_other(tmp_path: Path) -> None:
    write_cells(tmp_path)
    assert not any("calibration" in line for line in write_report(tmp_path).summary)
