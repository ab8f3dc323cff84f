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
        self.counts = {DONE: 0, FAILED: 0, "elsewhere": 0}
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

    def ended(self, cell: Cell, status: str) -> None:
        """A cell is done, failed, or left to another process."""
        took = time.perf_counter() - self.running.pop(cell)
        self.counts[status] += 1
        self.times.setdefault(cell.method.name, []).append(took)
        line = f"[{sum(self.counts.values())}/{len(self.plan.pending)}] {cell.title}: {self._outcome(cell, status)}"
        if self.live is None:
            line += f" ({took:.0f} s, {self.left()} left)"
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            self.recent = [*self.recent[-7:], line]

    def left(self) -> str:
        """Time left, from the mean of each method's cells so far."""
        ended = sum(self.counts.values())
        if not ended:
            return "unknown time"
        overall = sum(map(sum, self.times.values())) / ended
        means = {m: sum(t) / len(t) for m, t in self.times.items()}
        remaining = [means.get(c.method.name, overall) for c in self.plan.pending[ended:]]
        return duration(sum(remaining) / self.jobs)

    def _outcome(self, cell: Cell, status: str) -> str:
        if status not in (DONE, FAILED):
            return "another process is at it"
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
            f"{counts[DONE]} done", f"{counts[FAILED]} failed", f"{len(self.running)} running",
            f"{len(self.plan.pending) - sum(counts.values()) - len(self.running)} waiting",
            f"{len(self.plan.finished)} finished before", f"{self.left()} left",
        )  # fmt: skip
        outer = Table.grid()
        outer.add_row(table)
        for line in self.recent:
            outer.add_row(Text(line))
        for cell, start in self.running.items():
            outer.add_row(Text(f"running: {cell.title} ({time.perf_counter() - start:.0f} s)"))
        return outer
