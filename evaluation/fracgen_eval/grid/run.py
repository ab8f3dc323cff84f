"""Running a plan's cells: one after another, or several processes at a time.

A cell's result appears by a rename, so a process can be killed at any moment: finished cells stay,
the interrupted one is run again. A lock on a file per cell, which the system drops with its process,
keeps two processes from working on the same cell. A cell that fails is recorded and the grid goes on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from multiprocessing import active_children, get_context, parent_process
from typing import Protocol

from fracgen.support.files import whole_file
from fracgen.support.provenance import processors
from fracgen.support.streams import open_streams
from fracgen_eval.datasets import Category
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.measure import Options, origin, run_cell
from fracgen_eval.grid.plan import Plan
from fracgen_eval.grid.result import FAILED, CellResult, Failure
from fracgen_eval.grid.results import FILTERS, clean, write_result
from fracgen_eval.weights.backbones import InputNorm, Weights, WeightsSpec, load_weights


class Reporter(Protocol):
    """Whoever shows progress."""

    def started(self, cell: Cell) -> None:
        """A cell has begun."""

    def ended(self, cell: Cell, result: CellResult | None) -> None:
        """A cell is done or has failed, or is left to another process that is working on it (None)."""


def run_plan(plan: Plan, reporter: Reporter, *, jobs: int = 1, device: str = "cpu", keep_maps: bool = False) -> int:
    """Run the pending cells of a plan.

    Args:
        plan: from `make_plan`.
        reporter: called at every start and end.
        jobs: processes at a time; each needs the memory of a cell.
        device: `cpu` or `cuda`.
        keep_maps: write score maps and masks beside the results.

    Returns:
        The number of failed cells.
    """
    clean(plan.request.out)
    keep_filters(plan)
    work = Work(plan, Options(plan.request.out, device, keep_maps, plan.request.rerun))
    failed = 0
    for cell, result in _in_turn(work, reporter) if jobs <= 1 else _side_by_side(work, reporter, jobs):
        failed += result is not None and result.status == FAILED
        reporter.ended(cell, result)
    return failed


def keep_filters(plan: Plan) -> None:
    """Write the first layer of each of the weights beside the results, for pictures of its filters."""
    from safetensors.torch import save

    folder = plan.request.out / FILTERS
    for weights in plan.weights.values():
        first, about = weights.network.first, {"name": weights.name, "model": weights.model}
        path = folder / f"{weights.name}-{weights.model}-{weights.digest}.safetensors"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(save({first: weights.tensors[first].contiguous()}, about))


class Work:
    """A plan's arguments of `run_cell`, in a form that a process can be sent."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan, self.options = plan, options

    def here(self, cell: Cell) -> tuple[Cell, Category, Callable[[], Weights], Options]:
        """For this process, which has loaded the weights already."""
        return cell, self.plan.data(cell), partial(self.plan.weights.__getitem__, cell.weights.name), self.options

    def elsewhere(self, cell: Cell) -> tuple[Cell, Category, Callable[[], Weights], Options]:
        """For another process: weights travel by name, not by tensor."""
        (spec,) = (s for s in self.plan.request.weights if s.name == cell.weights.name)
        load = partial(_loaded, spec, cell.weights.model, cell.weights.input_norm)
        return cell, self.plan.data(cell), load, self.options


def _in_turn(work: Work, reporter: Reporter) -> Iterator[tuple[Cell, CellResult | None]]:
    for cell in work.plan.pending:
        reporter.started(cell)
        yield cell, run_cell(*work.here(cell))


def _side_by_side(work: Work, reporter: Reporter, jobs: int) -> Iterator[tuple[Cell, CellResult | None]]:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processors() // jobs)))
    waiting = list(reversed(work.plan.pending))
    suspects: list[Cell] = []
    while waiting or suspects:
        # After a process died, the cells it may have been working on are run one at a time, so that one is to blame.
        alone = bool(suspects)
        queue = suspects if alone else waiting
        pool = ProcessPoolExecutor(1 if alone else jobs, get_context("spawn"), _begin)
        running: dict[Future[CellResult | None], Cell] = {}
        try:
            while running or queue:
                while queue and len(running) < (1 if alone else jobs):
                    cell = queue.pop()
                    reporter.started(cell)
                    running[pool.submit(run_cell, *work.elsewhere(cell))] = cell
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    cell = running[future]
                    result = future.result()
                    del running[future]
                    yield cell, result
        except BrokenProcessPool:
            if alone:
                (cell,) = running.values()
                yield cell, _died(work, cell)
            else:
                suspects = list(running.values())
        except BaseException:  # stopped: else this process would wait until their cells are finished
            for process in active_children():
                process.terminate()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    """What a process does before its first cell; it ends when the one that started it is gone, however it went."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    open_streams()
    threading.Thread(target=watch, daemon=True).start()


def _died(work: Work, cell: Cell) -> CellResult:
    message = "its process was killed, most likely for want of memory: run it on a larger machine"
    result = CellResult(cell, Failure("ProcessDied", message), origin=origin(work.options.device))
    write_result(work.options.out, result)
    return result


@lru_cache(maxsize=2)
def _loaded(spec: WeightsSpec, model: str, input_norm: InputNorm) -> Weights:
    return load_weights(spec, model, input_norm)
