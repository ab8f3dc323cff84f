"""Watching jobs: SLURM is asked seldom, since its controller serves everybody; files tell what happens in between."""

from __future__ import annotations

import time
from collections.abc import Iterable

from fracgen.slurm.queue import alive, states
from fracgen.support.errors import SlurmError

LOOK_S = 1.0
"""Seconds between looks at files."""
ASK_S = (1.0, 30.0)
"""Seconds between questions to SLURM: the first, growing to the last."""


class Watch:
    """What SLURM said last."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self._pause, self._due, self._ended = ASK_S[0], 0.0, set[str]()

    def ended(self, jobs: Iterable[str]) -> set[str]:
        """Those of the jobs that are known to have ended. Call it often: it asks where it is time to.

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
