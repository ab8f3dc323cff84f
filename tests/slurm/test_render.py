"""Shards as jobs under a real SLURM: the same files as on one machine, and only the missing ones made again."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fracgen import CodeBank
from fracgen.slurm.submission import SlurmFolder
from tests.slurm.cluster import LONG, until


@pytest.fixture
def images(slurm: Any) -> list[str]:
    """Forty small images in ten files, without where."""
    CodeBank.sample(15, classes=5).save("bank.safetensors")
    Path("tiny.json").write_text(json.dumps({"name": "tiny", "size": 16, "canvas": 16, "points": 300}))
    return [
        "render", "bank.safetensors", "--recipe", "tiny.json", "-n", "40", "--format", "wds", "--per-file", "4",
        "--device", "cpu",
    ]  # fmt: skip


def tars(folder: str) -> dict[str, str]:
    """Digests of files of images."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).glob("*.tar")}


def test_shards_are_the_files_of_one_machine(fracgen: Any, images: Any, slurm: Any) -> None:
    command = [*images, "-o", "out", "--executor", "slurm", "--shards", "3", "--sbatch", "hold"]
    assert fracgen(*command, "--detach").code == 0
    folder = SlurmFolder(Path("out"))
    (submission,) = folder.submissions()
    first, second, third = submission.units
    other = fracgen(*images, "-o", "out", "--executor", "slurm", "--shards", "4")
    assert other.code == 2
    assert "use as many --shards, or scancel" in other.err
    slurm.tell("scancel", second)
    for job in (first, third):
        slurm.tell("scontrol", "release", job)
    until(lambda: {slurm.jobs()[job] for job in (first, third)} == {"COMPLETED"}, "two shards are made", LONG)
    made = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.tar")}
    assert 0 < len(made) < 10
    command.remove("--sbatch")
    command.remove("hold")
    told = fracgen(*command)
    assert told.code == 0, told.err
    assert "submitted 1 shards" in told.err
    assert "40 images are in" in told.err
    assert all(path.stat().st_mtime_ns == when for path, when in made.items())
    assert fracgen(*images, "-o", "here").code == 0
    assert len(tars("here")) == 10
    assert tars("out") == tars("here")
    again = fracgen(*command)
    assert again.code == 0
    assert "submitted" not in again.err


def test_the_script_of_shards_is_printed(fracgen: Any, images: Any, slurm: Any) -> None:
    told = fracgen(*images, "-o", "out", "--executor", "slurm", "--shards", "3", "--jobs", "2", "--dry-run")
    assert told.code == 0
    assert "#SBATCH --array=0-2%2" in told.out.splitlines()
    Path("script.sh").write_text(told.out)
    tried = subprocess.run(["sbatch", "--test-only", "script.sh"], capture_output=True, text=True)
    assert "to start at" in tried.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "sheet"], "--format sheet has no shards that jobs could make: use one of folder, wds, npy"),
        (["--shards", "11"], "11 shards are too many for 10 files of 4 images: use at most 10"),
        (["--shard", "0/2"], "--shard: --executor slurm makes all --shards"),
        (["--executor", "local", "--shards", "2"], "--shards: it is for --executor slurm; leave it out"),
    ],
)
def test_what_cannot_be_shards_is_refused(fracgen: Any, images: Any, options: Any, message: str) -> None:
    if "--format" in options:  # which writes no tar files
        images = [word for word in images if word not in ("--per-file", "4")]
    told = fracgen(*images, "-o", "out", "--executor", "slurm", *options)
    assert told.code == 2
    assert message in told.err
    assert not Path("out").exists()
