"""`fracgen bench`: how fast it is here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fracgen.benchmarking.record import Record
    from fracgen.recipes.recipe import Preset

app = typer.Typer(help="Measure speed: median and spread, with the machine and the versions beside it.")

Preset_ = Annotated[str, typer.Option("--recipe", help="Preset to render.")]
Size = Annotated[int | None, typer.Option(help="Side in pixels; default: the preset's.")]
Prefetch = Annotated[int, typer.Option(help="Batches rendered ahead.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write the record as JSON here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, not Markdown.")]


@app.callback()
def bench() -> None:
    """Measure speed: median and spread, with the machine and the versions beside it."""


@app.command()
def render(
    *,
    recipe: Preset_ = "paper",
    size: Size = None,
    points: Annotated[int | None, typer.Option(help="Points per attractor; default: the preset's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch: Annotated[int, typer.Option(help="Images per call.")] = 256,
    rounds: Annotated[int, typer.Option(help="Calls that are timed.")] = 9,
    threads: Annotated[int | None, typer.Option(help="CPU only; default: one per CPU.")] = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Images and points per second, and where the time goes."""
    from fracgen.benchmarking.images import bench_render

    _check_folder(output)
    chosen = _preset(recipe, size, points)
    _show(bench_render(chosen, device=device, batch=batch, rounds=rounds, threads=threads), output, as_json)


@app.command()
def loader(
    *,
    recipe: Preset_ = "paper",
    size: Size = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch: Annotated[
        list[int] | None, typer.Option(help="Images a batch; give it again to compare sizes.", show_default="64")
    ] = None,
    batches: Annotated[int, typer.Option(help="Batches of the largest size an epoch, which is what is timed.")] = 8,
    rounds: Annotated[int, typer.Option(help="Epochs of each layout.")] = 5,
    prefetch: Prefetch = 2,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Images per second of a loader whose batches are dropped at once, for each layout of its images."""
    from fracgen.benchmarking.images import bench_loader

    _check_folder(output)
    how = {"batches": batches, "rounds": rounds, "prefetch": prefetch}
    _show(bench_loader(_preset(recipe, size), device=device, batch=batch or [64], **how), output, as_json)


@app.command()
def train(
    *,
    preset: Annotated[str, typer.Option(help="Pre-training preset.")] = "quick",
    model: Annotated[str | None, typer.Option(help="Another model than the preset's.", show_default=False)] = None,
    size: Size = None,
    batch: Annotated[int | None, typer.Option(help="Images a step; default: the preset's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    steps: Annotated[int, typer.Option(help="Steps of a block.")] = 20,
    rounds: Annotated[int, typer.Option(help="Pairs of blocks.")] = 15,
    prefetch: Prefetch = 2,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """What live rendering adds to a training step: pairs of blocks in turn, with a 95% interval."""
    from fracgen.support.extras import need

    need("train")
    from fracgen.benchmarking.train import bench_train, config_for

    _check_folder(output)
    config = config_for(preset, model, batch, size)
    _show(bench_train(config, device=device, steps=steps, rounds=rounds, prefetch=prefetch), output, as_json)


def _preset(name: str, size: int | None, points: int | None = None) -> Preset:
    from fracgen.cli.options import read_preset

    chosen = read_preset(name)
    recipe = chosen.recipe if size is None else chosen.recipe.at_size(size)
    return dataclasses.replace(
        chosen, recipe=recipe if points is None else dataclasses.replace(recipe, points=points)
    )


def _check_folder(output: Path | None) -> None:
    if output is not None and not output.parent.is_dir():
        raise FileNotFoundError(f"no folder {output.parent} to write {output.name} in: make it first")


def _show(record: Record, output: Path | None, as_json: bool) -> None:
    if output is not None:
        record.write(output)
    print(record.to_json() if as_json else record.markdown(), end="")
