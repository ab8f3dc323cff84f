"""A grid as jobs under a real SLURM: attaches, resubmits what died, repeats nothing, ends as on one machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from fracgen.slurm.submission import SlurmFolder
from tests.command_line import Command
from tests.evaluation.grids import QUICK, files_of, numbers
from tests.slurm.cluster import Cluster, Hold, until

TWO_A_JOB = 2
"""Minutes: a cell counts as one until one like it has finished."""


@pytest.fixture
def grid(surfaces: Path, slurm: Cluster) -> list[str]:
    """Eight cells, each of a second, without where and how to run them."""
    Path("quick.json").write_text(json.dumps(QUICK))
    return [
        "eval", "run", "--method", "panda,cutpaste", "--weights", "random", "--model", "resnet18", "--root",
        str(surfaces), "--category", "gravel,brick", "--seeds", "0,1", "--limit", "6", "--settings", "quick.json",
        "--device", "cpu",
    ]  # fmt: skip


def test_a_grid_outlives_its_jobs_and_its_controller(
    fracgen: Command, grid: list[str], slurm: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of three jobs one is killed, one is cancelled and one runs past its time limit; those that follow go well."""
    grid[grid.index("--category") + 1], grid[grid.index("--seeds") + 1] = "gravel", "0,1,2"
    hold, folder = Hold(tmp_path / "hold", monkeypatch), SlurmFolder(Path("out"))
    command = [*grid, "-o", "out", "--executor", "slurm", "--job-minutes", TWO_A_JOB, "--time", "10"]
    first = fracgen(*command, "--detach")
    assert (first.code, first.out) == (0, "out\n")
    assert "submitted 6 cells as 3 jobs" in first.err
    (submission,) = folder.submissions()
    cells = submission.units
    killed, cancelled, late = cells
    for job in (killed, cancelled, late):
        hold.at(cells[job][1])
    process = hold.process(cells[killed][1])
    hold.process(cells[cancelled][1])

    slurm.stop_controller()
    down = fracgen(*command)  # nobody knows what is at work: nothing may be submitted
    assert (down.code, down.out, len(folder.submissions())) == (2, "", 1)
    assert "squeue failed: " in down.err.splitlines()[-1]
    slurm.start_controller()
    os.kill(process, signal.SIGKILL)
    slurm.tell("scancel", cancelled)
    hold.process(cells[late][1])
    until(lambda: slurm.jobs()[killed] == "FAILED", "the killed job has ended")
    until(lambda: slurm.jobs()[cancelled] == "CANCELLED", "the cancelled job has ended")

    for job in (killed, cancelled):
        hold.release(cells[job][1])
    slurm.tell("scontrol", "update", f"JobId={late}", "EndTime=now")  # its limit is now
    second = fracgen(*command)
    assert second.code == 3
    assert "submitted 2 cells as 2 jobs" in second.err
    assert "attached to" in second.err
    (line,) = [line for line in second.err.splitlines() if "log: " in line]
    assert f"job {late} ran past its time limit at work on it; log: {folder.log(late)}" in line
    assert folder.log(late).is_file()
    assert len(files_of(Path("out"))) == 5

    hold.release(cells[late][1])
    third = fracgen(*command)
    assert (third.code, third.out) == (0, "out\n")
    assert "submitted 1 cell as 1 job" in third.err
    again = fracgen(*command)
    assert again.code == 0
    assert "submitted" not in again.err
    every = {digest for digests in cells.values() for digest in digests}
    assert len(every) == 6
    assert hold.written() == dict.fromkeys(every, 1)

    torch.set_num_threads(1)  # as in a job: sums may not be split differently
    assert fracgen(*grid, "-o", "here").code == 0
    assert numbers(Path("out")) == numbers(Path("here"))


