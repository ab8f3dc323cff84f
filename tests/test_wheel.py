"""The wheel, installed in an environment of its own, holds every file and works like the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from fracgen.cli import run
from fracgen.rendering.cuda.sources import digest
from fracgen.training.built_in import models

ROOT = Path(__file__).parents[1]
USE = """
import json
import fracgen, fracgen_eval
from fracgen.rendering.cuda.sources import digest
from fracgen.training.built_in import models
print(json.dumps([[fracgen.__file__, fracgen_eval.__file__], digest(), list(models())]))
"""


def absent(reason: str) -> NoReturn:
    """Skip; in CI, which has everything, fail."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment with the wheel in it, and this one's packages behind it. Nothing is downloaded."""
    uv = os.environ.get("UV") or shutil.which("uv")  # the first is set by `uv run`
    folder = tmp_path_factory.mktemp("wheel")
    if uv is None:
        absent("no uv here")

    def call(*words: object) -> None:
        done = subprocess.run([uv, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    try:
        call("build", "--wheel", "--offline", "-q", "-o", folder, ".")
    except AssertionError as error:
        if "network" not in str(error):
            raise
        absent("hatchling is not in uv's cache")
    (wheel,) = folder.glob("*.whl")
    call("venv", "-q", "--offline", "-p", sys.executable, folder / "venv")
    call("pip", "install", "-q", "--offline", "--no-deps", "-p", folder / "venv", wheel)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "behind.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")  # whose own .pth files are not read
    for compiled in (ROOT / "fracgen").rglob("__pycache__/*.nb[ic]"):  # compiling takes 20 s, and is tested elsewhere
        there = packages / compiled.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(compiled, there)
    yield folder / "venv" / "bin"
    shutil.rmtree(folder)


def test_it_holds_every_file(environment: Path) -> None:
    (packages,) = environment.parent.glob("lib/python*/site-packages")
    for folder, there in (("fracgen", "fracgen"), ("evaluation/fracgen_eval", "fracgen_eval"),
                          ("kernels", "fracgen/kernels")):  # fmt: skip
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert len(files) > 20
        assert not [path for path in files if not (packages / there / path.relative_to(ROOT / folder)).is_file()]


def test_it_is_used_like_the_checkout(environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    render = ["render", "-n", "4", "--size", "16", "--device", "cpu", "--no-preview", "-o"]
    assert run([*render, "here.png"]) == 0
    subprocess.run([environment / "fracgen", *render, "there.png"], check=True)
    assert Path("there.png").read_bytes() == Path("here.png").read_bytes()
    listed = subprocess.run([environment / "fracgen", "eval", "list"], check=True, capture_output=True).stdout
    assert b"patchcore" in listed
    said = subprocess.run([environment / "python", "-c", USE], check=True, capture_output=True).stdout
    files, kernels, weights = json.loads(said)
    assert all(Path(file).is_relative_to(environment.parent) for file in files)
    assert (kernels, weights) == (digest(), list(models()))
