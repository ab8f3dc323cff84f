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
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.estimate import START_S, seconds_of
from fracgen_eval.grid.locks import begun_by
from fracgen_eval.grid.measure import Options
from fracgen_eval.grid.plan import Plan
from fracgen_eval.grid.result import DONE, FAILED
from fracgen_eval.grid.results import clean, read_result, result_path
from fracgen_eval.grid.run import Reporter, Work, keep_filters, run_locked
from fracgen_eval.weights.backbones import Weights

LOST = "lost"
"""What becomes of a cell whose job ended without a result."""
NAME = "fracgen-eval"
MOST_JOBS = 1000
"""Of an array: SLURM's own default limit is 1,001."""

Unit = tuple[Cell, Category, Callable[[], Weights], Options]
"""The arguments of `run_locked`."""


class Watcher(Reporter, Protocol):
    """Whoever shows the progress of jobs."""

    def ended(self, cell: Cell, status: str, note: str = "") -> None:
        """A cell is `done`, `failed` or `lost`; the note says where to look, or what happened."""

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
    """Cells are grouped until a job is estimated to last as long."""


def grouped(plan: Plan, cells: Sequence[Cell], jobs: Jobs, alone: Iterable[Cell] = ()) -> list[list[Cell]]:
    """Cells of each job: neighbours, for as long as `jobs.minutes`, and at most as many jobs as an array may have.

    Args:
        alone: cells that get a job each, because the last one that began them did not survive it.
    """
    seconds, single = seconds_of(plan, jobs.device), set(alone)
    together = [cell for cell in cells if cell not in single]
    total = sum(seconds[cell][0] for cell in together)
    target = max(60 * jobs.minutes - START_S, total / max(1, MOST_JOBS - len(single)))
    groups: list[list[Cell]] = [[cell] for cell in cells if cell in single]
    filled = target
    for cell in together:
        if filled >= target:
            groups.append([])
            filled = 0.0
        groups[-1].append(cell)
        filled += seconds[cell][0]
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
        print(f"fracgen: {run_locked(cell, category, weights, options)}", flush=True)


def follow(plan: Plan, attached: Attached, watcher: Watcher) -> int:
    """Watch cells until each has a result or its job is gone.

    Args:
        attached: the job of every pending cell.
        watcher: told of what happens.

    Returns:
        The number of cells that failed or were lost.
    """
    folder, begun = attached.folder, set[Cell]()
    left = {cell: attached.jobs[cell.digest] for cell in plan.pending}
    watch, failed = Watch(), 0
    while left:
        for cell, job in list(left.items()):
            status = _ended(plan, cell, job)
            if status is not None:
                del left[cell]
                failed += status == FAILED
                watcher.ended(cell, status, f"log: {folder.log(job)}" if status == FAILED else "")
            elif cell not in begun and begun_by(plan.request.out, cell) == job:
                begun.add(cell)
                watcher.started(cell)
        gone = watch.ended(left.values())
        watcher.queue(*watch.counts(left.values()))
        for cell in [cell for cell, job in left.items() if job in gone]:
            job = left.pop(cell)
            failed += 1
            stage = "at work on it" if cell in begun else "before it was begun"
            watcher.ended(cell, LOST, f"job {job} {end_of(watch.states.get(job))} {stage}; log: {folder.log(job)}")
        if left:
            time.sleep(max(LOOK_S, len(left) / 200))
    return failed


def _ended(plan: Plan, cell: Cell, job: str | None) -> str | None:
    """`done` or `failed` by this job, or done by any other; None for neither."""
    try:
        result = read_result(result_path(plan.request.out, cell))
    except EvaluationError:
        return None
    finished = result.status == DONE and not plan.request.rerun
    return result.status if result.origin.job == job or finished else None
