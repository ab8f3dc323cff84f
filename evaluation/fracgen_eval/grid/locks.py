"""A lock a cell: keeps two processes off it, and tells which job has begun it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from fracgen.slurm.queue import job_here
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.results import LOCKS


@contextlib.contextmanager
def lock(out: Path, cell: Cell) -> Iterator[bool]:
    """Whether this process has the cell to itself; nobody waits. The system drops the lock with its process."""
    (out / LOCKS).mkdir(parents=True, exist_ok=True)
    with _path(out, cell).open("a") as file:  # without cutting what the holder has written
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        file.truncate(0)
        file.write(job_here() or "")
        file.flush()
        yield True


def begun_by(out: Path, cell: Cell) -> str | None:
    """The job under SLURM that last began the cell, whether or not it is still at it; None for none."""
    try:
        return _path(out, cell).read_text() or None
    except OSError:
        return None


def _path(out: Path, cell: Cell) -> Path:
    return out / LOCKS / cell.digest
