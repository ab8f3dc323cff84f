"""What a run refuses, what it says, and that nothing is ever begun again in silence."""

from __future__ import annotations

import csv
import dataclasses
import gc
import hashlib
import json
import pickle
import resource
import shutil
import threading
from pathlib import Path

import pytest
import torch

from fracgen import CodeBank
from fracgen.cli import run as command
from fracgen.cli.pretrain import Pretraining, read_files
from fracgen.formulas.formula import make_bank
from fracgen.training import checkpoint
from fracgen.training.arithmetic import Arithmetic
from fracgen.training.config import CONFIGS, Machine, named_config
from fracgen.training.folder import RunFolder
from fracgen.training.loop import Run
from fracgen.training.run import prepare
from tests.fields import Fields

from .conftest import TINY, train


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the finished run, to be spoilt."""
    shutil.copytree(finished.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def resume(run: RunFolder, which: str = "auto", name: str | None = None, **changes: object) -> Run:
    read = read_files(Pretraining(preset=name, output=run.path, resume=which, changes=changes))
    return prepare(read.config, run, Machine("cpu"), resume=which)


def test_the_folder_holds_what_it_should(finished: RunFolder) -> None:
    names = {path.relative_to(finished.path).as_posix() for path in finished.path.rglob("*") if path.is_file()}
    assert names == {
        "config.json", "bank.safetensors", "environment.json", "log.txt", "metrics.csv", "export/README.md",
        "checkpoints/step-000000002.ckpt", "checkpoints/step-000000003.ckpt", "export/config.json",
        "export/model.safetensors", "export/environment.json",
    }  # fmt: skip
    with finished.metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "3"]
    assert [row["images"] for row in rows] == ["8", "16", "20", "20"]
    assert 0 <= float(rows[-1]["validation_accuracy"]) <= 1
    assert float(rows[1]["images_per_second"]) > 0
    assert 0 < float(rows[0]["rendering_share"]) < 3
    assert json.loads(finished.environment.read_text())[0]["world_size"] == 1


def test_a_finished_run_that_is_resumed_takes_no_step(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.metrics.read_text()
    shutil.rmtree(run.export)
    again = resume(run)
    again.train()
    assert again.step == 3
    assert run.metrics.read_text() == before
    assert (run.export / "model.safetensors").is_file()
    assert "going on from step 3 of 3" in capsys.readouterr().err


def test_a_run_of_a_version_that_promised_nothing_goes_on_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONFIGS, "tiny", TINY)
    old = dataclasses.replace(TINY, recipe=dataclasses.replace(TINY.recipe, render_version=0))
    run = train(old, tmp_path / "run", max_steps=1)
    assert resume(run).config == old
    resume(run, name="tiny").train()
    assert f"{run.path}: render_version 0 promised nothing: it is drawn as version 1" in capsys.readouterr().err
    assert "render version 0" in (run.export / "README.md").read_text()


def test_a_run_that_stops_early_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(TINY, tmp_path / "run", max_steps=1)
    assert checkpoint.steps_in(run.checkpoints) == [0, 1]
    assert not run.export.exists()
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fracgen-loader")]
    assert "stopped after step 1 of 3: continue with --resume auto" in capsys.readouterr().err
    assert train(TINY, run.path, resume="auto").export.is_dir()
    assert checkpoint.newest(run.checkpoints)[0]["step"] == 3


def test_beginning_never_overwrites(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="already holds a run: continue it with --resume auto, or name another"):
        train(TINY, run.path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").touch()
    with pytest.raises(FileExistsError, match="already holds something else"):
        train(TINY, tmp_path / "photos")


@pytest.mark.parametrize(
    "left",
    [["bank.safetensors"], ["config.json", "bank.safetensors"],
     ["config.json", "bank.safetensors", "environment.json", "log.txt"], [".bank.safetensors.abcd1234.part"],
     ["config.json", "bank.safetensors", "checkpoints/.step-000000000.ckpt.abcd1234.part"]],
)  # fmt: skip
def test_a_run_killed_before_its_first_checkpoint_is_begun_anew(run: RunFolder, left: list[str]) -> None:
    parts = [name for name in left if name.endswith(".part")]
    for path in list(run.path.rglob("*")):
        if path.is_file() and path.relative_to(run.path).as_posix() not in left:
            path.unlink()
    run.export.rmdir()
    for name in parts:
        (run.path / name).write_bytes(b"half")
    assert not run.resumes("auto")
    other = dataclasses.replace(TINY, seed=5)  # no step was taken, so that nothing holds the run to its configuration
    run.begin(other, make_bank(other.bank, other.bank_seed), Arithmetic("cpu", "float32", False))
    assert run.read_config()[0] == other
    assert not list(run.path.rglob("*.part"))
    assert not run.begun


def test_truncated_checkpoints_are_passed_over_by_auto_and_told(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = checkpoint.path_of(run.checkpoints, 3)
    path.write_bytes(path.read_bytes()[:-1])
    resume(run)
    said = capsys.readouterr().err
    assert f"{path} is truncated or damaged" in said
    assert "going on from step 2 of 3" in said
    with pytest.raises(checkpoint.CheckpointError, match="is truncated or damaged: use the checkpoint before it"):
        resume(run, str(path))


def test_one_damaged_bit_is_noticed(run: RunFolder) -> None:
    path = checkpoint.path_of(run.checkpoints, 3)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(checkpoint.CheckpointError, match="is truncated or damaged"):
        checkpoint.load(path)


def test_a_run_without_whole_checkpoints_is_not_begun_again(run: RunFolder) -> None:
    for step in checkpoint.steps_in(run.checkpoints):
        checkpoint.path_of(run.checkpoints, step).write_bytes(b"")
    with pytest.raises(checkpoint.CheckpointError, match="the 2 in it are damaged; restore one, or begin anew with"):
        resume(run)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(checkpoint.CheckpointError, match=r"no whole checkpoint in .*: it holds none"):
        resume(run)


def test_foreign_checkpoints_are_refused(run: RunFolder, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}}, foreign)
    with pytest.raises(checkpoint.CheckpointError, match="is not a fracgen checkpoint"):
        resume(run, str(foreign))
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        resume(run, str(tmp_path / "none.ckpt"))
    other = train(dataclasses.replace(TINY, seed=5), tmp_path / "other", max_steps=1)
    with pytest.raises(checkpoint.CheckpointError, match=r"is of another run .*: seed: 0, 5"):
        resume(run, str(checkpoint.path_of(other.checkpoints, 1)))


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "was here",))

    torch.save({"step": Evil()}, tmp_path / "body")
    path = tmp_path / "step-000000001.ckpt"
    for body in ((tmp_path / "body").read_bytes(), pickle.dumps(Evil(), protocol=2)):
        path.write_bytes(checkpoint.MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
        with pytest.raises(checkpoint.CheckpointError, match="holds what no checkpoint holds"):
            checkpoint.load(path)
    assert not (tmp_path / "was here").exists()


def test_a_missing_or_other_bank_is_refused(run: RunFolder) -> None:
    run.bank.unlink()
    with pytest.raises(ValueError, match=r"the run's bank .*bank\.safetensors is missing: restore it"):
        resume(run)
    CodeBank.sample(4, 99, classes=2).save(run.bank)
    with pytest.raises(ValueError, match=r"has SHA-256 .*, the run was begun with"):
        resume(run)


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"recipe": TINY.recipe.at_size(64)}, "recipe.size: 32, 64"), ({"model": "resnet50"}, "model: 'resnet18', "),
     ({"learning_rate": 0.5}, "learning_rate: 0.02, 0.5"), ({"name": "quick"}, "preset: 'tiny', 'quick'")],
)  # fmt: skip
def test_a_changed_configuration_is_refused_on_resume(run: RunFolder, changes: Fields, told: str) -> None:
    with pytest.raises(ValueError, match="was begun with another configuration") as caught:
        resume(run, **changes)
    assert told in str(caught.value)


def test_a_damaged_configuration_is_told(run: RunFolder) -> None:
    run.config.write_text(run.config.read_text()[:100])
    with pytest.raises(ValueError, match=r"config\.json is damaged, edited or of another release"):
        resume(run)
    run.config.write_text("{}")
    with pytest.raises(ValueError, match="is not a run of this version"):
        resume(run)


def test_a_full_disk_stops_the_run_and_spares_its_checkpoints(tmp_path: Path) -> None:
    run = train(TINY, tmp_path / "run", max_steps=1)
    before = {path.name: path.stat().st_mtime_ns for path in run.checkpoints.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))  # writing more fails, as on a full disk
    try:
        with pytest.raises(OSError, match=r"cannot write checkpoint .*step-000000003.*the checkpoints before it are "
                                          r"whole: make room and continue with --resume auto"):  # fmt: skip
            train(TINY, run.path, resume="auto")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.stat().st_mtime_ns for path in run.checkpoints.iterdir()} == before
    train(TINY, run.path, resume="auto")
    assert checkpoint.newest(run.checkpoints)[0]["step"] == 3


@pytest.mark.parametrize("cut", [1, 2, 7, 29])
def test_part_of_a_row_that_a_full_disk_left_is_no_row(tmp_path: Path, cut: int) -> None:
    folder, whole = RunFolder(tmp_path), RunFolder(tmp_path / "whole")
    whole.path.mkdir()
    for step in (1, 50, 100):
        for run in (folder, whole)[: 2 if step < 100 else 1]:
            run.add_metrics({"step": step, "loss": 0.5, "images": 8 * step, "learning_rate": 0.1, "seconds": 12.34567})
    before = len(whole.metrics.read_bytes())
    folder.metrics.write_bytes(folder.metrics.read_bytes()[: before + cut])  # "1" of "100" would be a step
    folder.forget_after(1000)
    assert folder.metrics.read_text() == whole.metrics.read_text()


def test_ctrl_c_ends_a_run_and_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "_take_step", press)
    with pytest.raises(KeyboardInterrupt):
        train(TINY, tmp_path / "run")
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fracgen-loader")]


def test_a_checkpoint_of_the_former_version_is_continued(run: RunFolder) -> None:
    """It held the position of the loader and the schedule as well, which follow from the step."""
    state = checkpoint.load(checkpoint.path_of(run.checkpoints, 2))
    former = {"loader": {"epoch": 0, "batch": 2}, "schedule": {"last_epoch": 2}, "cells": None}
    shutil.rmtree(run.checkpoints)
    shutil.rmtree(run.export)
    run.checkpoints.mkdir()
    checkpoint.save({**state, **former}, run.checkpoints, 2)  # type: ignore[typeddict-item]
    before = [line.split(",")[:7] for line in run.metrics.read_text().splitlines()]
    train(TINY, run.path, resume="auto", log_steps=1)
    assert [line.split(",")[:7] for line in run.metrics.read_text().splitlines()] == before


def test_processes_that_do_not_divide_the_batch_are_refused_before_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"world_size 3 does not divide every batch .* use 2 ranks"):
        train(TINY, tmp_path / "run", devices=3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--preset", "papre"], 2, "unknown preset 'papre': use one of paper, "),
        (["--preset", "quick", "--model", "resnet19"], 2, "unknown model 'resnet19'"),
        (["--preset", "quick", "--bank", "none.safetensors"], 2, "no bank at none.safetensors"),
        (["--preset", "quick", "--resume", "none.ckpt"], 2, "no run at "),
        (["--preset", "quick", "--batch-size", "0"], 2, "batch_size 0 is out of range"),
        (["--preset", "quick", "--logger", "wandd"], 2, "logger 'wandd' is unknown"),
        (["--preset", "quick", "--device", "cuda:1"], 2, "device 'cuda:1' is unknown"),
        (["--preset", "quick", "--augment", "fulll"], 2, "unknown augmentation 'fulll': use one of none, "),
        (["--preset", "quick", "--objective", "dense"], 2, "unknown objective 'dense': use one of auto, "),
        (["--preset", "quick", "--objective", "pairs"], 2, "objective pairs compares pairs, and recipe"),
        (["--preset", "two-view", "--objective", "class"], 2, "objective class looks at single images"),
        (["--preset", "multi-instance", "--objective", "class"], 2, "whose images have several classes: use several"),
        (["--preset", "quick", "--views", "2", "--augment", "full"], 2, "pairs are not mixed: use --augment unmixed"),
        (["--preset", "two-view", "--label-smoothing", "0.1"], 2, "has no meaning for objective pairs"),
        (["--preset", "twins", "--model", "vit_b_32"], 2, "gives no feature maps of 4, 8, 16 pixels a cell: use a"),
        (["--preset", "quick", "--pictures", "0"], 2, "pictures 0 is out of range"),
        (["--preset", "quick", "--schedule", "linear"], 2, "unknown schedule 'linear'"),
    ],
)  # fmt: skip
def test_the_command_refuses_in_one_line(
    arguments: list[str], code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert command(["pretrain", "-o", "run", *(["--device", "cpu"] if "--device" not in arguments else []),
                    *arguments]) == code  # fmt: skip
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_commands_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "run")
    options = ["--size", "32", "--epochs", "1", "--epoch-size", "16", "--batch-size", "8", "--validation-size", "8"]
    first = ["pretrain", "--preset", "quick", "--device", "cpu", "--model", "mobilenet_v3_small", "-o", path, *options]
    assert command([*first, "--max-steps", "1", "--precision", "bfloat16", "--channels-last"]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert command([*first, "--resume", "auto"]) == 0
    assert command(["export", path, "-o", str(tmp_path / "out"), "--no-classifier"]) == 0
    assert (tmp_path / "out/model.safetensors").is_file()
    assert command([*first, "--seed", "3", "--resume", "auto"]) == 2
    assert "seed: 0, 3" in capsys.readouterr().err


def test_the_paper_s_configuration() -> None:
    paper = named_config("paper")
    assert (paper.bank.codes, paper.bank.classes, paper.epochs, paper.epoch_size, paper.batch_size) == (
        100_000, 1000, 100, 1_000_000, 512)  # fmt: skip
    assert (paper.optimizer, paper.learning_rate, paper.momentum, paper.weight_decay, paper.warm_up) == (
        "sgd", 0.1, 0.9, 1e-4, 0.1)  # fmt: skip
    assert (paper.model, paper.recipe.size, paper.steps) == ("wide_resnet50_2", 256, 195_400)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"learning_rate": float("nan")}, {"batch_size": 10**7},
                                    {"optimizer": "lion"}, {"seed": -1}, {"warm_up": 1.0}])  # fmt: skip
def test_bad_configurations_are_refused(change: Fields) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(named_config("paper"), **change)
