"""What `fracgen eval run` does with a plan: here, or as jobs under SLURM."""

from __future__ import annotations

import contextlib
from statistics import fmean
from typing import TYPE_CHECKING

from fracgen.support.terminal import duration, one_line, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fracgen_eval.grid.cell import Cell
    from fracgen_eval.grid.plan import Plan
    from fracgen_eval.grid.slurm import Jobs

    from fracgen.slurm.submission import Submission


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

    from fracgen.slurm.submission import cancelling

    count = len(grouped(plan, plan.pending, jobs))
    announce(plan, min(count, jobs.options.at_once), jobs.device)
    if dry_run:
        if count:
            say(f"as {count} jobs of this script:")
            print(script(plan, jobs), end="")
        return 0
    plan.request.out.mkdir(parents=True, exist_ok=True)
    holders, made = submit(plan, jobs)
    cancel = cancelling(holders.values())
    try:
        _say_who_has_what(holders, made)
        if detach:
            say(f"the same command without --detach shows them; {cancel} cancels them")
            print(plan.request.out)
            return 0
        with contextlib.closing(Progress(plan, count, jobs.device)) as progress:
            failed = follow(plan, holders, progress)
    except KeyboardInterrupt:
        say(f"jobs run on: the same command attaches to them; {cancel} cancels them")
        raise
    return _end(plan, failed)


def _say_who_has_what(holders: Mapping[Cell, str], made: Submission | None) -> None:
    new = {} if made is None else made.units
    if made is not None:
        say(f"submitted {sum(map(len, new.values()))} cells as {len(new)} jobs, array {made.job}")
    if attached := sum(job not in new for job in holders.values()):
        say(f"attached to {attached} cells that jobs have")


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
