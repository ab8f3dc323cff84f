"""Submitting work as an array of jobs, and remembering which job has which part of it.

The folder OUT.slurm, beside the results in OUT, holds for every array a record (`submission-41.json`), submitit's
script and work of each job, and a log a job (`41_3_0_log.out`). It may be deleted once no job is left.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fracgen.slurm.options import SlurmOptions
from fracgen.slurm.queue import alive, job_here
from fracgen.support.decode import from_json, read_json
from fracgen.support.errors import SlurmError
from fracgen.support.files import remove_parts, whole_file


@dataclass(frozen=True)
class Task:
    """What one job does."""

    units: tuple[str, ...]
    """Names of the parts of the work that it makes."""
    call: Callable[[], Any]
    """An importable function, or `functools.partial` of one: it travels by name, its arguments by pickle."""


@dataclass(frozen=True)
class Submission:
    """An array of jobs that was submitted."""

    job: str
    """SLURM's number of the array."""
    units: dict[str, tuple[str, ...]]
    """Units by job, `41_3`."""

    def __post_init__(self) -> None:
        if not self.job.isdecimal():
            raise ValueError(f"job {self.job!r} is no number of SLURM's")

    def holders(self, states: Mapping[str, str]) -> dict[str, str]:
        """The job of every unit that a living job of this array has."""
        return {unit: job for job, units in self.units.items() if alive(states.get(job)) for unit in units}


class SlurmFolder:
    """The folder beside a result: records, scripts and logs."""

    def __init__(self, out: Path) -> None:
        self.path = (out.parent / f"{out.name}.slurm").absolute()

    def submit(self, tasks: Sequence[Task], options: SlurmOptions, name: str) -> Submission:
        """Submit one job a task, as an array.

        Raises:
            SlurmError: SLURM refuses.
        """
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        executor = self._executor(options, name)
        self.path.mkdir(parents=True, exist_ok=True)
        remove_parts(self.path)
        try:
            with _outside_of_a_job(), executor.batch():
                jobs = [executor.submit(task.call) for task in tasks]
        except (FailedSubmissionError, FailedJobError) as error:
            raise SlurmError(f"sbatch refused: {_reason(error)}") from None
        units = {job.job_id: task.units for job, task in zip(jobs, tasks, strict=True)}
        submission = Submission(jobs[0].job_id.split("_")[0], units)
        with whole_file(self.path / f"submission-{submission.job}.json") as file:
            file.write(json.dumps({"job": submission.job, "units": units}, indent=1).encode() + b"\n")
        return submission

    def script(self, count: int, options: SlurmOptions, name: str) -> str:
        """The sbatch script of an array of `count` jobs; nothing is written."""
        executor = self._executor(options, name)
        if count > 1:
            executor.parameters["map_count"] = count
        return str(executor._make_submission_file_text(executor._submitit_command_str, ""))

    def submissions(self) -> list[Submission]:
        """What was submitted, oldest first."""
        found = []
        for path in self.path.glob("submission-*.json"):
            with contextlib.suppress(OSError, ValueError):  # another's file, or one that was cut
                found.append(from_json(Submission, read_json(path)))
        return sorted(found, key=lambda submission: int(submission.job))

    def log(self, job: str) -> Path:
        """A job's log: everything it printed."""
        return self.path / f"{job}_0_log.out"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps a second command from submitting the same work at the same time."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _executor(self, options: SlurmOptions, name: str) -> Any:
        from submitit import SlurmExecutor

        class Executor(SlurmExecutor):
            @classmethod
            def affinity(cls) -> int:
                return 1  # a script can be printed where there is no SLURM; sbatch says so itself where it is missing

        if "%" in str(self.path):
            raise ValueError(f"{self.path}: SLURM reads % as a placeholder in names of logs: name another --out")
        executor = Executor(self.path)
        executor.update_parameters(job_name=name, **options.parameters())
        return executor


def held(submissions: Sequence[Submission], states: Mapping[str, str]) -> dict[str, str]:
    """The job of every unit that a living job has."""
    return {unit: job for submission in submissions for unit, job in submission.holders(states).items()}


def cancelling(jobs: Iterable[str]) -> str:
    """The command that cancels these jobs, array by array.

    >>> cancelling(["41_0", "41_3", "7"])
    'scancel 7 41'
    """
    return f"scancel {' '.join(sorted({job.split('_')[0] for job in jobs}, key=int))}"


@contextlib.contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """Hides the variables of a job that this process may be part of, which the new jobs would inherit."""
    if job_here() is None:
        yield
        return
    from submitit.helpers import clean_env

    kept = {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or name.startswith("SBATCH_")}
    with clean_env():
        os.environ.update(kept)
        yield


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("sbatch:")]
    return " ".join(told or lines[-1:])