def test_control_c_leaves_jobs_alone(fracgen: Command, grid: list[str], slurm: Cluster) -> None:
    def press() -> None:
        until(SlurmFolder(Path("out")).submissions, "jobs are submitted")
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)

    command = [*grid, "-o", "out", "--executor", "slurm", "--sbatch", "hold"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored here
    try:
        threading.Thread(target=press, daemon=True).start()
        stopped = fracgen(*command)
    finally:
        signal.signal(signal.SIGINT, before)
    (submission,) = SlurmFolder(Path("out")).submissions()
    assert stopped.code == 130
    assert f"scancel {submission.job} cancels them" in stopped.err
    assert [slurm.jobs()[job] for job in submission.units] == ["PENDING"]
    attached = fracgen(*command, "--detach")
    assert (attached.code, len(SlurmFolder(Path("out")).submissions())) == (0, 1)
    assert "attached to 8 cells" in attached.err
    rerun = fracgen(*command, "--detach", "--rerun")
    assert rerun.code == 2
    assert f"scancel {submission.job}" in rerun.err
    slurm.cancel_all()
    assert "submitted 8 cells" in fracgen(*command, "--detach").err


def test_a_failed_cell_names_its_log(fracgen: Command, grid: list[str], slurm: Cluster) -> None:
    weights, folder = Path("mine.safetensors"), SlurmFolder(Path("out"))

    def change() -> None:
        until(folder.submissions, "the job is submitted")
        save_file(get_model("resnet18", weights=None).state_dict(), weights)
        slurm.tell("scontrol", "release", folder.submissions()[0].job)

    save_file(get_model("resnet18", weights=None).state_dict(), weights)
    only = {"--method": "panda", "--weights": f"mine={weights}", "--category": "gravel", "--seeds": "0"}
    for option, value in only.items():
        grid[grid.index(option) + 1] = value
    threading.Thread(target=change, daemon=True).start()
    told = fracgen(*grid, "-o", "out", "--executor", "slurm", "--sbatch", "hold")
    assert told.code == 3
    (submission,) = folder.submissions()
    (job,) = submission.units
    (line,) = [line for line in told.err.splitlines() if "log: " in line]
    assert "failed: the file of weights mine has changed since the grid began" in line
    assert f"log: {folder.log(job)}" in line
    assert files_of(Path("out"))[0]["job"] == job


def test_the_script_is_printed(fracgen: Command, grid: list[str], slurm: Cluster) -> None:
    told = fracgen(
        *grid, "-o", "out", "--executor", "slurm", "--job-minutes", TWO_A_JOB, "--time", "1-0:30", "--gpus", "1",
        "--partition", "low", "--memory", "4G", "--account", "lab", "--jobs", "3", "--sbatch", "comment=two words",
        "--sbatch", "exclusive", "--dry-run",
    )  # fmt: skip
    assert told.code == 0
    options = {line.removeprefix("#SBATCH --") for line in told.out.splitlines() if line.startswith("#SBATCH")}
    assert {
        "array=0-3%3", "time=1470", "gpus-per-node=1", "partition=low", "mem=4G", "account=lab", "comment='two words'",
        "exclusive", "requeue", "nodes=1", "ntasks-per-node=1",
    } <= options  # fmt: skip
    assert "as 4 jobs" in told.err
    assert not Path("out").exists()
    Path("script.sh").write_text(told.out.replace("#SBATCH --gpus-per-node=1\n", ""))
    tried = subprocess.run(["sbatch", "--test-only", "script.sh"], capture_output=True, text=True)
    assert "to start at" in tried.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--partition", "none"], "sbatch refused: .*invalid partition"),
        (["--sbatch", "nonsense=1"], "sbatch refused: .*nonsense"),
        (["--sbatch", "array=1-3"], "--sbatch array: the number of jobs follows from the work"),
        (["--sbatch", "=3"], "use NAME=VALUE"),
        (["--time", "soon"], "--time 'soon': use minutes"),
        (["--time", "0"], "--time 0 is out of range"),
        (["--memory", "much"], "--memory 'much': use a number with a unit"),
        (["--executor", "pbs"], "unknown executor 'pbs': use one of local, slurm"),
        (["--executor", "local", "--detach"], "--detach: it is for --executor slurm; leave it out"),
    ],
)
def test_what_slurm_cannot_do_is_refused_in_a_line(
    fracgen: Command, grid: list[str], options: list[str], message: str
) -> None:
    told = fracgen(*grid, "-o", "out", "--executor", "slurm", *options)
    assert told.code == 2
    assert told.out == ""
    assert re.search(message, told.err.splitlines()[-1]), told.err
    assert not SlurmFolder(Path("out")).submissions()
