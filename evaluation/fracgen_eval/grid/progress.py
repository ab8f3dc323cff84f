"""How far a grid is: a line for every cell that ends, and below them, on a terminal, what is done and the time left."""

from __future__ import annotations

import time
from statistics import fmean

from fracgen.support.terminal import ERASE, Status, duration, redraws, show
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.plan import Plan
from fracgen_eval.grid.result import METRIC_NAMES, PAPER_METRICS, CellResult, Failure


class Progress:
    """Shows a plan's progress on stderr.

    Args:
        plan: what is run.
        jobs: how many cells are run at a time.
        device: on which, for the time left.
    """

    def __init__(self, plan: Plan, jobs: int = 1, device: str = "cpu") -> None:
        self.plan, self.jobs, self.device = plan, jobs, device
        self.queued = ""
        self.ends = self.failed = 0
        self.running: dict[Cell, float] = {}
        self.times: dict[str, list[float]] = {}
        self.status = Status()

    def started(self, cell: Cell) -> None:
        """A cell has begun."""
        self.running[cell] = time.perf_counter()
        self._show()

    def queue(self, running: int, waiting: int) -> None:
        """So many jobs of a scheduler run and wait."""
        self.jobs, self.queued = max(1, running), f"{running} jobs running, {waiting} waiting"
        self._show()

    def ended(self, cell: Cell, result: CellResult | None, note: str = "") -> None:
        """A cell is done, has failed, or has no result of this grid; the note says more."""
        begun = self.running.pop(cell, None)
        self.ends += 1
        self.failed += result.status == "failed" if result is not None else bool(note)
        said = "; ".join(filter(None, (_outcome(result) if result is not None or not note else "", note)))
        line = f"[{self.ends}/{len(self.plan.pending)}] {cell.title}: {said}"
        if begun is not None:
            took = time.perf_counter() - begun
            self.times.setdefault(cell.method.name, []).append(took)
            line += f" ({took:.0f} s, {self._left()} left)"
        show(f"{ERASE if redraws() else ''}{line}\n")
        self._show()

    def close(self) -> None:
        """Erase the line on a terminal."""
        self.status.clear()

    def _left(self) -> str:
        """Time left, from the mean of each method's cells so far, or of finished ones before."""
        means = {method: fmean(several) for method, several in self.times.items()}
        left = [means.get(c.method.name) or self.plan.seconds(c, self.device) for c in self.plan.pending[self.ends :]]
        known = [seconds for seconds in left if seconds is not None] or list(means.values())
        return duration(fmean(known) * len(left) / self.jobs) if known else "unknown time"

    def _show(self) -> None:
        total, finished = len(self.plan.pending), len(self.plan.finished)
        parts = [f"{self.ends}/{total} cells", self.failed and f"{self.failed} failed", self.queued,
                 not self.queued and f"{len(self.running)} running", finished and f"{finished} finished before",
                 f"{self._left()} left"]  # fmt: skip
        self.status.show("  ".join(str(part) for part in parts if part))


def _outcome(result: CellResult | None) -> str:
    if result is None:
        return "another process is at it"
    if isinstance(result.outcome, Failure):
        return f"failed: {result.outcome.message}"
    return ", ".join(f"{METRIC_NAMES[k]} {100 * result.metrics[k]:.1f}" for k in PAPER_METRICS if k in result.metrics)
