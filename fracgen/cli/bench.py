"""`fracgen bench`: how fast it is here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fracgen.cli.bench_training import loader, train

app = typer.Typer(help="Measure speed: median and spread, with the machine and the versions beside it.")


@app.callback()
def bench() -> None:
    """Measure speed: median and spread, with the machine and the versions beside it."""


@app.command()
def render(
    *,
    recipe: Annotated[str, typer.Option(help="Preset to render.")] = "paper",
    size: Annotated[int | None, typer.Option(help="Side in pixels; default: the preset's.")] = None,
    points: Annotated[int | None, typer.Option(help="Points per attractor; default: the preset's.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch: Annotated[int, typer.Option(help="Images per call.")] = 256,
    rounds: Annotated[int, typer.Option(help="Calls that are timed.")] = 9,
    threads: Annotated[int | None, typer.Option(help="CPU only; default: one per CPU.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the record as JSON here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not Markdown.")] = False,
) -> None:
    """Images and points per second, and where the time goes."""
    import dataclasses
    import json

    from fracgen.benchmarking.render import bench_render
    from fracgen.benchmarking.timing import markdown
    from fracgen.recipes.presets import preset
    from fracgen.support.files import whole_file

    chosen = preset(recipe)
    made = chosen.recipe if size is None else chosen.recipe.at_size(size)
    if points is not None:
        made = dataclasses.replace(made, points=points)
    if output is not None and not output.parent.is_dir():
        raise FileNotFoundError(f"no folder {output.parent} to write {output.name} in: make it first")
    data = bench_render(chosen, made, device=device, batch=batch, rounds=rounds, threads=threads)
    if output is not None:
        with whole_file(output) as file:
            file.write((json.dumps(data, indent=2) + "\n").encode())
    typer.echo(json.dumps(data, indent=2) if as_json else markdown(data), nl=as_json)


app.command()(loader)
app.command()(train)
