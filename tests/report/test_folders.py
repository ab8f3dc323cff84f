"""Folders as people have them: failed, missing, double, foreign, hostile."""

import json
import shutil

import numpy as np
import pytest
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import settings_for
from fracgen_eval.report import write_report
from fracgen_eval.report.charts import all_charts, spiders
from fracgen_eval.report.gather import gather
from fracgen_eval.report.significance import compare
from fracgen_eval.report.tables import make_tables, missing
from fracgen_eval.results import result_path

from fracgen.cli import run
from tests.report.cells import add


def test_a_messy_folder_gives_a_report_that_says_so(tmp_path, capsys):
    first = add(tmp_path)
    add(tmp_path, weights="fractal", status="failed")
    add(tmp_path, category="gravel", weights="fractal", value=0.8)
    again = result_path(tmp_path, first).with_name("copy-of-it.json")
    shutil.copy(result_path(tmp_path, first), again)
    other = json.loads(again.read_text())
    other["metrics"]["image_auroc"], other["finished"] = 0.5, "2025-01-01T00:00:00+00:00"
    again.with_name("older.json").write_text(json.dumps(other))
    (tmp_path / "cells/broken.json").write_text('{"schema": ')
    (tmp_path / "cells/foreign.json").write_text('{"schema": "other/1"}')
    (tmp_path / "cells/list.json").write_text("[1]")
    (tmp_path / "cells/notes.txt").write_text("hello")
    (tmp_path / "cells/bytes.json").write_bytes(b"\xff\xfe\x00")
    for name, change in {"nan": {"metrics": {"image_auroc": "0.9"}}, "large": {"metrics": {"image_auroc": 1.2}},
                         "bare": {"cell": {}}, "odd": {"cell": 3}}.items():  # fmt: skip
        (tmp_path / f"cells/{name}.json").write_text(json.dumps(other | change))
    assert run(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    page = (tmp_path / "report/report.html").read_text()
    assert printed.out.strip() == str(tmp_path / "report/report.html")
    for word in ("broken.json", "foreign.json", "list.json", "notes.txt", "bytes.json", "nan.json", "large.json",
                 "bare.json", "odd.json", "copy-of-it.json", "with the same numbers", "older.json",
                 "OTHER NUMBERS", "not run (textures"):  # fmt: skip
        assert word in page, word
    assert "&lt;b&gt;it broke&lt;/b&gt;" in page
    assert "<b>it broke" not in page
    found = gather(tmp_path)
    assert [e.weights for e in found.failed] == ["fractal"]
    assert missing(make_tables(found)) == ["patchcore, gravel, random: not run (textures, resnet18, protocol honest)"]
    assert "1 failed" in printed.err
    assert "1 not run" in printed.err
    assert make_tables(found)[0].value("brick", "patchcore", "random").mean == pytest.approx(90)


def test_only_failures_is_still_a_report(tmp_path):
    add(tmp_path, status="failed")
    assert "failed" in write_report(tmp_path).html.read_text()


@pytest.mark.parametrize("what", ["nothing", "empty", "foreign", "file out", "root", "published", "column"])
def test_refusals_are_one_line_and_write_nothing(tmp_path, capsys, what):
    folder, more = tmp_path / "eval", []
    if what != "nothing":
        (folder / "cells").mkdir(parents=True)
    if what == "foreign":
        (folder / "cells/a.json").write_text("{}")
    if what in ("file out", "root", "published", "column"):
        add(folder)
        (tmp_path / "file").write_text("")
        more = {
            "file out": ["-o", str(tmp_path / "file")], "root": ["--root", "textures=/nowhere"],
            "published": ["--published", "ours=fractals"], "column": ["--published", "random=gold"],
        }[what]  # fmt: skip
    assert run(["report", str(folder), *more]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("fracgen: ")
    assert len(said.splitlines()) == 1
    assert not (folder / "report").exists()


def test_names_are_escaped_in_every_format(tmp_path):
    add(tmp_path, category="a_b|<script>alert(1)</script>")
    out = write_report(tmp_path)
    assert "<script>alert" not in out.html.read_text()
    tex = next(p for p in out.files if p.suffix == ".tex").read_text()
    assert r"a\_b|<script>" in tex
    md = next(p for p in out.files if p.suffix == ".md").read_text()
    assert r"a\_b\|\<script\>" in md


def test_seeds_give_mean_spread_and_a_paired_test(tmp_path):
    for n in range(8):
        for seed in (0, 1, 2):
            add(tmp_path, category=f"c{n}", seed=seed, value=0.6 + 0.01 * seed)
            add(tmp_path, category=f"c{n}", weights="fractal", seed=seed, value=0.7 + 0.01 * seed + 0.003 * n)
            add(tmp_path, "padim", f"c{n}", seed=seed, value=0.7)
            add(tmp_path, "padim", f"c{n}", "fractal", seed, 0.7 + 0.01 * (-1) ** n * (n + 1))
    table = make_tables(gather(tmp_path))[0]
    value = table.value("c0", "patchcore", "random")
    assert (value.mean, value.spread, value.seeds) == (pytest.approx(61), pytest.approx(1), 3)
    patchcore, padim = compare(table)
    assert patchcore.difference == pytest.approx(10 + 0.3 * 3.5)
    assert patchcore.p == pytest.approx(2 * 2**-8 * 2)  # all eight of one sign, exact, two-sided, Holm of two
    assert padim.p is not None
    assert padim.p > 0.5
    assert "61.0 ± 1.0" in write_report(tmp_path).html.read_text()


def test_other_settings_weights_and_conditions_stand_apart(tmp_path):
    add(tmp_path)
    add(tmp_path, settings=settings_for("patchcore") | {"coreset": 0.01}, value=0.7)
    add(tmp_path, weights="fractal", weights_digest="aaaaaaaa", value=0.6)
    add(tmp_path, weights="fractal", weights_digest="bbbbbbbb", value=0.5)
    add(tmp_path, limit="12", value=0.4)
    found = gather(tmp_path)
    tables = [t for t in make_tables(found) if t.metric == "image_auroc"]
    assert not found.problems
    assert tables[0].columns == ["patchcore", "patchcore coreset=0.01"]
    assert tables[0].weights == ["random", "fractal:aaaa", "fractal:bbbb"]
    assert "TRIAL" in tables[1].title


def test_figures_of_layers_shots_and_cost(tmp_path):
    for n, layers in enumerate([None, ("layer1", "layer2"), ("layer3", "layer4")]):
        for weights in ("random", "fractal"):
            add(tmp_path, weights=weights, layers=layers, value=0.6 + n / 10, wall_s=3.0, device="cpu")
    for shots in (1, 2, 4):
        add(tmp_path, shots=shots, value=0.5 + shots / 10)
    out = write_report(tmp_path)
    names = {p.name for p in out.files if p.suffix == ".svg"}
    for word in ("layers-patchcore-image_auroc", "layers-patchcore-aupro", "shots-patchcore-pixel_auroc", "cpu-time"):
        assert any(word in n for n in names), (word, names)
    assert make_tables(gather(tmp_path))[0].value("brick", "patchcore", "random").mean == pytest.approx(60)
    page = out.html.read_text()
    assert "{1, 2}" in page
    assert "{2, 3}" in page


def test_layers_and_shots_are_compared_over_the_same_categories(tmp_path):
    """A set of layers that ran on the easy category alone must not look better for it."""
    for category, value in (("brick", 0.9), ("coins", 0.5)):
        add(tmp_path, category=category, value=value)
        add(tmp_path, category=category, shots=1, value=value - 0.1)
    add(tmp_path, layers=("layer1", "layer2"), value=0.8)
    add(tmp_path, category="coins", shots=2, value=0.6)
    found = gather(tmp_path)
    charts = {c.slug: c for c in all_charts(found, make_tables(found))}
    layers = charts["textures-resnet18-honest-layers-patchcore-image_auroc"]
    assert layers.rows == [["{1, 2}", "80.0"], ["{2, 3}", "90.0"]]
    assert "brick" in layers.title
    shots = charts["textures-resnet18-honest-shots-patchcore-image_auroc"]
    assert shots.rows == [["1", "40.0"], ["2", "60.0"]]
    assert "coins" in shots.title
    assert not found.problems

    add(tmp_path, category="gravel", layers=("layer3", "layer4"))
    found = gather(tmp_path)
    assert not any("layers" in c.slug for c in all_charts(found, make_tables(found)))
    assert sum("is not drawn" in problem for problem in found.problems) == 3


def test_the_summary_counts_only_what_all_weights_have(tmp_path):
    for category, random, fractal in (("brick", 0.9, 0.7), ("coins", 0.5, 0.6), ("gravel", 0.8, 0.80004)):
        add(tmp_path, category=category, value=random)
        add(tmp_path, category=category, weights="fractal", value=fractal)
    add(tmp_path, "padim", value=0.1, settings=settings_for("padim") | {"features": 10})
    table = make_tables(gather(tmp_path))[0]
    random, fractal = (table.overall(w) for w in ("random", "fractal"))
    assert (random.mean, random.count, random.total) == (pytest.approx(100 * 2.2 / 3), 3, 6)
    assert fractal.mean == pytest.approx(100 * 2.1 / 3, abs=0.01)
    assert table.best_overall() == {"random"}
    assert (table.wins("random"), table.wins("fractal")) == (1, 1)  # 80.0 and 80.0, as printed, is nobody's
    assert list(table.titles.values()) == ["PatchCore", "PaDiM"]
    done = write_report(tmp_path)
    page = done.html.read_text()
    assert "3 of 6" in page
    assert "PaDiM (features=10)" in page
    assert "  better in 1 / 1 of 3 cells" in done.summary


def test_one_spider_with_all_weights_where_there_are_no_groups(tmp_path):
    for n, method in enumerate(("patchcore", "padim", "stfpm")):
        for weights in ("random", "fractal"):
            add(tmp_path, method, weights=weights, value=0.5 + n / 10)
    add(tmp_path, category="coins", value=0.1)  # of no use beside weights that were not run on it
    found = gather(tmp_path)
    (chart,) = spiders(make_tables(found)[0])
    assert chart.header == ["mean over", "PatchCore", "PaDiM", "STFPM"]
    assert chart.rows == [["random", "50.0", "60.0", "70.0"], ["fractal", "50.0", "60.0", "70.0"]]


def test_maps_that_lead_out_of_the_folder_or_hold_pickles_are_refused(tmp_path):
    images = [{"path": "test/a.png", "defect": "hole", "score": 1.0}]
    np.savez(tmp_path / "secret.npz", maps=np.zeros((1, 4, 4)), masks=np.ones((1, 4, 4), bool))
    folder = tmp_path / "eval"
    add(folder, maps="../secret.npz", images=images, side=4)
    (folder / "maps").mkdir()
    np.savez(folder / "maps/p.npz", maps=np.array([{}], object), masks=np.ones((1, 4, 4), bool))
    add(folder, category="gravel", maps="maps/p.npz", images=images, side=4)
    problems = " ".join(write_report(folder).problems)
    assert "leads out of" in problems
    assert "allow_pickle" in problems


def test_an_old_reports_files_go_and_others_stay(tmp_path):
    first = add(tmp_path, dataset="folder")
    out = write_report(tmp_path)
    (out.html.parent / "mine.txt").write_text("mine")
    old = {p for p in out.files if "folder" in p.name}
    result_path(tmp_path, first).unlink()
    add(tmp_path)
    write_report(tmp_path)
    assert old
    assert not any(p.exists() for p in old)
    assert (out.html.parent / "mine.txt").read_text() == "mine"


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    add(tmp_path / "e")
    add(tmp_path / "e", "padim")
    one, two = (write_report(tmp_path / "e", tmp_path / name) for name in ("one", "two"))
    assert [p.read_bytes() for p in one.files] == [p.read_bytes() for p in two.files]


def test_no_results_at_all_is_an_error_of_the_evaluation(tmp_path):
    with pytest.raises(EvaluationError, match="fracgen eval run"):
        gather(tmp_path)
