"""The live table of a grid: what is done, running, failed, and the time left.

On a terminal it is redrawn in place; elsewhere, every cell that ends is one line.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from fracgen.support.terminal import duration
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.plan import Plan
from fracgen_eval.grid.result import DONE, FAILED, Failure
from fracgen_eval.grid.results import read_result, result_path


class Progress:
    """Shows a plan's progress on stderr; use it in a `with` block."""

    def __init__(self, plan: Plan, jobs: int = 1, console: Any = None) -> None:
        from rich.console import Console

        self.plan, self.jobs = plan, jobs
        self.console = console or Console(stderr=True)
        self.counts = {DONE: 0, FAILED: 0, "elsewhere": 0, "lost": 0}
        self.queued: str | None = None
        self.running: dict[Cell, float] = {}
        self.times: dict[str, list[float]] = {}
        self.recent: list[str] = []
        self.live: Any = None

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            from rich.live import Live

            self.live = Live(get_renderable=self._table, console=self.console, refresh_per_second=2, transient=True)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def started(self, cell: Cell) -> None:
        """A cell has begun."""
        self.running[cell] = time.perf_counter()

    def queue(self, running: int, waiting: int) -> None:
        """So many jobs of a scheduler run and wait."""
        self.jobs, self.queued = max(1, running), f"{running} jobs running, {waiting} waiting"

    def ended(self, cell: Cell, status: str, note: str = "") -> None:
        """A cell is done, failed, left to another process, or lost with its job; the note says more."""
        begun = self.running.pop(cell, None)
        self.counts[status] += 1
        told = "; ".join(filter(None, (self._outcome(cell, status), note)))
        line = f"[{sum(self.counts.values())}/{len(self.plan.pending)}] {cell.title}: {told}"
        if begun is not None:
            took = time.perf_counter() - begun
            self.times.setdefault(cell.method.name, []).append(took)
            line += f" ({took:.0f} s, {self.left()} left)" if self.live is None else ""
        if self.live is None:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self.recent = [*self.recent[-7:], line]

    def left(self) -> str:
        """Time left, from the mean of each method's cells so far."""
        ended, timed = sum(self.counts.values()), sum(map(len, self.times.values()))
        if not timed:
            return "unknown time"
        overall = sum(map(sum, self.times.values())) / timed
        means = {m: sum(t) / len(t) for m, t in self.times.items()}
        remaining = [means.get(c.method.name, overall) for c in self.plan.pending[ended:]]
        return duration(sum(remaining) / self.jobs)

    def _outcome(self, cell: Cell, status: str) -> str:
        if status not in (DONE, FAILED):
            return "" if status == "lost" else "another process is at it"
        result = read_result(result_path(self.plan.request.out, cell))
        if isinstance(result.outcome, Failure):
            return f"failed: {result.outcome.message}"
        names = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
        return ", ".join(f"{name} {100 * result.metrics[k]:.1f}" for k, name in names.items() if k in result.metrics)

    def _table(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        counts = self.counts
        table = Table.grid(padding=(0, 2))
        table.add_row(
            f"{counts[DONE]} done", f"{counts[FAILED] + counts['lost']} failed", f"{len(self.running)} running",
            f"{len(self.plan.pending) - sum(counts.values()) - len(self.running)} waiting",
            f"{len(self.plan.finished)} finished before", f"{self.left()} left",
        )  # fmt: skip
        outer = Table.grid()
        outer.add_row(table)
        if self.queued is not None:
            outer.add_row(self.queued)
        for line in self.recent:
            outer.add_row(Text(line))
        for cell, start in self.running.items():
            outer.add_row(Text(f"running: {cell.title} ({time.perf_counter() - start:.0f} s)"))
        return outer
