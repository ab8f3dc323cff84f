"""Running the command line, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fracgen import CodeBank
from tests.command_line import Command, Process, command_line
from tests.fields import Fields


@pytest.fixture
def fracgen(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command line here, in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    return command_line(capsys)


@pytest.fixture
def process() -> Process:
    """Run a command line as a process."""

    def call(*arguments: object, **given: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "fracgen", *(str(argument) for argument in arguments)]
        options: Fields = dict(given)
        options.setdefault("env", {**os.environ, **options.pop("set", {})})
        if "stdout" not in options:
            options.setdefault("capture_output", True)
        done: subprocess.CompletedProcess[str] = subprocess.run(command, timeout=300, **options)
        return done

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """Arguments of a bank of 15 codes and a recipe of 16 px and 300 points, on the CPU."""
    CodeBank.sample(15, classes=5).save(tmp_path / "bank.safetensors")
    (tmp_path / "tiny.json").write_text(json.dumps({"name": "tiny", "size": 16, "canvas": 16, "points": 300}))
    return [str(tmp_path / "bank.safetensors"), "--recipe", str(tmp_path / "tiny.json"), "--device", "cpu"]
