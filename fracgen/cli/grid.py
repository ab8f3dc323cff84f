"""What `fracgen eval run` does with a plan: here, or as jobs under SLURM."""

from __future__ import annotations

import contextlib
from statistics import fmean
from typing import TYPE_CHECKING

from fracgen.slurm.submission import as_jobs
from fracgen.support.terminal import duration, one_line, say

if TYPE_CHECKING:
    from fracgen_eval.grid.plan import Plan
    from fracgen_eval.grid.slurm import Jobs


def run_here(plan: Plan, jobs: int, device: str, *, maps: bool, dry_run: bool) -> int:
    """Run a plan in processes of this machine; the exit code."""
    from fracgen_eval.grid.progress import Progress
    from fracgen_eval.grid.run import run_plan

    announce(plan, jobs, device)
    if dry_run:
        for cell in plan.pending:
            print(cell.path)
        return 0
    try:
        plan.request.out.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(Progress(plan, jobs, device)) as progress:
            failed = run_plan(plan, progress, jobs=jobs, device=device, keep_maps=maps)
    except OSError as error:
        say(one_line(error))
        return 1
    return _end(plan, failed)


def run_on_slurm(plan: Plan, jobs: Jobs, *, detach: bool, dry_run: bool) -> int:
    """Submit the cells that no job has, and watch until all have ended; the exit code.

    Raises:
        SlurmError: SLURM cannot be asked, or refuses.
        KeyboardInterrupt: Ctrl-C; the jobs go on.
    """
    from fracgen_eval.grid.progress import Progress
    from fracgen_eval.grid.slurm import follow, grouped, script, submit

    count = len(grouped(plan, plan.pending, jobs))
    announce(plan, min(count, jobs.options.at_once), jobs.device)
    if dry_run:
        if count:
            say(f"as {count} jobs of this script:")
            print(script(plan, jobs), end="")
        return 0
    plan.request.out.mkdir(parents=True, exist_ok=True)
    attached = submit(plan, jobs)

    def watch() -> int:
        with contextlib.closing(Progress(plan, count, jobs.device)) as progress:
            return _end(plan, follow(plan, attached, progress))

    code = as_jobs(attached, "cell", watch, detach=detach)
    if detach:
        print(plan.request.out)
    return code


def _end(plan: Plan, failed: int) -> int:
    print(plan.request.out)
    if failed:
        say(f"{failed} cells failed; `fracgen eval list {plan.request.out}` says why, and the same command tries again")
    return 3 if failed else 0


def announce(plan: Plan, jobs: int, device: str) -> None:
    """Say what of the data is left out, what will be run, with which weights, and how long it takes, where known."""
    for name, category in plan.categories.items():
        if category.left_out:
            say(f"{name}: left out {category.left_out}")
    for weights in plan.weights.values():
        say(weights.sentence())
    known = [seconds for cell in plan.pending if (seconds := plan.seconds(cell, device)) is not None]
    time = ""
    if known:
        time = f", about {duration(fmean(known) * len(plan.pending) / max(1, jobs))} by the times of cells like these"
        time += f" ({len(known)} of them)" * (len(known) < len(plan.pending))
    counts = f"{len(plan.pending)} cells to run, {len(plan.finished)} finished"
    say(f"{counts}, protocol {plan.request.protocol}, on {device}{time}")
