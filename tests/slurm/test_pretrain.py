"""A pre-training as a job under a real SLURM: preempted, past its limit, cancelled; and the same bits in the end."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from fracgen import CodeBank
from fracgen.slurm.submission import SlurmFolder
from tests.command_line import Command
from tests.slurm.cluster import LONG, Cluster, Hold, until


@pytest.fixture
def training(slurm: Cluster) -> list[str]:
    """A run of nine steps in three epochs, without where."""
    CodeBank.sample(15, classes=5).save("bank.safetensors")
    return [
        "pretrain", "--preset", "quick", "--size", "32", "--bank", "bank.safetensors", "--model", "mobilenet_v3_small",
        "--epochs", "3", "--epoch-size", "20", "--batch-size", "8", "--validation-size", "8", "--device", "cpu",
        "--checkpoint-steps", "2", "--log-steps", "1",
    ]  # fmt: skip


def columns(run: Path) -> list[list[str]]:
    """Rows of a run's metrics without times and rates."""
    with (run / "metrics.csv").open(newline="") as file:
        return [row[:7] for row in csv.reader(file)]


def test_a_preempted_run_ends_with_the_same_bits(
    fracgen: Command, training: list[str], slurm: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Preempted in step 2, told in step 8 that its time is up: by SLURM each time."""
    whole = subprocess.Popen([sys.executable, "-m", "fracgen", *training, "-o", "whole"], stderr=subprocess.DEVNULL)
    hold = Hold(tmp_path / "hold", monkeypatch)
    stops = ["step-000000002", "step-000000008"]
    for name in stops:
        hold.at(name)
    command = [*training, "-o", "run", "--executor", "slurm", "--time", "30"]
    first = fracgen(*command, "--detach")
    assert first.code == 0, first.err
    (submission,) = SlurmFolder(Path("run")).submissions()
    (job,) = submission.units
    for name in stops:
        hold.process(name)
        if name == stops[1]:
            slurm.tell("scontrol", "update", f"JobId={job}", "EndTime=now+120")  # the signal comes two minutes before
        else:
            slurm.tell("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=true")
        hold.until_told(name)
        hold.release(name)
        until(lambda: slurm.jobs()[job] == "PENDING", "the job is queued again", LONG)
        slurm.tell("scontrol", "update", f"JobId={job}", "TimeLimit=30")
    until(lambda: slurm.jobs()[job] == "RUNNING", "the job goes on", LONG)  # the next line would wait for ever
    second = fracgen(*command)
    assert (second.code, second.out) == (0, "run\n"), second.err
    assert "attached to 1 run that jobs have" in second.err
    told = Path("run/log.txt").read_text()
    for signal, step in (("SIGTERM", 2), ("SIGUSR1", 8)):
        assert f"stopped by {signal} after step {step} of 9: job {job} is queued again, to go on" in told
        assert f"going on from step {step} of 9" in told
    assert whole.wait() == 0
    ours, theirs = (load_file(Path(name) / "export" / "model.safetensors") for name in ("run", "whole"))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    assert columns(Path("run")) == columns(Path("whole"))
    finished = fracgen(*command)
    assert (finished.code, finished.out) == (0, "run\n")
    assert "this run is finished" in finished.err


def test_a_cancelled_run_keeps_its_checkpoint_and_stays_cancelled(
    fracgen: Command, training: list[str], slurm: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hold, command = Hold(tmp_path / "hold", monkeypatch), [*training, "-o", "run", "--executor", "slurm"]
    hold.at("step-000000002")
    assert fracgen(*command, "--detach").code == 0
    ((job,),) = (submission.units for submission in SlurmFolder(Path("run")).submissions())
    hold.process("step-000000002")
    slurm.tell("scancel", job)
    hold.until_told("step-000000002")
    hold.release("step-000000002")
    until(lambda: slurm.jobs()[job] == "CANCELLED", "the job has ended", LONG)
    assert f"after step 2 of 9: job {job} is ending: continue with --resume auto" in Path("run/log.txt").read_text()
    assert Path("run/checkpoints/step-000000002.ckpt").is_file()
    refused = fracgen(*command, "--resume", "run/checkpoints/step-000000002.ckpt")
    assert refused.code == 2
    assert "a job goes on from its newest checkpoint: use auto" in refused.err
    assert fracgen(*command, "--detach", "--sbatch", "hold").code == 0
    assert len(SlurmFolder(Path("run")).submissions()) == 2
