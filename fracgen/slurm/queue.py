"""The states of jobs, from `squeue`: no accounting is needed, and one call serves all jobs.

The controller serves everybody, so it is called seldom; files tell what happens in between.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable

from fracgen.support.errors import SlurmError

ENDS = {
    "COMPLETED": "ended", "FAILED": "failed", "CANCELLED": "was cancelled", "TIMEOUT": "ran past its time limit",
    "PREEMPTED": "was preempted", "OUT_OF_MEMORY": "ran out of memory", "NODE_FAIL": "lost its node",
    "BOOT_FAIL": "lost its node", "DEADLINE": "ran past its deadline", "REVOKED": "was cancelled",
}  # fmt: skip
"""States of jobs that will not run any more, in words. SLURM forgets them some minutes later."""


def states() -> dict[str, str]:
    """States of this user's jobs, such as RUNNING, by id (`41`, or `41_3` in an array); ended ones for some minutes.

    Raises:
        SlurmError: the controller cannot be reached.
    """
    lines = ask("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i %T")
    return dict(line.split()[:2] for line in lines.splitlines() if line.strip())


def alive(state: str | None) -> bool:
    """Whether a job in this state may still work: it waits, runs, or is being queued again."""
    return state is not None and state not in ENDS


def end_of(state: str | None) -> str:
    """How a job ended that is no longer alive, in words."""
    return ENDS.get(state or "", "is gone")


def ask(*command: str) -> str:
    """Output of one of SLURM's commands. Raises SlurmError if it fails or is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise SlurmError(f"no SLURM here ({command[0]} is not installed): run this where sbatch works") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"SLURM does not answer ({command[0]} waited for 60 s): try again later") from None
    if done.returncode:
        raise SlurmError(f"{command[0]} failed: {' '.join(done.stderr.split()) or 'no reason given'}")
    return done.stdout


def job_here() -> str | None:
    """This process's job, `41` or `41_3`; None outside of SLURM."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")


def requeue() -> str:
    """Queue this process's job again, unless it is being cancelled or is past its limit; what was done, in words."""
    job = job_here()
    if job is None:
        return "continue with --resume auto"
    try:
        state = ask("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%T").strip()
        if state != "RUNNING":
            return f"job {job} is ending: continue with --resume auto"
        ask("scontrol", "requeue", job)
    except SlurmError as error:
        return f"job {job} could not be queued again ({error}): continue with --resume auto"
    return f"job {job} is queued again, to go on"


LOOK_S = 1.0
"""Seconds between looks at files."""
ASK_S = (1.0, 30.0)
"""Seconds between calls of `squeue`: the first, growing to the last."""


class Watch:
    """Follows the states of jobs."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self._pause, self._due, self._ended = ASK_S[0], 0.0, set[str]()

    def ended(self, jobs: Iterable[str]) -> set[str]:
        """The jobs that are known to have ended. Call it often: `squeue` is called when it is time.

        A job counts once it was found so twice in a row: what it wrote may take a moment to be seen on this machine.
        """
        if time.monotonic() < self._due:
            return set()
        self._due, self._pause = time.monotonic() + self._pause, min(1.5 * self._pause, ASK_S[1])
        try:
            self.states = states()
        except SlurmError:  # the controller is being restarted, say
            return set()
        now = {job for job in jobs if not alive(self.states.get(job))}
        sure, self._ended = now & self._ended, now
        return sure

    def counts(self, jobs: Iterable[str]) -> tuple[int, int]:
        """How many of these jobs run, and how many wait."""
        now = [self.states[job] for job in set(jobs) if alive(self.states.get(job))]
        return now.count("RUNNING"), len(now) - now.count("RUNNING")
