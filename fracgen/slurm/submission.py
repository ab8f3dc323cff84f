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
from typing import TYPE_CHECKING

from fracgen.slurm.options import SlurmOptions
from fracgen.slurm.queue import alive, job_here, states
from fracgen.support.decode import from_json, read_json
from fracgen.support.errors import SlurmError
from fracgen.support.files import remove_parts, whole_file
from fracgen.support.terminal import counted, say

if TYPE_CHECKING:
    from submitit import SlurmExecutor


@dataclass(frozen=True)
class Task:
    """The work of one job."""

    units: tuple[str, ...]
    """Names of the parts of the work that it makes."""
    call: Callable[[], object]
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
        """All submissions, oldest first."""
        found = []
        for path in self.path.glob("submission-*.json"):
            with contextlib.suppress(OSError, ValueError):  # another's file, or one that was cut
                found.append(from_json(Submission, read_json(path)))
        return sorted(found, key=lambda submission: int(submission.job))

    def log(self, job: str) -> Path:
        """A job's log: everything it printed."""
        return self.path / f"{job}_0_log.out"

    def attach(
        self, units: Sequence[str], tasks_of: Callable[[list[str], list[Submission]], Sequence[Task]],
        options: SlurmOptions, name: str, *, again: bool = False,
    ) -> Attached:  # fmt: skip
        """Find the job of every unit, and submit the units that no living job has.

        Args:
            units: parts of the work that are not finished.
            tasks_of: makes the tasks of the units that are free; its second argument is all that was submitted before.
            options: resources of a job.
            name: the jobs' name.
            again: the units may have been finished before, so jobs that have them are in the way.

        Raises:
            ValueError: `again`, and jobs have units.
            SlurmError: SLURM cannot be reached, or refuses.
        """
        with self.alone():
            before = self.submissions()
            jobs, made = held(before, states()), None
            if again and (busy := [jobs[unit] for unit in units if unit in jobs]):
                raise ValueError(f"jobs are at work on this: attach to them without --rerun, or {cancelling(busy)}")
            if free := [unit for unit in units if unit not in jobs]:
                made = self.submit(tasks_of(free, before), options, name)
                jobs |= held([made], dict.fromkeys(made.units, "PENDING"))
        return Attached({unit: jobs[unit] for unit in units}, made, self)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps a second command from submitting the same work at the same time."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _executor(self, options: SlurmOptions, name: str) -> SlurmExecutor:
        from submitit import SlurmExecutor

        class Executor(SlurmExecutor):
            @classmethod
            def affinity(cls) -> int:
                return 1  # else a script could not be printed without SLURM; a missing sbatch is an error later

        if "%" in str(self.path):
            raise ValueError(f"{self.path}: SLURM reads % as a placeholder in names of logs: name another --output")
        executor = Executor(self.path)
        executor.update_parameters(job_name=name, **options.parameters())
        return executor


@dataclass(frozen=True)
class Attached:
    """The unfinished units of a piece of work, all of which jobs have."""

    jobs: dict[str, str]
    """The job of every unit."""
    made: Submission | None
    """The submission that was made for it now."""
    folder: SlurmFolder


def as_jobs(attached: Attached, what: str, follow: Callable[[], int], *, detach: bool) -> int:
    """Say which jobs have the units, and follow them; the exit code.

    Args:
        attached: the units and their jobs.
        what: name of a unit.
        follow: watches until all have ended; returns the exit code.
        detach: do not follow.

    Raises:
        KeyboardInterrupt: Ctrl-C; the jobs go on.
    """
    new = {} if attached.made is None else attached.made.units
    cancel = cancelling(attached.jobs.values())
    try:
        if attached.made is not None:
            say(f"submitted {counted(sum(map(len, new.values())), what)} as {counted(len(new), 'job')}, array "
                f"{attached.made.job}; logs: {attached.folder.path}")  # fmt: skip
        if others := sum(job not in new for job in attached.jobs.values()):
            say(f"attached to {counted(others, what)} that jobs have; logs: {attached.folder.path}")
        if detach:
            say(f"the same command without --detach follows; {cancel} cancels")
            return 0
        return follow()
    except KeyboardInterrupt:
        say(f"jobs run on: the same command attaches to them; {cancel} cancels them")
        raise


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
    said = [line for line in lines if line.startswith("sbatch:")]
    return " ".join(said or lines[-1:])
