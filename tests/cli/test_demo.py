"""`fracgen demo`: all of it once, then nothing twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fracgen.training.built_in import models
from tests.command_line import Command

WEIGHTS = ("random", *(["fractal"] if "resnet18" in models() else []), "fractal-demo")
TINY = ("demo", "--images", 128, "--category", "brick", "--method", "padim,panda", "--device", "cpu")


@pytest.mark.usefixtures("undrawn")
def test_a_demo_runs_from_codes_to_report_and_a_second_skips_it(
    fracgen: Command, few_surfaces: Callable[[int], None]
) -> None:
    few_surfaces(4)
    first = fracgen(*TINY)
    assert first.code == 0, first.err
    (path,) = first.out.splitlines()
    assert Path(path).is_file()
    for name in ("bank.safetensors", "sheet.png", "pretrain/export/model.safetensors"):
        assert (Path("demo") / name).is_file()
    cells = [json.loads(p.read_text()) for p in Path("demo/eval/cells").rglob("*.json")]
    assert {(c["cell"]["method"], c["cell"]["weights"]) for c in cells} == {
        (method, weights) for method in ("padim", "panda") for weights in WEIGHTS
    } | {("padim", "imagenet")}
    for command in ("sample", "render", "pretrain", "eval run"):
        assert f"$ fracgen {command} " in first.err
    assert first.err.count("that took") == 6
    assert "measured with resnet18, mean image AUROC over 2 methods and 1 category: random " in first.err
    assert "measured with tf_efficientnet_lite0, mean image AUROC over 1 method and 1 category: " in first.err
    assert "points [" in first.err

    made = {p: p.stat().st_mtime_ns for p in Path("demo").rglob("*.safetensors")}
    again = fracgen(*TINY)
    assert (again.code, again.out) == (0, first.out)
    assert "$ fracgen pretrain" not in again.err
    assert f"0 cells to run, {2 * len(WEIGHTS)} finished" in again.err
    assert made == {p: p.stat().st_mtime_ns for p in Path("demo").rglob("*.safetensors")}

    other = fracgen(*TINY, "--seed", 1)
    assert other.code == 2
    assert "begun with another --seed" in other.err


def test_a_folder_that_cannot_be_used_is_refused(fracgen: Command) -> None:
    Path("taken").write_text("")
    Path("full").mkdir()
    Path("full/thesis.tex").write_text("")
    for name in ("taken", "full"):
        ran = fracgen("demo", "-o", name)
        assert ran.code == 2
        assert ran.out == ""
        assert ran.err.count("\n") == 1
        assert "name a" in ran.err


@pytest.mark.parametrize("wrong", [("--method", "patchcor"), ("--category", "brik"), ("--device", "gpu")])
def test_what_would_fail_minutes_later_is_refused_at_once(fracgen: Command, wrong: tuple[str, str]) -> None:
    ran = fracgen("demo", *wrong)
    assert ran.code == 2
    assert wrong[1] in ran.err
    assert ran.err.count("\n") == 1
    assert not Path("demo").exists()
