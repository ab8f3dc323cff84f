"""`fracgen render`: images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fracgen.formulas.banks import Bank
    from fracgen.recipes.recipe import Preset
    from fracgen.writing import Made
    from fracgen.writing.base import Selection, Writer

_NAMES = {"sheet": "fractals.png", "raw": "fractals.rgb"}
_FOLDERS = {"folder": "out/folder", "wds": "out/wds", "npy": "out/npy"}


def render(
    *,
    bank: Annotated[Path | None, typer.Argument(help="Code bank; without one the recipe's own is sampled.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", help="Images.")] = 64,
    size: Annotated[int | None, typer.Option(help="Side in pixels, 8 to 1024.", show_default="the recipe's")] = None,
    seed: Annotated[int, typer.Option(help="0 to 2^64 - 1.")] = 0,
    epoch: Annotated[int, typer.Option(help="Another epoch shows the same codes in other pictures.")] = 0,
    bank_seed: Annotated[int, typer.Option(help="Seed of the codes, where no bank is given.")] = 0,
    recipe: Annotated[str, typer.Option(help="Preset, or a JSON file of a recipe or preset.")] = "paper",
    format: Annotated[str, typer.Option(help="sheet, folder, wds, npy or raw.")] = "sheet",
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="File or folder; - pipes (wds, npy, raw).")
    ] = None,
    order: Annotated[str, typer.Option(help="index, or epoch: as training visits them.")] = "index",
    shard: Annotated[str, typer.Option(help="i/n: make the i-th (from 0) of n parts.")] = "0/1",
    resume: Annotated[bool, typer.Option("--resume", help="Continue a folder that an earlier run began.")] = False,
    wds_member: Annotated[str, typer.Option(help="Members of tar files: png, or npy (no encoding).")] = "png",
    per_file: Annotated[int, typer.Option(help="Samples a tar file.")] = 1000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    gpu: Annotated[bool, typer.Option("--gpu", help="The same as --device cuda.")] = False,
    threads: Annotated[int | None, typer.Option(help="Threads.", show_default="all CPUs")] = None,
    preview: Annotated[
        bool | None, typer.Option("--preview/--no-preview", help="Show images here.", show_default="in a terminal")
    ] = None,
) -> None:
    """Render images: by default 64 of the paper's recipe, as one contact sheet, fractals.png.

    \b
    fracgen render -n 300 --format raw -o - | ffplay -f rawvideo -pixel_format rgb24 -video_size 256x256 -
    """
    from fracgen.cli.options import parse_device, parse_shard, read_preset
    from fracgen.formulas.banks import load_bank
    from fracgen.rendering import make_renderer
    from fracgen.writing import make_writer
    from fracgen.writing.base import Selection

    chosen = read_preset(recipe)
    image = chosen.recipe if size is None else chosen.recipe.at_size(size)
    name = parse_device(device, gpu)
    if threads is not None and threads < 1:
        raise ValueError(f"threads {threads} is out of range: use 1 or more")
    target = _target(format, output)
    writer = make_writer(format, target, member=wds_member, per_file=per_file, threads=threads or _cpus())
    codes = load_bank(bank) if bank else preset_bank(chosen, bank_seed, count, order, format)
    selection = Selection(codes, image, count, seed, epoch, order=order, shard=parse_shard(shard))
    renderer = make_renderer(codes, image, name, threads=threads)
    writer.prepare(selection, resume)
    made = _work(selection, renderer, writer, preview)
    _summary(made, selection, target)


def preset_bank(preset: Preset, seed: int, count: int, order: str, format: str) -> Bank:
    """The preset's bank; of the first classes only where a picture or stream can show no others.

    Sample i < C has class i and the first of its codes, and code k does not depend on how many are
    drawn, so the images and labels are those of the whole bank.
    """
    from fracgen.formulas.banks import make_bank
    from fracgen.recipes.recipe import BankSpec

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


def _work(selection: Selection, renderer: object, writer: Writer, preview: bool | None) -> Made:
    from fracgen.cli.preview import Preview
    from fracgen.support.terminal import Progress, colourful, working
    from fracgen.writing import write
    from fracgen.writing.base import Batch

    first, last = selection.span(writer.per_file)
    bar = Progress(last - first, "images")
    show = Preview() if (colourful() if preview is None else preview) else None

    with working() as check:

        def progress(batch: Batch) -> None:
            check()
            bar.add(len(batch.index))
            if show:
                show.add(batch.images)

        try:
            made = write(selection, renderer, writer, progress=progress)  # type: ignore[arg-type]
        finally:
            bar.clear()
    if show:
        sys.stderr.write(show.text())
    return made


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
