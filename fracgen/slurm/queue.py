"""What SLURM says of jobs, from `squeue`: no accounting is needed, and one call serves all of them."""

from __future__ import annotations

import os
import subprocess

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
        SlurmError: the controller cannot be asked now.
    """
    lines = ask("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i %T")
    return dict(line.split()[:2] for line in lines.splitlines() if line.strip())


def alive(state: str | None) -> bool:
    """Whether a job in this state may still work: it waits, runs, or is being queued again."""
    return state is not None and state not in ENDS


def end_of(state: str | None) -> str:
    """What became of a job that is no longer alive."""
    return ENDS.get(state or "", "is gone")


def ask(*command: str) -> str:
    """Output of one of SLURM's commands. Raises SlurmError where it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise SlurmError(f"no SLURM here ({command[0]} is not installed): run this where sbatch works") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"SLURM does not answer ({command[0]} waited for 60 s): try again later") from None
    if done.returncode:
        raise SlurmError(f"{command[0]} failed: {' '.join(done.stderr.split()) or 'it says no reason'}")
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
