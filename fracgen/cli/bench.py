"""`fracgen bench`: how fast it is here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fracgen.cli.options import AsJson, Device, read_preset
from fracgen.support.files import check_writable
from fracgen.support.provenance import need

if TYPE_CHECKING:
    from fracgen.benchmarking.record import Record
    from fracgen.recipes.recipe import Preset

app = typer.Typer(help="Measure speed: median and spread, with the machine and the versions beside it.")

Preset_ = Annotated[str, typer.Option("--recipe", help="Preset to render.")]
Size = Annotated[int | None, typer.Option(help="Side of the images in pixels.", show_default="the preset's")]
Prefetch = Annotated[int, typer.Option(help="Number of batches rendered ahead.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write the record as JSON here.")]


@app.callback()
def bench() -> None:
    """Measure speed: median and spread, with the machine and the versions beside it."""


@app.command()
def render(
    *,
    recipe: Preset_ = "paper",
    size: Size = None,
    points: Annotated[int | None, typer.Option(help="Points per attractor.", show_default="the preset's")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option(help="Number of images in a call.")] = 256,
    rounds: Annotated[int, typer.Option(help="Number of calls that are timed.")] = 9,
    threads: Annotated[
        int | None, typer.Option(help="Number of threads; CPU only.", show_default="one per processor")
    ] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure images and points per second, and each stage's share of the time."""
    from fracgen.benchmarking.images import bench_render

    _check_output(output)
    chosen = _preset(recipe, size, points)
    _show(bench_render(chosen, device=device, batch=batch_size, rounds=rounds, threads=threads), output, as_json)


@app.command()
def loader(
    *,
    recipe: Preset_ = "paper",
    size: Size = None,
    device: Device = "auto",
    batch_size: Annotated[
        list[int] | None,
        typer.Option(help="Number of images in a batch; repeat it to compare sizes.", show_default="64"),
    ] = None,
    batches: Annotated[int, typer.Option(help="Batches of the largest size in an epoch, which is what is timed.")] = 8,
    rounds: Annotated[int, typer.Option(help="Number of epochs of each layout.")] = 5,
    prefetch: Prefetch = 2,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure images per second of a loader whose batches are dropped, for each layout of its images."""
    from fracgen.benchmarking.images import bench_loader

    _check_output(output)
    record = bench_loader(
        _preset(recipe, size), device=device, batch=batch_size or [64], batches=batches, rounds=rounds,
        prefetch=prefetch,
    )  # fmt: skip
    _show(record, output, as_json)


@app.command()
def train(
    *,
    preset: Annotated[str, typer.Option(help="Pre-training preset.")] = "quick",
    model: Annotated[
        str | None, typer.Option(help="Classifier of torchvision or timm.", show_default="the preset's")
    ] = None,
    size: Size = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Number of images in a step.", show_default="the preset's")
    ] = None,
    device: Device = "auto",
    steps: Annotated[int, typer.Option(help="Number of steps in a block.")] = 20,
    rounds: Annotated[int, typer.Option(help="Number of pairs of blocks.")] = 15,
    prefetch: Prefetch = 2,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure what live rendering adds to a training step, with a 95% interval."""
    need("train")
    from fracgen.benchmarking.train import bench_train, config_for

    _check_output(output)
    config = config_for(preset, model, batch_size, size)
    _show(bench_train(config, device=device, steps=steps, rounds=rounds, prefetch=prefetch), output, as_json)


def _preset(name: str, size: int | None, points: int | None = None) -> Preset:
    chosen = read_preset(name)
    recipe = chosen.recipe if size is None else chosen.recipe.at_size(size)
    return dataclasses.replace(
        chosen, recipe=recipe if points is None else dataclasses.replace(recipe, points=points)
    )


def _check_output(output: Path | None) -> None:

    if output is not None:
        check_writable(output)


def _show(record: Record, output: Path | None, as_json: bool) -> None:
    if output is not None:
        record.write(output)
    print(record.to_json() if as_json else record.markdown(), end="")
