"""`fracgen eval`: measure what weights are worth in eight anomaly detection methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from fracgen_eval.grid.plan import MODEL_HELP, SETTINGS_HELP, WEIGHTS_HELP, Request

from fracgen.cli.options import AsJson, Cluster, Device, refuse_given, with_options
from fracgen.support.options import parse_names

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command()
@with_options
def run(
    context: typer.Context,
    *,
    request: Request,
    jobs: Annotated[
        int | None, typer.Option(help="Processes at a time; under SLURM, jobs.", min=1, show_default="1; SLURM: 256")
    ] = None,
    maps: Annotated[bool, typer.Option("--maps", help="Keep anomaly maps, for galleries.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, count and list the cells (SLURM: print the script); run nothing.")
    ] = False,
    device: Device = "auto",
    job_minutes: Annotated[float, typer.Option(help="SLURM: group cells until a job lasts so long.", min=0)] = 10.0,
    gpus: Annotated[int, typer.Option(help="SLURM: GPUs of a job.", min=0)] = 0,
    cluster: Cluster,
) -> None:
    """Run a grid of methods, categories, weights and seeds; finished cells are never run again.

    Prints the result folder. Exit code 3 where cells failed; they are tried again by the next call.
    --executor slurm submits cells that no job has, and attaches to those that jobs have.
    """
    from fracgen.support.provenance import need

    need("eval")
    from fracgen_eval.grid.plan import check_names, make_plan
    from fracgen_eval.grid.slurm import Jobs
    from fracgen_eval.methods.settings import IMAGE_LEVEL

    from fracgen.cli import grid

    if maps and request.methods and set(request.methods) <= set(IMAGE_LEVEL):
        raise ValueError(f"--maps: whole images are judged by {' and '.join(request.methods)}, without maps; "
                         "leave it out")  # fmt: skip
    check_names(request)
    options = cluster.options(context, ("job_minutes",), gpus=gpus, at_once=jobs)
    if options is None:
        chosen = _device(device)
        raise typer.Exit(grid.run_here(make_plan(request), jobs or 1, chosen, maps=maps, dry_run=dry_run))
    chosen = ("cuda" if gpus else "cpu") if device == "auto" else device
    how = Jobs(options, chosen, maps, job_minutes)
    raise typer.Exit(grid.run_on_slurm(make_plan(request), how, detach=cluster.detach, dry_run=dry_run))


@app.command("list")
def list_(
    out: Annotated[Path | None, typer.Argument(help="A result folder: lists its cells.")] = None,
    as_json: AsJson = False,
) -> None:
    """List methods with their settings and datasets with their categories; or the cells of a result folder."""
    from fracgen_eval.datasets import DATASETS
    from fracgen_eval.datasets.counts import published_counts
    from fracgen_eval.methods.settings import DEFAULTS

    from fracgen.support.provenance import need

    if out is not None:
        if not out.is_dir():
            raise ValueError(f"{out}: no such result folder; `fracgen eval run -o {out}` makes one")
        need("eval")
        _list_cells(out, as_json)
        return
    names: dict[str, list[str]] = {
        name: list(published_counts(name)) or ([] if name == "folder" else d.categories(Path()))
        for name, d in DATASETS.items()
    }
    if as_json:
        print(json.dumps({"methods": DEFAULTS, "datasets": names}, indent=1))
        return
    for name, values in DEFAULTS.items():
        print(f"{name:10}" + " ".join(f"{k}={','.join(v) if isinstance(v, list) else v}" for k, v in values.items()))
    print("anomalib:NAME  any model of Anomalib that takes a backbone, such as anomalib:cfa or anomalib:dfm")
    for name, categories in names.items():
        print(f"{name:11}{' '.join(categories) or 'any folder in MVTec layout'}")


def _list_cells(out: Path, as_json: bool) -> None:
    from fracgen_eval.grid.result import METRICS, Failure
    from fracgen_eval.grid.results import read_table

    from fracgen.support.terminal import say

    cells, problems = read_table(out)
    for problem in problems:
        say(problem)
    for cell in cells.itertuples():
        metrics = {name: cell.result.metrics[name] for name in METRICS if name in cell.result.metrics}
        if as_json:
            about = cell.result.cell.to_json() | {"digest": cell.result.cell.digest}
            wall = cell.result.cost.wall_s
            row = {"path": cell.path, "status": cell.status, "metrics": metrics, "cell": about, "wall_s": wall}
            print(json.dumps(row))
        elif isinstance(cell.result.outcome, Failure):
            print(f"{cell.status:7}{cell.path}  error: {cell.result.outcome.message}")
        else:
            print(f"{cell.status:7}{cell.path}  " + "  ".join(f"{name} {n:.4f}" for name, n in metrics.items()))


@app.command()
def data(
    context: typer.Context,
    *,
    dataset: Annotated[str, typer.Argument(help="surfaces is written; any other is checked.")],
    out: Annotated[Path, typer.Option("-o", "--output", help="surfaces: folder to write.")] = Path("surfaces"),
    seed: Annotated[int, typer.Option(help="surfaces: seed of views and defects.", min=0)] = 0,
    strength: Annotated[float, typer.Option(help="surfaces: of the defects, above 0, up to 4; 1 as calibrated.")] = 1.0,
    root: Annotated[Path | None, typer.Option(help="Folder to check.")] = None,
) -> None:
    """Write the dataset `surfaces`, or check the counts and every file of a dataset. Nothing is downloaded."""
    from fracgen.support.provenance import need

    need("eval")
    from fracgen_eval.datasets import check_files, root_of, write_surfaces
    from fracgen_eval.datasets import dataset as dataset_of

    from fracgen.support.terminal import say

    source = dataset_of(dataset)
    if dataset != "surfaces" or root is not None:
        refuse_given(context, ("out", "seed", "strength"), "a dataset that is there is checked, and nothing written")
    if dataset == "surfaces" and root is None:
        print(write_surfaces(out, seed, strength))
        return
    root = root_of(dataset, root, out)
    for name in source.categories(root):
        category = source.load(root, name)
        check_files(category)
        defects = sum(s.anomalous for s in category.test)
        kept = f"{len(category.validation):5} validation " if category.validation else ""
        good = len(category.test) - defects
        if category.left_out:
            say(f"{name}: left out {category.left_out}")
        print(f"{name:20}{len(category.train):5} train {kept}{good:5} good {defects:5} with defects")


@app.command()
def predict(
    context: typer.Context,
    *,
    images: Annotated[list[Path], typer.Argument(help="Pictures to judge.")],
    method: Annotated[str, typer.Option(help="The method to fit.")] = "patchcore",
    train: Annotated[Path | None, typer.Option(help="Folder of normal pictures to fit on.")] = None,
    weights: Annotated[str, typer.Option(help=WEIGHTS_HELP.split(";")[0] + ".")] = "fractal",
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "resnet18",
    layers: Annotated[str | None, typer.Option(help="For patchcore and padim, such as layer1,layer2.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the method.", min=0)] = 0,
    settings: Annotated[Path | None, typer.Option(help=SETTINGS_HELP)] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the fitted model in this file.")] = None,
    load: Annotated[Path | None, typer.Option(help="Use a kept model instead of fitting one.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for heatmaps.")] = None,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Judge one's own pictures: prints a score and the file of each, highest first, and writes heatmaps.

    Higher is more anomalous. Where normal pictures were kept back, `*` marks scores above all of theirs.
    """
    from fracgen.support.provenance import need

    need("eval")
    if (load is None) == (train is None):
        raise ValueError("give either --train, a folder of normal pictures, or --load, a kept model")
    from fracgen.support.terminal import say, working

    if load is not None:
        fixed = ("method", "weights", "model", "layers", "seed", "settings")
        refuse_given(context, fixed, "the kept model of --load was fitted with its own")
    _check_paths(images, train, load, save, out)
    from fracgen_eval.datasets.listing import images_in, left_out
    from fracgen_eval.methods.settings import IMAGE_LEVEL, check_layer_choice, read_overrides
    from fracgen_eval.pictures import read_picture
    from fracgen_eval.predict import FittedModel, fit_model, write_heatmaps
    from fracgen_eval.weights.backbones import WeightsSpec

    chosen_layers = parse_names([layers]) if layers is not None else None
    check_layer_choice(method, chosen_layers)
    chosen = _device(device)
    fitted = FittedModel.load(load, chosen) if load is not None else None
    method = method if fitted is None else fitted.fit.method
    if out is not None and method in IMAGE_LEVEL:
        raise ValueError(f"{method} judges whole images and has no heatmaps: leave out --output")
    if fitted is None:
        assert train is not None
        overrides = read_overrides(settings).get(method) if settings else {}
        if overrides is None:
            raise ValueError(f"{settings} has no settings of {method}: add a table [{method}], or leave --settings out")
        for picture in images:
            read_picture(picture)  # what cannot be judged is refused before the work of fitting
        fitted = fit_model(
            method, train, WeightsSpec.parse(weights), model=model, layers=chosen_layers,
            seed=seed, device=chosen, overrides=overrides,
        )  # fmt: skip
        if rest := left_out(train, [train], images_in(train)):
            say(f"{train}: left out {rest}")
    if save is not None:
        with working():
            fitted.save(save)
    prediction, written = fitted.judge(images), list[Path | None]([None] * len(images))
    if out is not None:
        with working():
            written = list(write_heatmaps(fitted, images, prediction, out))
    normal = fitted.normal.normal_score
    rows = [
        {"path": str(p), "score": float(s), "above_normal": None if normal is None else bool(s > normal),
         "heatmap": str(w) if w else None}
        for p, s, w in zip(images, prediction.scores, written, strict=True)
    ]  # fmt: skip
    for row in sorted(rows, key=lambda row: -float(str(row["score"]))):
        mark = "*" if row["above_normal"] else " "
        print(json.dumps(row) if as_json else f"{row['score']:12.6g} {mark} {row['path']}")


def _check_paths(
    images: list[Path], train: Path | None, load: Path | None, save: Path | None, out: Path | None
) -> None:
    """Refuse what is not there, and what cannot be written, before anything heavy is imported. Raises ValueError."""
    from fracgen.support.files import check_writable

    if missing := [p for p in images if not p.is_file()]:
        raise ValueError(f"{missing[0]}: no such picture")
    if load is not None and not load.is_file():
        raise ValueError(f"{load}: no such fitted model; fit one with --train and --save")
    if train is not None and not train.is_dir():
        raise ValueError(f"{train}: no such folder of normal pictures")
    if save is not None:
        check_writable(save)
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file: name a folder for heatmaps with -o")


def _device(device: str) -> str:
    from fracgen.rendering.device import torch_fault, use_gpu

    return "cuda" if use_gpu(device, "evaluating", torch_fault) else "cpu"
