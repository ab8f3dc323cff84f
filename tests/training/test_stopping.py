"""How a run's process ends: after a checkpoint where a signal stops it, and without a word of anyone else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from fracgen import CodeBank
from fracgen.training.config import Machine
from fracgen.training.folder import RunFolder
from fracgen.training.loop import STOPS, StopSignals
from fracgen.training.run import build_fabric


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_signal_is_remembered_and_ends_nothing(number: signal.Signals, handler: signal.Handlers) -> None:
    """One that is ignored, as SIGHUP under nohup, stays so."""
    before = signal.signal(number, handler)
    try:
        with StopSignals() as stop:
            signal.raise_signal(number)
            assert stop.received == (None if handler == signal.SIG_IGN else number)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


PRETRAIN = [
    sys.executable, "-m", "fracgen", "pretrain", "--preset", "quick", "--size", "32", "--bank", "bank.safetensors",
    "--model", "mobilenet_v3_small", "--epochs", "1", "--batch-size", "8", "--device", "cpu", "-o", "run",
]  # fmt: skip


def test_sigterm_ends_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    CodeBank.sample(15, classes=5).save(tmp_path / "bank.safetensors")
    run = tmp_path / "run"
    command = [*PRETRAIN, "--epoch-size", "800000", "--log-steps", "1"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 240
        while not (run / "metrics.csv").is_file() and time.monotonic() < end:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGTERM)
        told = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM, told
    newest = max((run / "checkpoints").iterdir())
    step = int(newest.stem.removeprefix("step-"))
    assert 0 < step < 100_000
    assert f"stopped by SIGTERM after step {step:,} of 100,000: continue with --resume auto" in told


def test_nothing_but_our_own_lines_is_printed_up_to_the_end_of_the_process(tmp_path: Path) -> None:
    """Libraries that report what they leaked do so when the interpreter ends."""
    CodeBank.sample(15, classes=5).save(tmp_path / "bank.safetensors")
    command = [*PRETRAIN, "--epoch-size", "16", "--validation-size", "8"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "run\n"
    assert "exported to run/export" in done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("fracgen: ")] == []


def test_lightning_gives_no_hint_where_a_cluster_has_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        build_fabric(Machine(device="cpu"), RunFolder(tmp_path / "run"))
    assert not [str(w.message) for w in said if "srun" in str(w.message)]
