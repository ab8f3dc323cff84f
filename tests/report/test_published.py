"""A report of the paper's numbers alone says what the paper says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import fmean

import pytest
from fracgen_eval.datasets.counts import published_counts
from fracgen_eval.methods import METHODS, settings_for
from fracgen_eval.report import write_report
from fracgen_eval.report.gather import gather
from fracgen_eval.report.published import AVERAGE, published, write_cells
from fracgen_eval.report.references import SOURCES, Compared, calibrate, references
from fracgen_eval.report.tables import GROUPS, Table, make_tables

from tests.fields import Fields
from tests.report.cells import add

pytestmark = pytest.mark.usefixtures("undrawn")

TABLES = Path(__file__).parents[2] / "evaluation/fracgen_eval/data/paper_tables.csv"
ROWS = list(csv.DictReader(TABLES.read_text().splitlines()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published")
    assert write_cells(out) == 27 * 8 * 2
    return out


@pytest.fixture(scope="module")
def tables(folder: Path) -> dict[int, Table]:
    return {t.number or 0: t for t in make_tables(gather(folder))}


def test_the_six_tables_in_order(tables: dict[int, Table]) -> None:
    assert list(tables) == [1, 2, 3, 4, 5, 6]
    assert [len(t.classes) for t in tables.values()] == [15] * 3 + [12] * 3
    assert [len(t.columns) for t in tables.values()] == [8, 6, 6] * 2
    assert not any(t.absent for t in tables.values())


def test_every_cell_and_the_one_that_is_missing(tables: dict[int, Table]) -> None:
    for row in ROWS:
        if row["class"] != AVERAGE:
            for w in ("imagenet", "fractals"):
                value = tables[int(row["table"])].values[row["class"], row["method"], w]
                if row[w]:
                    assert value.mean == pytest.approx(float(row[w]), abs=1e-9)
                else:
                    assert (row["class"], row["method"], w) == ("carpet", "fastflow", "imagenet")
                    assert (value.mean, value.state) == (None, "none")


def test_averages_are_the_papers(tables: dict[int, Table]) -> None:
    checked = 0
    for row in (r for r in ROWS if r["class"] == AVERAGE):
        for w in ("imagenet", "fractals"):
            table = tables[int(row["table"])]
            mean = table.averages[row["method"], w].mean
            assert mean == pytest.approx(float(row[w]), abs=0.05 + 1e-9), (row, mean)
            assert table.published_average(row["method"], w) == float(row[w])
            checked += 1
    assert checked == 80
    assert tables[3].averages["fastflow", "imagenet"].count == 14


def test_best_of_each_row_with_ties(tables: dict[int, Table]) -> None:
    ties = 0
    for number, table in tables.items():
        for name in table.classes:
            for w in table.weights:
                row = {r["method"]: round(float(r[w]), 1) for r in ROWS
                       if r["table"] == str(number) and r["class"] == name and r[w]}  # fmt: skip
                best = {m for m, v in row.items() if v == max(row.values())}
                assert {m for r, m, of in table.best if (r, of) == (name, w)} == best
                ties += len(best) > 1
    assert ties == 9
    assert {key for key in tables[1].best if key[::2] == ("leather", "imagenet")} == {
        ("leather", method, "imagenet") for method in ("patchcore", "rd", "cutpaste")
    }
    assert ("cutpaste", "fractals") in tables[1].best_averages
    assert len(tables[1].best_averages) == 2
    assert ("wood", "fastflow", "fractals") in tables[1].better


def test_spider_group_means_recomputed(tables: dict[int, Table]) -> None:
    for number in (1, 4):
        table, means = tables[number], tables[number].group_means()
        assert len(means) == len(GROUPS[table.condition.dataset]) * 8 * 2
        for (group, method, w), mean in means.items():
            numbers = [published()[table.condition.dataset, "image_auroc", c, method, w]
                       for c in GROUPS[table.condition.dataset][group]]  # fmt: skip
            assert mean == pytest.approx(sum(numbers) / len(numbers), abs=1e-9)
    rd = {g: tables[1].group_means()[g, "rd", "fractals"] for g in ("textures", "objects")}
    assert rd["objects"] - rd["textures"] == pytest.approx(13.9, abs=0.05)


def test_differences_from_the_paper_are_zero_and_files_are_written(folder: Path, tmp_path: Path) -> None:
    done = write_report(folder, tmp_path / "out")
    assert not done.problems
    assert done.summary[-1] == "1 not run or without a number"
    assert "fastflow, carpet, imagenet: has no AUPRO" in done.html.read_text()
    (table,) = (tmp_path / "out/tables").glob("mvtec*image_auroc.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert all(float(r["difference"]) == 0 for r in rows if r["class"] != AVERAGE)
    page = done.html.read_text()
    assert "not tested" in page
    assert "98.7" in page
    assert "could exceed 1" in page
    assert page.count("<figure>") == 4
    assert {p.suffix for p in done.files} == {".html", ".md", ".tex", ".csv", ".svg", ".png"}


SETTING: Fields = {"dataset": "mvtec", "model": "wide_resnet50_2", "protocol": "paper", "weights": "imagenet"}


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
def test_cells_of_another_setting_are_not_compared(tmp_path: Path, other: Fields) -> None:
    add(tmp_path, "patchcore", "bottle", **(SETTING | other))
    assert run(tmp_path) == []
    done = write_report(tmp_path)
    assert "calibration" not in json.dumps(done.summary)
    assert not (tmp_path / "report/tables/calibration.csv").exists()


def test_the_papers_own_numbers_are_not_held_against_each_other(tmp_path: Path) -> None:
    write_cells(tmp_path)
    assert not any("calibration" in line for line in write_report(tmp_path).summary)
