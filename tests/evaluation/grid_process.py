"""A grid as a process of its own (`tests.forks`), which sends what it does, cell by cell."""

from __future__ import annotations

import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from fracgen_eval.grid import run as grid
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.measure import run_cell
from fracgen_eval.grid.plan import Request, make_plan
from fracgen_eval.grid.result import CellResult


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

    def slow(cell: Cell, *rest: Any) -> Any:
        connection.send(("computed", cell.path))
        time.sleep(0.5)  # so that the other process comes by
        return run_cell(cell, *rest)

    grid.run_cell = slow  # type: ignore[attr-defined, assignment]
    (meet / str(os.getpid())).touch()
    while len(os.listdir(meet)) < 2:
        time.sleep(0.01)
    raise SystemExit(grid.run_plan(plan, Sender(connection)))
