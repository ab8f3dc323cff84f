"""A grid as a process of its own, which sends what it does, cell by cell.

Processes begin with everything imported, which takes a process of its own several seconds: each is a fork of a server
that has imported what is named here and done nothing else; no thread was started in it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from fracgen_eval.grid import measure
from fracgen_eval.grid import run as grid
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.plan import Request, make_plan
from fracgen_eval.grid.result import CellResult, Measurement

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload([
    "fracgen_eval.grid.run", "fracgen_eval.methods.cutpaste", "fracgen_eval.methods.panda", "torchvision", "timm",
    "sklearn.metrics", "scipy.stats",
])  # fmt: skip


class Fork:
    """A process that runs a module's function with a connection, to which it may `send`, and some arguments."""

    def __init__(self, work: Callable[..., None], *arguments: object) -> None:
        self.connection, theirs = _CONTEXT.Pipe(duplex=False)
        self.process = _CONTEXT.Process(target=work, args=(theirs, *arguments))
        self.process.start()
        theirs.close()

    def receive(self) -> tuple[str, str]:
        """What it sends next; EOFError if it has ended."""
        sent: tuple[str, str] = self.connection.recv()
        return sent

    def end(self) -> tuple[int | None, list[tuple[str, str]]]:
        """Wait for it: its exit code, negative for a signal, and all that it has sent since."""
        received = []
        try:
            while True:
                received.append(self.receive())
        except EOFError:
            self.process.join()
        return self.process.exitcode, received


class Sender:
    """Sends ("started" or how a cell ended, its path)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def started(self, cell: Cell) -> None:
        self.connection.send(("started", cell.path))

    def ended(self, cell: Cell, result: CellResult | None) -> None:
        self.connection.send(("elsewhere" if result is None else result.status, cell.path))


def run(connection: Connection, request: Request, jobs: int = 1) -> None:
    """The grid; exits with the number of cells that failed."""
    torch.set_num_threads(1)  # sums may not be split differently in another process
    raise SystemExit(grid.run_plan(make_plan(request), Sender(connection), jobs=jobs))


def race(connection: Connection, request: Request, meet: Path) -> None:
    """The grid, once another process has planned the same cells; sends ("computed", path) of those it computes."""
    plan = make_plan(request)

    compute: Callable[..., Measurement] = measure._measured

    def slow(cell: Cell, *rest: object) -> Measurement:
        connection.send(("computed", cell.path))
        time.sleep(0.5)  # so that the other process comes by
        return compute(cell, *rest)

    measure._measured = slow  # type: ignore[assignment]
    (meet / str(os.getpid())).touch()
    while len(os.listdir(meet)) < 2:
        time.sleep(0.01)
    raise SystemExit(grid.run_plan(plan, Sender(connection)))
