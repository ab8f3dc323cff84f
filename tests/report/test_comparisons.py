"""What stands beside each other in a report was measured on the same: categories, seeds, pictures."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.methods import settings_for
from fracgen_eval.report import write_report
from fracgen_eval.report.by_defect import defect_tables
from fracgen_eval.report.charts import all_charts, spiders
from fracgen_eval.report.gallery import galleries
from fracgen_eval.report.gather import gather
from fracgen_eval.report.significance import compare, verdict
from fracgen_eval.report.tables import make_tables, missing
from fracgen_eval.report.text import number

from tests.fields import Fields
from tests.report.cells import add

pytestmark = pytest.mark.usefixtures("undrawn")


def test_seeds_give_mean_spread_and_a_paired_test(tmp_path: Path) -> None:
    for n in range(8):
        for seed in (0, 1, 2):
            add(tmp_path, category=f"c{n}", seed=seed, value=0.6 + 0.01 * seed)
            add(tmp_path, category=f"c{n}", weights="fractal", seed=seed, value=0.7 + 0.01 * seed + 0.003 * n)
            add(tmp_path, "padim", f"c{n}", seed=seed, value=0.7)
            add(tmp_path, "padim", f"c{n}", "fractal", seed, 0.7 + 0.01 * (-1) ** n * (n + 1))
    table = make_tables(gather(tmp_path))[0]
    value = table.values["c0", "patchcore", "random"]
    assert value.mean == pytest.approx(61)
    assert value.spread == pytest.approx(1)
    assert value.seeds == (0, 1, 2)
    patchcore, padim = compare(table)
    assert patchcore.difference == pytest.approx(10 + 0.3 * 3.5)
    assert patchcore.p == pytest.approx(2 * 2**-8 * 2)  # all eight of one sign, exact, two-sided, Holm of two
    assert padim.p is not None
    assert padim.p > 0.5
    assert "61.0 ± 1.0" in write_report(tmp_path).html.read_text()


def test_layers_and_shots_are_compared_over_the_same_categories(tmp_path: Path) -> None:
    """A set of layers that ran on the easy category alone must not look better for it."""
    for category, value in (("brick", 0.9), ("coins", 0.5)):
        add(tmp_path, category=category, value=value)
        add(tmp_path, category=category, shots=1, value=value - 0.1)
    add(tmp_path, layers=("layer1", "layer2"), value=0.8)
    add(tmp_path, category="coins", shots=2, value=0.6)
    found = gather(tmp_path)
    charts = {c.slug: c for c in all_charts(found, make_tables(found))}
    layers = charts["surfaces-resnet18-honest-layers-patchcore-image_auroc"]
    assert layers.rows == [["{1, 2}", "80.0"], ["{2, 3}", "90.0"]]
    assert "brick" in layers.title
    shots = charts["surfaces-resnet18-honest-shots-patchcore-image_auroc"]
    assert shots.rows == [["1", "40.0"], ["2", "60.0"]]
    assert "coins" in shots.title
    assert not found.problems

    add(tmp_path, category="gravel", layers=("layer3", "layer4"))
    found = gather(tmp_path)
    assert not any("layers" in c.slug for c in all_charts(found, make_tables(found)))
    assert sum("is not drawn" in problem for problem in found.problems) == 3


def test_the_summary_counts_only_what_all_weights_have(tmp_path: Path) -> None:
    for category, random, fractal in (("brick", 0.9, 0.7), ("coins", 0.5, 0.6), ("gravel", 0.8, 0.80004)):
        add(tmp_path, category=category, value=random)
        add(tmp_path, category=category, weights="fractal", value=fractal)
    add(tmp_path, "padim", value=0.1, settings=settings_for("padim") | {"features": 10})
    table = make_tables(gather(tmp_path))[0]
    first, second = (table.overall[w] for w in ("random", "fractal"))
    assert first.mean == pytest.approx(100 * 2.2 / 3)
    assert (first.count, first.total) == (3, 6)
    assert second.mean == pytest.approx(100 * 2.1 / 3, abs=0.01)
    assert table.best_overall == {"random"}
    assert (table.wins("random"), table.wins("fractal")) == (1, 1)  # 80.0 and 80.0, as printed, is nobody's
    assert list(table.titles.values()) == ["PatchCore", "PaDiM"]
    done = write_report(tmp_path)
    page = done.html.read_text()
    assert "3 of 6" in page
    assert "PaDiM (features=10)" in page
    assert "  better in 1 / 1 of 3 cells" in done.summary


def test_one_spider_with_all_weights_where_there_are_no_groups(tmp_path: Path) -> None:
    for n, method in enumerate(("patchcore", "padim", "stfpm")):
        for weights in ("random", "fractal"):
            add(tmp_path, method, weights=weights, value=0.5 + n / 10)
    add(tmp_path, category="coins", value=0.1)  # of no use beside weights that were not run on it
    found = gather(tmp_path)
    (chart,) = spiders(make_tables(found)[0])
    assert chart.header == ["mean over", "PatchCore", "PaDiM", "STFPM"]
    assert chart.rows == [["random", "50.0", "60.0", "70.0"], ["fractal", "50.0", "60.0", "70.0"]]


def test_layers_are_compared_over_the_same_seeds_each_once(tmp_path: Path) -> None:
    for seed, value in ((0, 0.9), (1, 0.6), (2, 0.6)):
        add(tmp_path, seed=seed, value=value)
    add(tmp_path, layers=("layer1", "layer2"), value=0.88)
    found = gather(tmp_path)
    chart = next(c for c in all_charts(found, make_tables(found)) if "layers" in c.slug)
    assert chart.rows == [["{1, 2}", "88.0"], ["{2, 3}", "90.0"]]
    assert "brick, seed 0 " in chart.title


def test_seeds_that_are_missing_or_differ_are_named_and_not_compared(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        add(tmp_path, seed=seed, value=0.6)
    add(tmp_path, weights="fractal", value=0.5)
    add(tmp_path, weights="fractal", seed=1, status="failed")
    table = make_tables(gather(tmp_path))[0]
    assert number(table.values["brick", "patchcore", "fractal"], len(table.seeds)) == "50.0 (1 of 3 seeds)"
    assert missing([table]) == [
        "patchcore, brick, fractal: seed 2 not run (surfaces, resnet18, protocol honest)"
    ]  # fmt: skip
    assert not table.better
    assert table.compared == []
    assert "nothing in common" in write_report(tmp_path).html.read_text()


def test_other_seeds_or_the_order_of_a_sum_are_no_significant_difference(tmp_path: Path) -> None:
    for n in range(8):
        for seed, value in enumerate((0.57 - 0.013, 0.57, 0.57 + 0.013)):
            add(tmp_path, category=f"c{n}", seed=seed, value=value)
            add(tmp_path, category=f"c{n}", seed=seed, weights="fractal", value=0.57)
            add(tmp_path, category=f"c{n}", seed=seed + 3, weights="other", value=0.7)
    equal, other = compare(make_tables(gather(tmp_path))[0])
    assert (equal.second, equal.p, equal.why_not) == ("fractal", None, "no difference at all")
    assert (other.second, other.p, other.difference) == ("other", None, None)
    assert other.why_not.startswith("0 categories with the same seeds")


def test_an_average_with_gaps_is_neither_best_nor_beside_the_papers(tmp_path: Path) -> None:
    from fracgen_eval.report.published import published
    from fracgen_eval.report.tables import GROUPS

    classes = [c for group in GROUPS["mvtec"].values() for c in group]
    shared: Fields = {"dataset": "mvtec", "weights": "imagenet", "model": "wide_resnet50_2"}
    for category in classes:
        add(tmp_path, "padim", category, value=0.9, **shared)
        if category != "grid":
            add(tmp_path, "stfpm", category, value=0.95, **shared)
            add(tmp_path, "rd", category, value=0.95, **shared)
    done = write_report(tmp_path)
    (path,) = (p for p in done.files if p.name.endswith("image_auroc.csv"))
    rows = {r["method"]: r for r in csv.DictReader(path.read_text().splitlines()) if r["class"] == "average"}
    assert float(rows["padim"]["published"]) == published()["mvtec", "image_auroc", "average", "padim", "imagenet"]
    assert (rows["stfpm"]["state"], rows["stfpm"]["published"], rows["stfpm"]["difference"]) == ("14/15", "", "")
    table = make_tables(gather(tmp_path))[0]
    assert table.best_averages == {("padim", "imagenet")}
    assert ("textures", "stfpm", "imagenet") not in table.group_means()
    assert "  STFPM  95.0 (14 of 15)" in done.summary


@pytest.mark.parametrize("other", [{"model": "resnet18"}, {"limit": "12"}])
def test_other_networks_and_trial_runs_do_not_stand_beside_the_paper(tmp_path: Path, other: Fields) -> None:
    more: Fields = {"model": "wide_resnet50_2", **other}
    add(tmp_path, dataset="mvtec", category="grid", weights="imagenet", **more)
    page = write_report(tmp_path).html.read_text()
    assert "Table 1." not in page
    assert 'id="show-published"' not in page


def test_cells_that_saw_other_pictures_are_named_and_not_counted(tmp_path: Path) -> None:
    for seed in (0, 1):
        add(tmp_path, seed=seed)
        add(tmp_path, seed=seed, weights="fractal", value=0.7, data_digest="d" if seed else "e")
    found = gather(tmp_path)
    assert len(found.cells) == 3
    assert "saw other pictures of surfaces/brick" in found.problems[0]


def test_a_gallery_finds_a_picture_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    masks = np.zeros((2, 8, 8), bool)
    masks[0, :4], masks[1, :, :2] = True, True
    names = ["test/a.png", "test/b.png"]
    for weights, order in (("random", [0, 1]), ("fractal", [1, 0])):
        np.savez(tmp_path / f"maps/{weights}.npz", maps=masks[order].astype(np.float32), masks=masks[order])
        images = [{"path": names[n], "defect": "stain", "score": 1.0 + n} for n in order]
        add(tmp_path, weights=weights, maps=f"maps/{weights}.npz", images=images, side=8)
    (gallery,), _ = galleries(gather(tmp_path), {})
    assert len(gallery.cases) == 2
    for case in gallery.cases:
        assert [quality for *_, quality in case.judged] == [100, 100]


def test_cost_is_that_of_full_cells_on_the_same_categories(tmp_path: Path) -> None:
    add(tmp_path, wall_s=100.0, device="cpu")
    add(tmp_path, "padim", wall_s=10.0, device="cpu")
    add(tmp_path, "padim", "coins", wall_s=999.0, device="cpu")
    for shots in (1, 2):
        add(tmp_path, shots=shots, wall_s=1.0, device="cpu")
    found = gather(tmp_path)
    chart = next(c for c in all_charts(found, make_tables(found)) if c.slug.endswith("cpu-time"))
    assert chart.rows == [["PatchCore", "100.0"], ["PaDiM", "10.0"]]


def test_nothing_that_was_run_is_left_out(tmp_path: Path) -> None:
    add(tmp_path, layers=("layer1", "layer2"), value=0.7)
    add(tmp_path, "padim", layers=("layer1", "layer2", "layer3"), value=0.8)  # its own: the usual column
    add(tmp_path, layers=("layer1", "layer2"), shots=2, value=0.6)
    found = gather(tmp_path)
    table = make_tables(found)[0]
    assert table.columns == ["patchcore layers={1, 2}", "padim"]
    assert table.values["brick", table.columns[0], "random"].mean == pytest.approx(70)
    slugs = {c.slug for c in all_charts(found, [table])}
    assert any("shots-patchcore-layers=-1-2" in slug for slug in slugs), slugs


def test_weights_without_a_number_do_not_empty_the_comparison(tmp_path: Path) -> None:
    for weights in ("random", "fractal"):
        for method in ("patchcore", "panda"):
            add(tmp_path, method, weights=weights)
    add(tmp_path, weights="third", status="failed")
    add(tmp_path, "panda", weights="imagenet")
    image, pixel = make_tables(gather(tmp_path))[:2]
    assert image.compared == [("brick", "panda")]
    assert pixel.weights == ["random", "fractal", "third"]
    assert pixel.compared == [("brick", "patchcore")]


def test_cutpastes_untouched_features_stand_beside_it_and_are_not_counted(tmp_path: Path) -> None:
    for category, untouched in (("brick", 0.8), ("coins", 0.6)):
        add(tmp_path, "cutpaste", category, value=0.9, beside={"steps=0": {"image_auroc": untouched}})
    table = make_tables(gather(tmp_path))[0]
    assert table.beside["coins", "CutPaste, steps=0", "random"].mean == pytest.approx(60)
    assert table.columns == ["cutpaste"]
    assert table.averages["cutpaste", "random"].mean == pytest.approx(90)
    page = write_report(tmp_path).html.read_text()
    assert "random 70.0 (brick 80.0, coins 60.0)" in " ".join(page.split())


def test_random_networks_are_one_row_with_their_spread(tmp_path: Path) -> None:
    for category in ("brick", "coins"):
        for n, value in enumerate((0.5, 0.6, 0.7)):
            name = f"random-{n}" if n else "random"
            drawn = {"image_auroc": [value, value + 0.1]}
            add(tmp_path, category=category, weights=name, value=value, replicates=drawn)
        add(tmp_path, category=category, weights="fractal", value=0.8)
    table = make_tables(gather(tmp_path))[0]
    assert table.weights == ["random", "fractal"]
    random = table.values["brick", "patchcore", "random"]
    assert random.mean == pytest.approx(60)
    assert random.spread == pytest.approx(10)
    assert (random.seeds, random.networks) == ((0,), (0, 1, 2))
    assert random.replicates == pytest.approx([0.6, 0.7])
    assert table.better == {(c, "patchcore", "fractal") for c in ("brick", "coins")}
    page = write_report(tmp_path).html.read_text()
    assert "60.0 ± 10.0" in page
    assert "random: mean ± standard deviation over 3 random networks" in page
    assert "random-1" not in page


def test_a_random_network_that_was_not_run_is_named(tmp_path: Path) -> None:
    add(tmp_path, category="brick")
    add(tmp_path, category="brick", weights="random-4")
    add(tmp_path, category="coins")
    lines = missing(make_tables(gather(tmp_path)))
    assert [line for line in lines if "network 4 without a number" in line and "coins" in line]
    assert len(lines) == 1


def test_roc_curves_are_means_over_what_all_weights_have(tmp_path: Path) -> None:
    def images(good: list[float], bad: list[float]) -> list[Fields]:
        return [{"path": f"{n}.png", "defect": "good", "score": s} for n, s in enumerate(good)] + [
            {"path": f"d{n}.png", "defect": "crack", "score": s} for n, s in enumerate(bad)
        ]

    perfect, reversed_ = images([1, 2, 3, 4], [5, 6]), images([3, 4, 5, 6], [1, 2])
    half = images([1, 2, 3, 4], [2.5, 6])  # one defect above all, one above half of the good ones
    for category, scores in (("brick", half), ("coins", perfect)):
        add(tmp_path, category=category, images=scores)
        add(tmp_path, category=category, weights="fractal", images=perfect)
    add(tmp_path, category="grass", images=reversed_)  # fractal has none of it
    charts = [c for c in all_charts(gather(tmp_path), []) if "roc" in c.slug]
    assert [c.slug for c in charts] == ["surfaces-resnet18-honest-roc-patchcore"]
    assert charts[0].header == ["false-positive rate / %", "random", "fractal"]
    rows = {int(row[0]): row[1:] for row in charts[0].rows}
    assert rows[1] == ["75.0", "100.0"]  # brick 50, coins 100
    assert rows[50] == ["100.0", "100.0"]
    assert "mean over 2 categories" in charts[0].title
    drawn = write_report(tmp_path)
    assert "surfaces-resnet18-honest-roc-patchcore.svg" in {p.name for p in drawn.files}


def test_of_false_alarms_less_is_better_and_old_results_have_none(tmp_path: Path) -> None:
    for category, alarms in (("brick", (0.1, 0.3)), ("coins", (0.4, 0.2)), ("fur", (0.2, 0.25))):
        for weights, share in zip(("random", "fractal"), alarms, strict=True):
            add(tmp_path, category=category, weights=weights,
                metrics={"image_auroc": 0.5, "false_alarms": share, "detections": share})  # fmt: skip
            add(tmp_path, "padim", category, weights, metrics={"image_auroc": 0.5})
    tables = {table.metric: table for table in make_tables(gather(tmp_path))}
    assert list(tables) == ["image_auroc", "false_alarms", "detections"]
    fewer, more = tables["false_alarms"], tables["detections"]
    assert {key[::2] for key in fewer.better} == {("brick", "random"), ("coins", "fractal"), ("fur", "random")}
    assert {key[::2] for key in more.better} == {("brick", "fractal"), ("coins", "random"), ("fur", "fractal")}
    assert (fewer.best_overall, more.best_overall) == ({"random"}, {"fractal"})
    assert (fewer.wins("random"), more.wins("random")) == (2, 1)
    assert fewer.best_averages == {("patchcore", "random"), ("patchcore", "fractal")}
    assert (number(fewer.values["fur", "padim", "random"]), len(missing([*tables.values()]))) == ("n/a", 6)
    assert "padim, fur, random: has no false alarms, detections (surfaces" in missing([*tables.values()])[-2]


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
