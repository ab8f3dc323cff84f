"""Folders as people have them: failed, missing, double, foreign, hostile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.results import result_path
from fracgen_eval.methods import settings_for
from fracgen_eval.report import write_report
from fracgen_eval.report.gallery import galleries
from fracgen_eval.report.gather import gather
from fracgen_eval.report.tables import make_tables, missing
from PIL import Image
from safetensors.torch import save_file

from fracgen.cli import run
from fracgen.support.files import whole_file
from tests.fields import Fields
from tests.report.cells import add

pytestmark = pytest.mark.usefixtures("undrawn")


def test_a_messy_folder_gives_a_report_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
                 "OTHER NUMBERS", "not run (surfaces"):  # fmt: skip
        assert word in page, word
    assert "&lt;b&gt;it broke&lt;/b&gt;" in page
    assert "<b>it broke" not in page
    found = gather(tmp_path)
    assert list(found.cells.weights[~found.cells.done]) == ["fractal"]
    assert missing(make_tables(found)) == ["patchcore, gravel, random: not run (surfaces, resnet18, protocol honest)"]
    assert "1 failed" in printed.err
    assert "1 not run or without a number" in printed.err
    assert make_tables(found)[0].values["brick", "patchcore", "random"].mean == pytest.approx(90)


def test_only_failures_is_still_a_report(tmp_path: Path) -> None:
    add(tmp_path, status="failed", layers=("layer1", "layer2"), shots=4)
    page = write_report(tmp_path).html.read_text()
    assert "Failed cells (1)" in page
    assert "surfaces/brick, random, seed 0, 4 training images: RuntimeError" in page


@pytest.mark.parametrize("what", ["nothing", "empty", "foreign", "file out", "root", "published", "column"])
def test_refusals_are_one_line_and_write_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    folder, more = tmp_path / "eval", []
    if what != "nothing":
        (folder / "cells").mkdir(parents=True)
    if what == "foreign":
        (folder / "cells/a.json").write_text("{}")
    if what in ("file out", "root", "published", "column"):
        add(folder)
        (tmp_path / "file").write_text("")
        more = {
            "file out": ["-o", str(tmp_path / "file")], "root": ["--root", "surfaces=/nowhere"],
            "published": ["--published", "ours=fractals"], "column": ["--published", "random=gold"],
        }[what]  # fmt: skip
    assert run(["report", str(folder), *more]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("fracgen: ")
    assert len(said.splitlines()) == 1
    assert not (folder / "report").exists()


def test_a_double_that_failed_gives_way_and_the_line_says_which_counts(tmp_path: Path) -> None:
    done = add(tmp_path)
    path = result_path(tmp_path, done)
    again = json.loads(path.read_text()) | {"status": "failed", "finished": "2027-01-01T00:00:00+00:00"}
    path.with_name("again.json").write_text(json.dumps(again))
    found = gather(tmp_path)
    assert list(found.cells.done) == [True]
    assert "which failed; the newest that is done counts" in found.problems[0]


def test_odd_files_never_stop_the_report(tmp_path: Path) -> None:
    images = [{"path": "test/a.png", "defect": "stain", "score": 1.0}]
    good = {"maps": np.zeros((1, 4, 4)), "masks": np.eye(4, dtype=bool)[None]}
    (tmp_path / "maps").mkdir()
    (tmp_path / "filters").mkdir()
    odd: dict[str, tuple[Any, Fields]] = {
        "empty": (b"", {}), "nan": (good | {"maps": np.full((1, 4, 4), np.nan)}, {}), "side": (good, {"side": None}),
        "defect": (good, {"images": [{"path": "test/a.png"}]}), "threshold": (good, {"mask_threshold": 0.5}),
        "many": (good, {"images": images * 2}),
    }  # fmt: skip
    for name, (content, more) in odd.items():
        path = tmp_path / f"maps/{name}.npz"
        path.write_bytes(content) if isinstance(content, bytes) else np.savez(path, **content)
        add(tmp_path, category=name, maps=f"maps/{name}.npz", **{"images": images, "side": 4, **more})
    save_file({"conv1.weight": torch.zeros(4, 3, 7, 7, dtype=torch.bfloat16)}, tmp_path / "filters/bf16.safetensors")
    save_file({"conv1.weight": torch.zeros(4, 3, 0, 0)}, tmp_path / "filters/empty.safetensors")
    (tmp_path / "cells/deep.json").write_text("[" * 100_000)
    add(tmp_path, "panda", shots=2, settings={k: f"value {n} of many" for n, k in enumerate(settings_for("panda"))})
    (tmp_path / "data/surfaces/side/test").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "data/surfaces/side/test/a.png")
    (tmp_path / "report").mkdir()
    ours = '{"schema": "fracgen-report/1", "files": '
    for manifest in ("{}", "[1]", '{"files": ["."]}', ours + "3}", ours + '[1, "figures/..", "a"]}'):
        (tmp_path / "report/report.json").write_text(manifest)
        told = " ".join(write_report(tmp_path).problems)
    for name in (*odd, "deep.json", "bf16", "empty.safetensors"):
        assert name in told, name


def test_a_report_deletes_nothing_but_reports_files(tmp_path: Path) -> None:
    add(tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report/mine.txt").write_text("mine")
    (tmp_path / "report/report.json").write_text('{"schema": "fracgen-report/1", "files": ["mine.txt", "../cells"]}')
    write_report(tmp_path)
    assert (tmp_path / "report/mine.txt").read_text() == "mine"


def test_pictures_outside_of_a_datasets_folder_are_not_shown(tmp_path: Path) -> None:
    root, folder = tmp_path / "data", tmp_path / "eval"
    (root / "brick").mkdir(parents=True)
    (tmp_path / "private/test").mkdir(parents=True)
    Image.new("RGB", (4, 4), "red").save(tmp_path / "private/test/a.png")
    (folder / "maps").mkdir(parents=True)
    np.savez(folder / "maps/m.npz", maps=np.zeros((1, 4, 4)), masks=np.eye(4, dtype=bool)[None])
    images = [{"path": "test/a.png", "defect": "stain", "score": 1.0}]
    add(folder, category="../private", dataset="folder", maps="maps/m.npz", images=images, side=4)
    shown, problems = galleries(gather(folder), {"folder": root})
    assert [case.picture for gallery in shown for case in gallery.cases] == [None]
    assert "leads out of" in " ".join(problems)


def test_names_are_escaped_in_every_format(tmp_path: Path) -> None:
    add(tmp_path, category="a_b|<script>alert(1)</script>")
    out = write_report(tmp_path)
    assert "<script>alert" not in out.html.read_text()
    tex = next(p for p in out.files if p.suffix == ".tex").read_text()
    assert r"a\_b\textbar{}\textless{}script\textgreater{}" in tex
    md = next(p for p in out.files if p.suffix == ".md").read_text()
    assert r"a\_b\|\<script\>" in md

    add(tmp_path, category="[x]\ny", weights="x](http://e.vil) <img src=x>")
    add(tmp_path, category="average", value=0.1)
    out = write_report(tmp_path)
    md, tex = (next(p for p in out.files if p.suffix == s).read_text() for s in (".md", ".tex"))
    assert "<img" not in md.replace(r"\<img", "")
    assert md.count("\n") == 4 + 3 + 1
    assert "{[}x{]} y & " in tex
    assert tex.count("\\midrule") == 2
    assert "| average | **10.0**" in md


def test_other_settings_weights_and_conditions_stand_apart(tmp_path: Path) -> None:
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


def test_maps_that_lead_out_of_the_folder_or_hold_pickles_are_refused(tmp_path: Path) -> None:
    images = [{"path": "test/a.png", "defect": "stain", "score": 1.0}]
    np.savez(tmp_path / "secret.npz", maps=np.zeros((1, 4, 4)), masks=np.ones((1, 4, 4), bool))
    folder = tmp_path / "eval"
    add(folder, maps="../secret.npz", images=images, side=4)
    (folder / "maps").mkdir()
    np.savez(folder / "maps/p.npz", maps=np.array([{}], object), masks=np.ones((1, 4, 4), bool))
    add(folder, category="gravel", maps="maps/p.npz", images=images, side=4)
    problems = " ".join(write_report(folder).problems)
    assert "leads out of" in problems
    assert "allow_pickle" in problems


def test_an_old_reports_files_go_and_others_stay(tmp_path: Path) -> None:
    first = add(tmp_path, dataset="folder")
    out = write_report(tmp_path)
    (out.html.parent / "mine.txt").write_text("mine")
    old = {p for p in out.files if "folder" in p.name}
    result_path(tmp_path, first).unlink()
    add(tmp_path)
    killed = [out.html.parent / name for name in (".report.html", "figures/.a.svg", "tables/.a.csv", "mine/.a.svg")]
    killed = [path.with_name(f"{path.name}.abcd_123.part") for path in killed]
    for path in killed:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    with whole_file(out.html.parent / "figures" / "live.svg") as live:  # of a report that is being written
        write_report(tmp_path)
        live.write(b"<svg>")
    assert [path.exists() for path in killed] == [False, False, False, True]  # the last is not the report's
    assert old
    assert not any(p.exists() for p in old)
    assert (out.html.parent / "mine.txt").read_text() == "mine"


def test_no_results_at_all_is_an_error_of_the_evaluation(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="fracgen eval run"):
        gather(tmp_path)
