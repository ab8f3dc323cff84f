"""The examples of docs/scaling.md run under a real SLURM, on little data and without GPUs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fracgen import CodeBank
from tests.command_line import Command
from tests.slurm.cluster import Cluster

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
HERE = {"--partition": "low", "--memory": "2G", "--gpus": "0", "--jobs": "2", "--devices": "1"}
"""What this cluster has in place of theirs."""
LITTLE = {
    "eval": "--device cpu --model resnet18 --category gravel --limit 4 --settings quick.json",
    "pretrain": "--device cpu --bank bank.safetensors --size 32 --model mobilenet_v3_small --epochs 1 --epoch-size 16 "
    "--batch-size 8 --validation-size 0",
}
VALUES = {
    "--method": "panda", "--dataset": "surfaces", "--root": "surfaces", "--weights": "random",
    "--preset": "quick",
}  # fmt: skip


def examples() -> list[list[str]]:
    """Commands of the page that run under SLURM."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line)[1:] for line in lines if "--executor slurm" in line]


def test_there_is_one_of_each_command() -> None:
    assert sorted(words[0] for words in examples()) == ["eval", "pretrain"]


@pytest.mark.parametrize("words", examples(), ids=lambda words: words[0])
def test_an_example_runs(fracgen: Command, slurm: Cluster, surfaces: Path, words: list[str]) -> None:
    CodeBank.sample(15, classes=5).save("bank.safetensors")
    Path("quick.json").write_text('{"panda": {"resize": 64, "crop": 64}}')
    Path("surfaces").symlink_to(surfaces)
    for option, value in (HERE | VALUES).items():
        if option in words:
            words[words.index(option) + 1] = value
    words += shlex.split(LITTLE[words[0]])
    script = fracgen(*words, "--dry-run")
    assert script.code == 0, script.err
    tried = subprocess.run(["sbatch", "--test-only"], input=script.out, capture_output=True, text=True)
    assert "to start at" in tried.stderr
    done = fracgen(*words)
    assert done.code == 0, done.err
    assert "submitted" in done.err
    assert "submitted" not in fracgen(*words).err


def test_shards_of_images_are_made_by_an_array_of_jobs(fracgen: Command, slurm: Cluster) -> None:
    """With 32 images in the place of a million; the line a second time makes nothing anew."""
    (line,) = re.findall(r"^sbatch .*?'$", PAGE.read_text().replace("\\\n", " "), re.M)
    CodeBank.sample(15, classes=5).save("bank.safetensors")
    program = f"{sys.executable} -m fracgen render bank.safetensors --size 16 --per-file 4"
    for theirs, ours in {
        "fracgen render": program, "1000000": "32", "/8": "/2", "0-7": "0-1", " --gpus-per-node=1": " --wait",
        "--device cuda": "--device cpu",
    }.items():  # fmt: skip
        assert theirs in line
        line = line.replace(theirs, ours)
    subprocess.run(shlex.split(line), check=True)
    made = {path.name: path.stat().st_mtime_ns for path in Path("out/shards").glob("*.tar")}
    assert len(made) == 8
    subprocess.run(shlex.split(line), check=True)
    assert made == {path.name: path.stat().st_mtime_ns for path in Path("out/shards").glob("*.tar")}
    assert fracgen(*shlex.split("render bank.safetensors --size 16 --per-file 4 -n 32 --format wds -o here")).code == 0
    for name in made:
        assert Path("out/shards", name).read_bytes() == Path("here", name).read_bytes()
