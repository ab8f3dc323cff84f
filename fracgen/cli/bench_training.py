"""`fracgen bench loader` and `fracgen bench train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write the record as JSON here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, not Markdown.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def loader(
    *,
    recipe: Annotated[str, typer.Option(help="Preset to render.")] = "paper",
    size: Annotated[int | None, typer.Option(help="Side in pixels; default: the preset's.")] = None,
    device: Device = "auto",
    batch: Annotated[
        list[int] | None, typer.Option(help="Images a batch; give it again to compare sizes.", show_default="64")
    ] = None,
    batches: Annotated[int, typer.Option(help="Batches of the largest size an epoch, which is what is timed.")] = 8,
    rounds: Annotated[int, typer.Option(help="Epochs of each layout.")] = 5,
    prefetch: Annotated[int, typer.Option(help="Batches rendered ahead.")] = 2,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Images per second of a loader whose batches are dropped at once, for each layout of its images."""
    from fracgen.benchmarking.loader import bench_loader
    from fracgen.cli.options import read_preset

    _check_folder(output)
    chosen, sizes = read_preset(recipe), batch or [64]
    made = chosen.recipe if size is None else chosen.recipe.at_size(size)
    _show(bench_loader(chosen.bank, made, device=device, batch=sizes[0] if len(sizes) == 1 else sizes,
                       batches=batches, rounds=rounds, prefetch=prefetch), output, as_json)  # fmt: skip


def train(
    *,
    preset: Annotated[str, typer.Option(help="Pre-training preset.")] = "quick",
    model: Annotated[str | None, typer.Option(help="Another model than the preset's.", show_default=False)] = None,
    size: Annotated[int | None, typer.Option(help="Side in pixels; default: the preset's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step; default: the preset's.")] = None,
    device: Device = "auto",
    steps: Annotated[int, typer.Option(help="Steps of a block.")] = 20,
    rounds: Annotated[int, typer.Option(help="Pairs of blocks.")] = 15,
    prefetch: Annotated[int, typer.Option(help="Batches rendered ahead.")] = 2,
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


def _check_folder(output: Path | None) -> None:
    if output is not None and not output.parent.is_dir():
        raise FileNotFoundError(f"no folder {output.parent} to write {output.name} in: make it first")


def _show(data: dict[str, Any], output: Path | None, as_json: bool) -> None:
    from fracgen.benchmarking.timing import markdown
    from fracgen.support.files import whole_file

    text = json.dumps(data, indent=2) + "\n"
    if output is not None:
        with whole_file(output) as file:
            file.write(text.encode())
    typer.echo(text if as_json else markdown(data), nl=False)
