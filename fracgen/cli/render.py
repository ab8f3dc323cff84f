"""`fracgen render`: images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer

from fracgen.cli.slurm import Account, Detach, Executor, Gpus, Memory, Partition, Sbatch, Time

FOR_SLURM = (
    "context", "executor", "shards", "jobs", "detach", "dry_run", "time", "gpus", "partition", "memory", "account",
    "sbatch",
)  # fmt: skip

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
    # Not the context's parameters, which Typer before 0.29 keeps as they were typed.
    given = SimpleNamespace(**{name: value for name, value in locals().items() if name not in FOR_SLURM})
    from fracgen.cli.options import parse_device, refuse_given
    from fracgen.cli.slurm import slurm_options

    options = slurm_options(context, ("detach", "dry_run", "shards", "jobs"), at_once=jobs)
    if bank is not None:
        refuse_given(context, ("bank_seed",), "the codes are those of the bank that is given")
    if format != "wds":
        refuse_given(context, ("wds_member", "per_file"), f"format {format} writes no tar files")
    elif output == "-":
        refuse_given(context, ("per_file",), "a pipe gets one tar file of all samples")
    if options is None:
        from fracgen.cli.render_here import render_here

        render_here(given)
        return
    from fracgen.cli.render_jobs import run_as_jobs

    refuse_given(context, ("shard", "preview"), "--executor slurm makes all --shards, and shows no images")
    given.device = parse_device(device, gpu)
    raise typer.Exit(run_as_jobs(given, shards, options, detach=detach, dry_run=dry_run))
