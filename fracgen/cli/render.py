"""`fracgen render`: images."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fracgen.cli.options import read_preset, refuse_given, with_options
from fracgen.support.errors import WorkFailed
from fracgen.support.options import Option, parse_shard
from fracgen.support.provenance import processors
from fracgen.support.streams import check
from fracgen.support.terminal import Progress, colourful, say, show, working

if TYPE_CHECKING:
    from fracgen.formulas.files import Bank
    from fracgen.recipes.recipe import Preset
    from fracgen.rendering.base import Renderer
    from fracgen.writing import Made
    from fracgen.writing.base import Selection, Writer

OUTPUTS = {"sheet": "fractals.png", "raw": "fractals.rgb", "folder": "out/folder", "wds": "out/wds", "npy": "out/npy"}
"""Default output of each format."""


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """The options of `fracgen render`."""
    count: Annotated[int, Option("Number of images.", names=("-n", "--count"))] = 64
    size: Annotated[int | None, Option("Side in pixels, 8 to 1024.", default="the recipe's")] = None
    seed: Annotated[int, "Seed of the images, 0 to 2^64 - 1."] = 0
    epoch: Annotated[int, "Another epoch shows the same codes in other images."] = 0
    bank_seed: Annotated[int, "Seed of the codes, where no bank is given."] = 0
    recipe: Annotated[str, "Preset, or a JSON file of a recipe or preset."] = "paper"
    format: Annotated[Literal["sheet", "folder", "wds", "npy", "raw"], "Format of the output."] = "sheet"
    output: Annotated[
        str | None,
        Option("File or folder; - pipes (wds, npy, raw).", names=("-o", "--output"), default="fractals.png or out/..."),
    ] = None
    order: Annotated[Literal["index", "epoch"], "index, or epoch: as training visits them."] = "index"
    shard: Annotated[
        tuple[int, int], Option("i/n: make the i-th (from 0) of n parts.", parse=parse_shard, default="0/1")
    ] = (0, 1)
    resume: Annotated[bool, "Continue a folder that an earlier run began."] = False
    wds_member: Annotated[Literal["png", "npy"], "Members of tar files: png, or npy (no encoding)."] = "png"
    per_file: Annotated[int, "Number of samples in a tar file."] = 1000
    device: Annotated[str, "auto, cpu, cuda or cuda:N."] = "auto"
    threads: Annotated[int | None, Option("Number of threads.", default="one per processor")] = None
    preview: Annotated[bool | None, Option("Show images in the terminal.", default="where stderr is one")] = None


@with_options
def render(
    context: typer.Context,
    *,
    bank: Annotated[Path | None, typer.Argument(help="Code bank; without one the recipe's own is sampled.")] = None,
    asked: Rendering,
) -> None:
    """Render images: by default 64 of the paper's recipe, as one contact sheet, fractals.png.

    \b
    fracgen render -n 300 --format raw -o - | ffplay -f rawvideo -pixel_format rgb24 -video_size 256x256 -
    """
    if bank is not None:
        refuse_given(context, ("bank_seed",), "the codes are those of the bank that is given")
    if asked.format != "wds":
        refuse_given(context, ("wds_member", "per_file"), f"format {asked.format} writes no tar files")
    elif asked.output == "-":
        refuse_given(context, ("per_file",), "a pipe gets one tar file of all samples")
    from fracgen.rendering import make_renderer

    work = prepare(asked, bank)
    renderer = make_renderer(work.selection.bank, work.selection.recipe, asked.device, threads=asked.threads)
    work.writer.prepare(work.selection, asked.resume)
    _summary(_write(work, renderer, asked.preview), work)


@dataclass
class Prepared:
    """A selection, and what will write it; nothing is written yet."""
    selection: Selection
    writer: Writer
    target: Path | None


def prepare(asked: Rendering, bank: Path | None) -> Prepared:
    """Read and check everything. Raises ValueError where an option is out of range."""
    from fracgen.formulas.formula import load_bank
    from fracgen.writing import make_writer
    from fracgen.writing.base import Selection

    chosen = read_preset(asked.recipe)
    image = chosen.recipe if asked.size is None else chosen.recipe.at_size(asked.size)
    if asked.threads is not None and asked.threads < 1:
        raise ValueError(f"threads {asked.threads} is out of range: use 1 or more")
    target = _target(asked)
    writer = make_writer(asked.format, target, member=asked.wds_member, threads=asked.threads or processors())
    codes = preset_bank(chosen, asked) if bank is None else load_bank(bank)
    selection = Selection(
        codes, image, asked.count, seed=asked.seed, epoch=asked.epoch, order=asked.order, shard=asked.shard,
        per_file=asked.per_file if asked.format == "wds" and target is not None else 1,
    )  # fmt: skip
    return Prepared(selection, writer, target)


def preset_bank(preset: Preset, asked: Rendering) -> Bank:
    """The preset's bank; only its first classes if the output can show no others.

    Sample i < C has class i and the first of its codes, and code k does not depend on how many are
    drawn, so the images and labels are those of the whole bank.
    """
    from fracgen.formulas.formula import make_bank

    few = asked.format in ("sheet", "raw") and asked.order == "index" and preset.recipe.source != "bank"
    return make_bank(preset.bank.first(asked.count) if few else preset.bank, asked.bank_seed)


def _target(asked: Rendering) -> Path | None:
    """The output's path; None is stdout. Raises ValueError if stdout is a terminal, which bytes would fill."""
    if asked.output == "-":
        if sys.stdout.isatty():
            raise ValueError("stdout is a terminal: pipe it into a program or a file, or name a file with -o")
        return None
    return Path(asked.output or OUTPUTS[asked.format])


def _write(work: Prepared, renderer: Renderer, preview: bool | None) -> Made:
    """Write the images; where the work ends early and finished files are kept, say how to resume."""
    from fracgen.writing import write
    from fracgen.writing.base import Batch, OneFile
    from fracgen.writing.formats.sheet import Preview

    first, last = work.selection.span
    bar = Progress(last - first, "images")
    seen = Preview() if (colourful() if preview is None else preview) else None
    kept = f"what is finished is kept in {work.target}: add --resume to go on"

    def progress(batch: Batch) -> None:
        check()
        bar.add(len(batch.index))
        if seen:
            seen.add(batch.images)

    try:
        with working():
            done = write(work.selection, renderer, work.writer, progress=progress)
    except (KeyboardInterrupt, WorkFailed) as stop:
        if isinstance(work.writer, OneFile):
            raise
        if isinstance(stop, WorkFailed):
            raise WorkFailed(f"{stop}; {kept}") from stop
        say(kept)
        raise
    finally:
        bar.clear()
    if seen:
        show(seen.text())
    return done


def _summary(made: Made, work: Prepared) -> None:
    recipe = work.selection.recipe
    views = "" if recipe.views == 1 else "pairs of "
    there = f" ({made.skipped:,} were there already)" if made.skipped else ""
    rate = f", {made.rate:,.0f} images/s with writing" if made.rate else ""
    where = "stdout" if work.target is None else str(work.target)
    say(f"{made.images:,} {views}images of {recipe.name}, {recipe.size} px, to {where}{there} "
        f"in {made.seconds:.1f} s{rate}")  # fmt: skip
