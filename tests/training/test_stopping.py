"""How a run's process ends: after a checkpoint where a signal stops it, and without a word of anyone else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fracgen import CodeBank
from fracgen.training.loop import STOPS, StopSignals


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_signal_is_remembered_and_ends_nothing(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # tests that were started in the background ignore some
    try:
        with StopSignals() as stop:
            signal.raise_signal(number)
            assert stop.received == number
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", STOPS, ids=lambda number: number.name)
def test_a_signal_that_is_ignored_stays_so(number: signal.Signals) -> None:
    """As SIGHUP under nohup."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(number)
            assert stop.received is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_sigterm_ends_a_run_with_a_checkpoint(tmp_path: Path) -> None:
    CodeBank.sample(15, classes=5).save(tmp_path / "bank.safetensors")
    run = tmp_path / "run"
    command = [
        sys.executable, "-m", "fracgen", "pretrain", "--preset", "quick", "--size", "32", "--bank", "bank.safetensors",
        "--model", "mobilenet_v3_small", "--epochs", "1", "--epoch-size", "800000", "--batch-size", "8", "--device",
        "cpu", "--log-steps", "1", "-o", "run",
    ]  # fmt: skip
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
    command = [
        sys.executable, "-m", "fracgen", "pretrain", "--preset", "quick", "--size", "32", "--bank", "bank.safetensors",
        "--model", "mobilenet_v3_small", "--epochs", "1", "--epoch-size", "16", "--batch-size", "8",
        "--validation-size", "8", "--device", "cpu", "-o", "run",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "run\n"
    assert "exported to run/export" in done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("fracgen: ")] == []
