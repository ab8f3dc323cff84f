"""`fracgen render --executor slurm`: a job for every shard, all into one folder."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from fracgen.cli.render_here import prepared, render_here
from fracgen.slurm.queue import end_of, states
from fracgen.slurm.submission import SlurmFolder, Task, cancelling, held
from fracgen.slurm.watch import LOOK_S, Watch
from fracgen.support.terminal import Status, say

if TYPE_CHECKING:
    from fracgen.slurm.options import SlurmOptions
    from fracgen.writing.base import Selection, Writer

NAME = "fracgen-render"
FORMATS = ("folder", "wds", "npy")
"""Those whose files say which images are there."""


@dataclass
class Shards:
    """The parts of a selection, and their files."""

    writer: Writer
    selections: list[Selection]

    def missing(self, shard: int) -> int:
        """Samples of a shard that are not there yet; at least 1 until its last file is whole."""
        return sum(max(1, last - first) for first, last in self.writer.parts(self.selections[shard]))

    def name(self, shard: int) -> str:
        """`3/8`."""
        return f"{shard}/{len(self.selections)}"


def run_as_jobs(given: SimpleNamespace, count: int, options: SlurmOptions, *, detach: bool, dry_run: bool) -> int:
    """Submit the shards that are not finished and that no job has, and watch until all are; the exit code.

    Args:
        given: the options of `render` by name.
        count: shards.

    Raises:
        ValueError: the images cannot be made so, or are other images than the folder's.
        SlurmError: SLURM cannot be asked, or refuses.
        KeyboardInterrupt: Ctrl-C; the jobs go on.
    """
    if given.format not in FORMATS:
        raise ValueError(f"--format {given.format} has no shards that jobs could make: use one of {', '.join(FORMATS)}")
    if given.device == "auto":
        given.device = "cuda" if options.gpus else "cpu"
    made = prepared(given)
    out = Path(made.target or "out").absolute()
    given.output, given.resume, given.preview = str(out), True, False
    shards = Shards(made.writer, [dataclasses.replace(made.selection, shard=(i, count)) for i in range(count)])
    left = [shard for shard in range(count) if shards.missing(shard)]
    folder = SlurmFolder(out)
    if dry_run and left:
        print(folder.script(len(left), options, NAME), end="")
        return 0
    jobs = _submit(given, shards, left, folder, options)
    cancel = cancelling(jobs.values())
    try:
        if detach and jobs:
            say(f"the same command without --detach shows them; {cancel} cancels them")
            return 0
        lost = _follow(shards, jobs, folder)
    except KeyboardInterrupt:
        say(f"jobs run on: the same command attaches to them; {cancel} cancels them")
        raise
    if lost:
        say(f"{lost} shards failed: the same command tries again")
        return 3
    say(f"{made.selection.count:,} images are in {out}")
    return 0


def _submit(
    given: SimpleNamespace, shards: Shards, left: Sequence[int], folder: SlurmFolder, options: SlurmOptions
) -> dict[int, str]:
    """The job of every shard that is left, as `held` or submitted now."""
    with folder.alone():
        at_work = held(folder.submissions(), states())
        if other := sorted(name for name in at_work if not name.endswith(f"/{len(shards.selections)}")):
            job = at_work[other[0]].split("_")[0]
            raise ValueError(
                f"job {job} makes shard {other[0]} of these images: use as many --shards, or scancel {job}"
            )
        free = [shard for shard in left if shards.name(shard) not in at_work]
        for shard in free:
            shards.writer.prepare(shards.selections[shard], resume=True)
        tasks = [
            Task((shards.name(i),), partial(render_here, SimpleNamespace(**vars(given) | {"shard": shards.name(i)})))
            for i in free
        ]
        if tasks:
            made = folder.submit(tasks, options, NAME)
            say(f"submitted {len(tasks)} shards as jobs, array {made.job}; logs: {folder.path}")
            at_work |= held([made], dict.fromkeys(made.units, "PENDING"))
    if len(free) < len(left):
        say(f"attached to {len(left) - len(free)} shards that jobs have")
    return {shard: at_work[shards.name(shard)] for shard in left}


def _follow(shards: Shards, jobs: dict[int, str], folder: SlurmFolder) -> int:
    """Watch shards until each is finished or its job is gone; how many were lost."""
    left, watch, lost, status = dict(jobs), Watch(), 0, Status()
    try:
        while left:
            began = time.monotonic()
            missing = {shard: shards.missing(shard) for shard in left}
            for shard in [shard for shard, images in missing.items() if not images]:
                del left[shard]
                say(f"shard {shards.name(shard)} is finished")
            gone = watch.ended(left.values())
            for shard in [shard for shard, job in left.items() if job in gone]:
                job = left.pop(shard)
                lost += 1
                say(f"shard {shards.name(shard)}: job {job} {end_of(watch.states.get(job))}; log: {folder.log(job)}")
            running, waiting = watch.counts(left.values())
            status.show(f"{sum(missing.values()):,} images to go, {running} jobs running, {waiting} waiting")
            if left:  # looking at a million files takes a while
                time.sleep(max(LOOK_S, 10 * (time.monotonic() - began)))
    finally:
        status.clear()
    return lost
