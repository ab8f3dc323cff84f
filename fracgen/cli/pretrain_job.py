"""`fracgen pretrain --executor slurm`: one job, which is queued again until the run is done."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.cli.pretrain_here import Options, train_here, what_is_asked
from fracgen.slurm.queue import end_of, states
from fracgen.slurm.submission import SlurmFolder, Task, held
from fracgen.slurm.watch import LOOK_S, Watch
from fracgen.support.terminal import say, show

if TYPE_CHECKING:
    from fracgen.slurm.options import SlurmOptions
    from fracgen.training.folder import RunFolder

NAME, RUN = "fracgen-pretrain", "run"


def run_as_job(options: Options, slurm: SlurmOptions, *, detach: bool, dry_run: bool) -> int:
    """Submit a pre-training unless a job is at it already, and show its log until the job has ended; the exit code.

    Raises:
        ValueError: the run cannot be begun or resumed as asked.
        SlurmError: SLURM cannot be asked, or refuses.
        KeyboardInterrupt: Ctrl-C; the job goes on.
    """
    if options.resume not in (None, "auto"):
        raise ValueError(f"--resume {options.resume}: a job goes on from its newest checkpoint: use auto")
    machine = options.machine if options.machine.device != "auto" else replace(options.machine, device="cuda")
    options = replace(options, resume="auto", machine=machine)
    run = what_is_asked(options).folder
    options = replace(options, output=run.path.absolute())
    folder = SlurmFolder(run.path)
    if dry_run:
        print(folder.script(1, slurm, NAME), end="")
        return 0
    if run.export.is_dir():
        say("this run is finished")
        print(run.path)
        return 0
    with folder.alone():
        job = held(folder.submissions(), states()).get(RUN)
        if job is not None:
            say(f"attached to job {job}; log: {folder.log(job)}")
        else:
            job = folder.submit([Task((RUN,), partial(train_in_job, options))], slurm, NAME).job
            say(f"submitted job {job}; log: {folder.log(job)}")
    try:
        if detach:
            say(f"the same command without --detach shows it; scancel {job} cancels it")
            return 0
        return _follow(run, folder, job)
    except KeyboardInterrupt:
        say(f"job {job} runs on: the same command attaches to it; scancel {job} cancels it")
        raise


def train_in_job(options: Options) -> None:
    """What each process of the job does."""
    if code := train_here(options):
        sys.exit(code)


def _follow(run: RunFolder, folder: SlurmFolder, job: str) -> int:
    """Pass on the lines of a run's log until its job has ended; the exit code."""
    watch, read = Watch(), run.log.stat().st_size if run.log.is_file() else 0
    while not watch.ended([job]):
        time.sleep(LOOK_S)
        read = _show(run.log, read)
    _show(run.log, read)
    state = watch.states.get(job)
    if state == "COMPLETED" or run.export.is_dir():
        print(run.path)
        return 0
    say(f"job {job} {end_of(state)}; log: {folder.log(job)}; the same command goes on with the run")
    return 1


def _show(log: Path, start: int) -> int:
    """Print what a log has from a byte on; where it ends."""
    if not log.is_file():
        return start
    with log.open("rb") as file:
        file.seek(start)
        new = file.read()
    show(new.decode(errors="replace"))
    return start + len(new)
