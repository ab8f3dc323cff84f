"""What `fracgen render` does in one process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fracgen.formulas.files import Bank
    from fracgen.recipes.recipe import Preset
    from fracgen.rendering.base import Renderer
    from fracgen.writing import Made
    from fracgen.writing.base import Selection, Writer

_NAMES = {"sheet": "fractals.png", "raw": "fractals.rgb"}
_FOLDERS = {"folder": "out/folder", "wds": "out/wds", "npy": "out/npy"}


@dataclass
class Prepared:
    """A selection, and what will write it; nothing is written yet."""

    bank: Bank
    selection: Selection
    writer: Writer
    target: Path | None


def prepared(given: SimpleNamespace) -> Prepared:
    """Read the options of `render`, by name. Raises ValueError where one is out of range."""
    from fracgen.cli.options import parse_shard, read_preset
    from fracgen.formulas.formula import load_bank
    from fracgen.writing import make_writer
    from fracgen.writing.base import Selection

    chosen = read_preset(given.recipe)
    image = chosen.recipe if given.size is None else chosen.recipe.at_size(given.size)
    if given.threads is not None and given.threads < 1:
        raise ValueError(f"threads {given.threads} is out of range: use 1 or more")
    target = _target(given.format, given.output)
    writer = make_writer(
        given.format, target, member=given.wds_member, per_file=given.per_file, threads=given.threads or _cpus()
    )
    codes = load_bank(given.bank) if given.bank else preset_bank(
        chosen, given.bank_seed, given.count, given.order, given.format
    )  # fmt: skip
    selection = Selection(
        codes, image, given.count, seed=given.seed, epoch=given.epoch, order=given.order,
        shard=parse_shard(given.shard),
    )  # fmt: skip
    return Prepared(codes, selection, writer, target)


def render_here(given: SimpleNamespace) -> None:
    """Render in this process.

    Args:
        given: the options of `render` by name.
    """
    from fracgen.cli.options import parse_device
    from fracgen.rendering import make_renderer

    device = parse_device(given.device, given.gpu)
    made = prepared(given)
    renderer = make_renderer(made.bank, made.selection.recipe, device, threads=given.threads)
    made.writer.prepare(made.selection, given.resume)
    _summary(_work(made, renderer, given.preview), made.selection, made.target)


def preset_bank(preset: Preset, seed: int, count: int, order: str, format: str) -> Bank:
    """The preset's bank; of the first classes only where a picture or stream can show no others.

    Sample i < C has class i and the first of its codes, and code k does not depend on how many are
    drawn, so the images and labels are those of the whole bank.
    """
    from fracgen.formulas.formula import make_bank
    from fracgen.formulas.ifs import BankSpec

    spec = preset.bank
    few = format in ("sheet", "raw") and order == "index" and preset.recipe.source != "bank"
    if few and isinstance(spec, BankSpec):
        classes = max(1, min(count, spec.classes))
        spec = BankSpec(classes * (spec.codes // spec.classes), classes, spec.maps)
    return make_bank(spec, seed)


def _target(format: str, output: str | None) -> Path | None:
    """Where to write; None is stdout. Raises ValueError rather than fill a terminal with bytes."""
    if output == "-":
        if sys.stdout.isatty():
            raise ValueError("stdout is a terminal: pipe it into a program or a file, or name a file with -o")
        return None
    return Path(output or {**_NAMES, **_FOLDERS}.get(format, "out"))


def _work(made: Prepared, renderer: Renderer, preview: bool | None) -> Made:
    from fracgen.cli.preview import Preview
    from fracgen.support.stopping import check
    from fracgen.support.terminal import Progress, colourful, show, working
    from fracgen.writing import write
    from fracgen.writing.base import Batch

    first, last = made.selection.span(made.writer.per_file)
    bar = Progress(last - first, "images")
    seen = Preview() if (colourful() if preview is None else preview) else None

    def progress(batch: Batch) -> None:
        check()
        bar.add(len(batch.index))
        if seen:
            seen.add(batch.images)

    with _resumable(made), working():
        try:
            done = write(made.selection, renderer, made.writer, progress=progress)
        finally:
            bar.clear()
    if seen:
        show(seen.text())
    return done


@contextmanager
def _resumable(made: Prepared) -> Iterator[None]:
    """Says how to go on where the work ends early, and what is finished stays."""
    from fracgen.support.errors import WorkFailed
    from fracgen.support.terminal import say
    from fracgen.writing.base import OneFile

    kept = f"what is finished is kept in {made.target}: add --resume to go on"
    try:
        yield
    except KeyboardInterrupt:
        if not isinstance(made.writer, OneFile):
            say(kept)
        raise
    except WorkFailed as failed:
        if isinstance(made.writer, OneFile):
            raise
        raise WorkFailed(f"{failed}; {kept}") from failed


def _summary(made: Made, selection: Selection, target: Path | None) -> None:
    from fracgen.support.terminal import say

    size, views = selection.recipe.size, "" if selection.recipe.views == 1 else "pairs of "
    there = f" ({made.skipped:,} were there already)" if made.skipped else ""
    rate = f", {made.rate:,.0f} images/s with writing" if made.rate else ""
    where = "stdout" if target is None else str(target)
    say(
        f"{made.images:,} {views}images of {selection.recipe.name}, {size} px, to {where}{there} "
        f"in {made.seconds:.1f} s{rate}"
    )  # fmt: skip


def _cpus() -> int:
    import os

    return len(os.sched_getaffinity(0))
