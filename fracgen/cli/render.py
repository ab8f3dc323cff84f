"""`fracgen render`: images."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import typer

from fracgen.cli.slurm import Account, Detach, Executor, Gpus, Memory, Partition, Sbatch, Time

if TYPE_CHECKING:
    from fracgen.formulas.banks import Bank
    from fracgen.recipes.recipe import Preset
    from fracgen.writing import Made
    from fracgen.writing.base import Selection, Writer

FOR_SLURM = (
    "executor", "shards", "jobs", "detach", "dry_run", "time", "gpus", "partition", "memory", "account", "sbatch",
)  # fmt: skip
_NAMES = {"sheet": "fractals.png", "raw": "fractals.rgb"}
_FOLDERS = {"folder": "out/folder", "wds": "out/wds", "npy": "out/npy"}


def render(
    context: typer.Context,
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
    executor: Executor = "local",
    shards: Annotated[int, typer.Option(help="SLURM: jobs, each with its part of the images.", min=1)] = 1,
    jobs: Annotated[int | None, typer.Option(help="SLURM: of them at a time.", min=1, show_default="256")] = None,
    detach: Detach = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="SLURM: print the script; run nothing.")] = False,
    time: Time = "4:00:00",
    gpus: Gpus = 0,
    partition: Partition = None,
    memory: Memory = None,
    account: Account = None,
    sbatch: Sbatch = None,
) -> None:
    """Render images: by default 64 of the paper's recipe, as one contact sheet, fractals.png.

    \b
    fracgen render -n 300 --format raw -o - | ffplay -f rawvideo -pixel_format rgb24 -video_size 256x256 -
    """
    from fracgen.cli.options import parse_device, refuse_given
    from fracgen.cli.slurm import slurm_options

    options = slurm_options(
        context, executor, time, also=("detach", "dry_run", "shards", "jobs"), gpus=gpus, partition=partition,
        memory=memory, account=account, sbatch=sbatch, at_once=jobs,
    )  # fmt: skip
    given = SimpleNamespace(**{name: value for name, value in context.params.items() if name not in FOR_SLURM})
    if options is None:
        render_here(given)
        return
    from fracgen.cli.render_jobs import run_as_jobs

    refuse_given(context, ("shard", "preview"), "--executor slurm makes all --shards, and shows no images")
    given.device = parse_device(device, gpu)
    raise typer.Exit(run_as_jobs(given, shards, options, detach=detach, dry_run=dry_run))


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
    from fracgen.formulas.banks import load_bank
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
        codes, image, given.count, given.seed, given.epoch, order=given.order, shard=parse_shard(given.shard)
    )
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
    _summary(_work(made.selection, renderer, made.writer, given.preview), made.selection, made.target)


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
