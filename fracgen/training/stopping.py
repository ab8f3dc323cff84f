"""Ending a run on a signal: SIGTERM, SIGHUP, or the one that SLURM sends before a job's time limit (SIGUSR1).

The present step is finished, a checkpoint is written, and the run ends; under SLURM its job is queued again.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from fracgen.slurm.queue import ask, job_here
from fracgen.support.errors import SlurmError

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


class StopSignals:
    """Remembers a signal, which then ends nothing; for use in `with` blocks. Only the main thread receives signals."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: list[dict[int, Any]] = []

    def __enter__(self) -> StopSignals:
        before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
        self._before.append(before)
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if before[number] is not signal.SIG_IGN:  # nohup's SIGHUP
                    signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        before = self._before.pop()
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, before[number])

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number


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
