"""The examples run."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_plain_loop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told = run("plain_loop.py", monkeypatch, capsys, "2", "64")
    assert told.count("validation accuracy") == 2


def test_plain_loop_is_as_long_as_it_is_said_to_be() -> None:
    code = (EXAMPLES / "plain_loop.py").read_text().splitlines()[1:]
    assert len([line for line in code if line.strip()]) <= 30


def test_timm_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "classes a picture" in run("timm_model.py", monkeypatch, capsys, "2")


def test_jax_dlpack(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jax", reason="JAX is no dependency of fracgen; the example is for those who have it")
    assert run("jax_dlpack.py", monkeypatch, capsys).count("(32, 3, 64, 64) float32") == 10


def test_ddp_with_torchrun() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(EXAMPLES / "ddp.py"), "2"], cwd=ROOT, capture_output=True, text=True, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "16 of 32 images on this rank" in done.stdout
