"""Running a plan's cells as jobs under SLURM, and following them by their files.

What is finished stands in the result folder, and who has what in the records beside it (`SlurmFolder`); nothing else is
remembered. So a command can be ended and started again at any time: it attaches to the cells that living jobs have,
and submits the others. A cell is a job's only from the moment it has the cell's lock, as on one machine.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from fracgen.slurm.options import SlurmOptions
from fracgen.slurm.queue import LOOK_S, Watch, end_of
from fracgen.slurm.submission import Attached, SlurmFolder, Submission, Task
from fracgen_eval.datasets import Category
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.measure import Options, run_cell
from fracgen_eval.grid.plan import Plan
from fracgen_eval.grid.result import DONE, FAILED, CellResult
from fracgen_eval.grid.results import begun_by, clean, found_result, result_path
from fracgen_eval.grid.run import Reporter, Work, keep_filters
from fracgen_eval.weights.backbones import Weights

UNKNOWN_S = 60.0
"""Taken for the time of a cell until one like it has finished."""
NAME = "fracgen-eval"
MOST_JOBS = 1000
"""Of an array: SLURM's own default limit is 1,001."""

Unit = tuple[Cell, Category, Callable[[], Weights], Options]
"""The arguments of `run_cell`."""


class Watcher(Reporter, Protocol):
    """Whoever shows the progress of jobs."""

    def ended(self, cell: Cell, result: CellResult | None, note: str = "") -> None:
        """A cell is done or has failed, or its job ended without a result (None); the note says what happened."""

    def queue(self, running: int, waiting: int) -> None:
        """So many jobs run and wait now."""


@dataclass(frozen=True)
class Jobs:
    """How a plan is to be run under SLURM."""

    options: SlurmOptions
    device: str = "cpu"
    """`cpu` or `cuda`, of the jobs."""
    keep_maps: bool = False
    minutes: float = 10.0
    """Cells are grouped until a job lasts as long, by the times of finished cells like them, else a minute each."""


def grouped(plan: Plan, cells: Sequence[Cell], jobs: Jobs, alone: Iterable[Cell] = ()) -> list[list[Cell]]:
    """Cells of each job: neighbours, for as long as `jobs.minutes`, and at most as many jobs as an array may have.

    Args:
        alone: cells that get a job each, because the last one that began them did not survive it.
    """
    single = set(alone)
    together = {cell: plan.seconds(cell, jobs.device) or UNKNOWN_S for cell in cells if cell not in single}
    target = max(60 * jobs.minutes, sum(together.values()) / max(1, MOST_JOBS - len(single)))
    groups: list[list[Cell]] = [[cell] for cell in cells if cell in single]
    filled = target
    for cell, seconds in together.items():
        if filled >= target:
            groups.append([])
            filled = 0.0
        groups[-1].append(cell)
        filled += seconds
    return groups


def submit(plan: Plan, jobs: Jobs) -> Attached:
    """Submit the pending cells that no living job has; units are digests of cells.

    Raises:
        SlurmError: SLURM cannot be reached, or refuses.
        ValueError: finished cells are to be run again while jobs are at work on them.
    """

    def tasks(free: list[str], before: list[Submission]) -> list[Task]:
        clean(plan.request.out)
        keep_filters(plan)
        cells = [cell for cell in plan.pending if cell.digest in set(free)]
        return _tasks(plan, grouped(plan, cells, jobs, _died(plan, cells, before)), jobs)

    units = [cell.digest for cell in plan.pending]
    return SlurmFolder(plan.request.out).attach(units, tasks, jobs.options, NAME, again=plan.request.rerun)


def _died(plan: Plan, cells: Sequence[Cell], before: Sequence[Submission]) -> list[Cell]:
    """Cells that a job of before had begun when it ended."""
    jobs = {job for submission in before for job in submission.units}
    begun = {cell: begun_by(plan.request.out, cell) for cell in cells}
    return [cell for cell, job in begun.items() if job in jobs and _ended(plan, cell, job) is None]


def _tasks(plan: Plan, groups: Sequence[Sequence[Cell]], jobs: Jobs) -> list[Task]:
    options = Options(plan.request.out.absolute(), jobs.device, jobs.keep_maps, plan.request.rerun)
    work = Work(plan, options)
    return [
        Task(tuple(cell.digest for cell in group), partial(run_cells, [work.elsewhere(cell) for cell in group]))
        for group in groups
    ]


def script(plan: Plan, jobs: Jobs) -> str:
    """The sbatch script of a plan's pending cells; nothing is written and SLURM is not asked."""
    count = len(grouped(plan, plan.pending, jobs))
    return SlurmFolder(plan.request.out).script(count, jobs.options, NAME)


def run_cells(work: Sequence[Unit]) -> None:
    """Run cells one after another: what a job does."""
    # At the time limit SLURM kills: finished cells stay. On preemption it queues the job again once this has ended.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if work[0][-1].device == "cuda":
        from fracgen.rendering.device import torch_fault, use_gpu

        use_gpu("cuda", "evaluating", torch_fault)
    for number, (cell, category, weights, options) in enumerate(work, 1):
        print(f"fracgen: cell {number} of {len(work)}: {cell.title}, {result_path(options.out, cell)}", flush=True)
        result = run_cell(cell, category, weights, options)
        print(f"fracgen: {'another process is working on it' if result is None else result.status}", flush=True)


def follow(plan: Plan, attached: Attached, watcher: Watcher) -> int:
    """Watch cells until each has a result or its job is gone.

    Args:
        attached: the job of every pending cell.
        watcher: called at what happens.

    Returns:
        The number of cells that failed or were lost.
    """
    folder, begun = attached.folder, set[Cell]()
    left = {cell: attached.jobs[cell.digest] for cell in plan.pending}
    watch, failed = Watch(), 0
    while left:
        for cell, job in list(left.items()):
            result = _ended(plan, cell, job)
            if result is not None:
                del left[cell]
                failed += result.status == FAILED
                watcher.ended(cell, result, f"log: {folder.log(job)}" if result.status == FAILED else "")
            elif cell not in begun and begun_by(plan.request.out, cell) == job:
                begun.add(cell)
                watcher.started(cell)
        gone = watch.ended(left.values())
        watcher.queue(*watch.counts(left.values()))
        for cell in [cell for cell, job in left.items() if job in gone]:
            job = left.pop(cell)
            failed += 1
            stage = "at work on it" if cell in begun else "before it was begun"
            watcher.ended(cell, None, f"job {job} {end_of(watch.states.get(job))} {stage}; log: {folder.log(job)}")
        if left:
            time.sleep(max(LOOK_S, len(left) / 200))
    return failed


def _ended(plan: Plan, cell: Cell, job: str | None) -> CellResult | None:
    """The result of a cell, if this job wrote it or any other finished it."""
    result = found_result(plan.request.out, cell)
    if result is None or result.origin.job == job or (result.status == DONE and not plan.request.rerun):
        return result
    return None
