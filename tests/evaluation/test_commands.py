"""The commands of `fracgen eval` from the outside: what they print, write, leave out and refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import METHODS
from fracgen_eval.methods.panda import Panda
from fracgen_eval.predict.fitting import fit_model
from fracgen_eval.predict.request import Choice
from fracgen_eval.weights.backbones import WeightsSpec
from PIL import Image

from tests.command_line import Command, Ran, command_line
from tests.evaluation.grids import QUICK


@pytest.fixture
def fracgen(capsys: pytest.CaptureFixture[str]) -> Command:
    return command_line(capsys)


@pytest.fixture(scope="module")
def pictures(surfaces: Path) -> list[Path]:
    return sorted((surfaces / "gravel" / "test" / "stain").iterdir())


@pytest.fixture
def predict(fracgen: Command, tmp_path: Path) -> Command:
    """`fracgen eval predict` with small pictures on the CPU."""
    (tmp_path / "quick.json").write_text(json.dumps(QUICK))

    def call(*words: object) -> Ran:
        settings = [] if "--load" in words else ["--settings", tmp_path / "quick.json"]
        return fracgen("eval", "predict", *words, *settings, "--device", "cpu")

    return call


def test_predict_fits_keeps_and_uses_a_model(
    predict: Command, surfaces: Path, pictures: list[Path], tmp_path: Path
) -> None:
    good, kept = surfaces / "gravel" / "train" / "good", tmp_path / "kept.safetensors"
    first = predict("--train", good, "--save", kept, "--weights", "random", "--json", *pictures)
    second = predict("--load", kept, "--json", *pictures, "-o", tmp_path / "h")
    assert (first.code, second.code) == (0, 0)
    loose = predict("--load", kept, "--json", "--false-alarms", 0.9, *pictures)
    rows = [[json.loads(line) for line in ran.out.splitlines()] for ran in (first, second, loose)]
    assert [r["score"] for r in rows[0]] == [r["score"] for r in rows[1]]
    assert {r["path"] for r in rows[0]} == set(map(str, pictures))
    assert rows[0] == sorted(rows[0], key=lambda r: -r["score"])
    assert len(list((tmp_path / "h").glob("*_patchcore.png"))) == len(pictures)
    for rate, judged in ((0.05, rows[1]), (0.9, rows[2])):
        assert [r["flagged"] for r in judged] == [r["p_value"] <= rate for r in judged]
    assert [r["flagged"] for r in rows[1]] != [r["flagged"] for r in rows[2]]


def test_predict_says_what_it_left_out(
    predict: Command, surfaces: Path, pictures: list[Path], tmp_path: Path
) -> None:
    good = tmp_path / "good"
    shutil.copytree(surfaces / "gravel" / "train" / "good", good)
    (good / "lot2").mkdir()
    (good / "000.png").rename(good / "lot2/000.png")
    (good / ".DS_Store").touch()
    ran = predict("--train", good, "--weights", "random", pictures[0])
    assert (ran.code, ran.err.splitlines()[0]) == (
        0, f"fracgen: {good}: left out 1 picture (lot2/000.png), 1 hidden file or folder (.DS_Store)"
    )  # fmt: skip
    for path in good.glob("*.png"):
        path.unlink()
    with pytest.raises(EvaluationError, match=r"no pictures .* left out 1 picture \(lot2/000\.png\).*; give the"):
        fit_model(Choice(weights=WeightsSpec("random")), good)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good/0.png", "notes.png"], "notes.png: cannot be read as an image"),
        (["good/0.png", "float.tif"], "float.tif: an image of floating-point numbers, which is not read: save it"),
        (["good/0.png", "-o", "notes.png"], "notes.png is a file: name a folder for the results"),
        (["good/0.png", "--false-alarms", "1"], "a rate of 1 false alarms: use a number above 0 and below 1"),
        (["good/0.png", "--calibrate", "nowhere"], "nowhere: no such folder of good pictures of another day"),
        (["good/0.png", "empty"], "empty: no pictures (.png, "),
        (["good/0.png", "--save", "nowhere/m.safetensors"], "there is no folder nowhere"),
        (["good/0.png", "--save", "good"], "good is a folder"),
    ],
)  # fmt: skip
def test_what_predict_cannot_read_or_write_is_refused_before_it_fits(
    arguments: list[str], message: str, fracgen: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good").mkdir()
    Path("empty").mkdir()
    Image.new("L", (8, 8)).save("good/0.png")
    Image.new("F", (8, 8)).save("float.tif")
    Path("notes.png").write_text("hello")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr("fracgen_eval.predict.run.fit_model", None)
    ran = fracgen("eval", "predict", "--train", "good", "--device", "cpu", *arguments)
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert message in ran.err
    assert sorted(tmp_path.rglob("*")) == before


def test_predict_takes_the_packages_own_weights_where_none_are_named(
    predict: Command, surfaces: Path, pictures: list[Path]
) -> None:
    words = ["--train", surfaces / "gravel" / "train" / "good", "--json", pictures[0]]
    unnamed, named = predict(*words), predict(*words, "--weights", "fractal")
    assert (unnamed.code, unnamed.out) == (0, named.out)
    refused = predict(*words, "--model", "resnet50")
    assert refused.code == 2
    assert "brings no fractal weights of 'resnet50' (there are those of " in refused.err


@pytest.fixture
def grid(fracgen: Command, surfaces: Path, tmp_path: Path) -> Command:
    """`fracgen eval run` of PANDA on two categories."""
    (tmp_path / "quick.json").write_text(json.dumps(QUICK))

    def call(*words: object) -> Ran:
        return fracgen(
            "eval", "run", "--method", "panda", "--root", surfaces, "--category", "gravel,grass", "--weights", "random",
            "--model", "resnet18", "--limit", "small", "--settings", tmp_path / "quick.json", "--device", "cpu",
            "-o", tmp_path / "out", *words,
        )  # fmt: skip

    return call


def test_a_grid_is_announced_run_and_listed(grid: Command, fracgen: Command, tmp_path: Path) -> None:
    dry = grid("--dry-run")
    assert (dry.code, len(dry.out.splitlines())) == (0, 2)
    assert "2 cells to run" in dry.err
    assert not (tmp_path / "out").exists()
    done = grid()
    assert (done.code, done.out.strip()) == (0, str(tmp_path / "out"))
    assert "[2/2] panda surfaces/grass random seed 0: image AUROC" in done.err
    listed = [json.loads(line) for line in fracgen("eval", "list", tmp_path / "out", "--json").out.splitlines()]
    assert {r["cell"]["category"] for r in listed} == {"gravel", "grass"}
    assert {p.split("/", 1)[1] for p in dry.out.split()} == {r["path"].split("/", 2)[2][:-5] for r in listed}


def test_a_grid_with_failed_cells_exits_with_3(grid: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(Panda, "fit", broken)
    ran = grid()
    assert ran.code == 3
    assert "failed: out of luck" in ran.err


def test_list_names_methods_and_categories(fracgen: Command) -> None:
    listed = json.loads(fracgen("eval", "list", "--json").out)
    assert {*METHODS, "anomaly_dino", "rad", "efficient_ad"} == set(listed["methods"])
    assert sum(len(listed["datasets"][d]) for d in ("mvtec", "visa")) == 27
