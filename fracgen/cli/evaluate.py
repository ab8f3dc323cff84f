"""`fracgen eval`: measure what weights are worth in eight anomaly detection methods."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from fracgen.cli.slurm import Account, Detach, Executor, Gpus, Memory, Partition, Sbatch, Time

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Model = Annotated[str, typer.Option(help="A network of timm with features, such as resnet18 or tf_efficientnet_lite0.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Overrides = Annotated[Path | None, typer.Option("--settings", help="TOML or JSON: a table of settings per method.")]
WEIGHTS_HELP = "fractal, imagenet, imagenet-v2, random (random-1 and so on: others), or name=FILE; may be repeated."
DATASET_HELP = "mvtec, visa, mvtec-loco, mvtec-ad2, btad, mpdd, real-iad, folder, surfaces or elpv."
METHOD_HELP = (
    "A method, several with commas, or all for the eight; anomalib:NAME is a model of Anomalib, such as anomalib:cfa; "
    "may be repeated."
)


@app.command()
def run(
    context: typer.Context,
    *,
    method: Annotated[list[str], typer.Option(help=METHOD_HELP)],
    weights: Annotated[list[str], typer.Option(help=WEIGHTS_HELP)],
    dataset: Annotated[str, typer.Option(help=DATASET_HELP)] = "surfaces",
    root: Annotated[Path | None, typer.Option(help="The dataset's folder; `surfaces` and `elpv` need none.")] = None,
    category: Annotated[list[str] | None, typer.Option(help="Categories, with commas or repeated.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Result folder; a grid is continued there.")] = Path("eval"),
    model: Model = "wide_resnet50_2",
    layers: Annotated[
        list[str] | None,
        typer.Option(help="For patchcore and padim: of layer1 to layer4 (stride 4 to 32), commas; repeat for sets."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds with commas, such as 0,1,2.")] = "0",
    shots: Annotated[int | None, typer.Option(help="Few-shot: training images, drawn by the seed.")] = None,
    protocol: Annotated[
        str, typer.Option(help="honest: fixed epochs. paper: stops on the test set, as the paper's tables did.")
    ] = "honest",
    limit: Annotated[str | None, typer.Option(help="small for a trial run, or a number of images.")] = None,
    input_norm: Annotated[
        str, typer.Option(help="checkpoint: the weights' own; imagenet: as the paper did.")
    ] = "checkpoint",
    map_size: Annotated[
        str, typer.Option(help="evaluation, or original: pixel metrics at the files' size.")
    ] = "evaluation",
    settings: Overrides = None,
    shard: Annotated[str, typer.Option(help="i/n: only every n-th cell, from the i-th, counted from 0.")] = "0/1",
    jobs: Annotated[
        int | None, typer.Option(help="Processes at a time; under SLURM, jobs.", min=1, show_default="1; SLURM: 256")
    ] = None,
    maps: Annotated[bool, typer.Option("--maps", help="Keep anomaly maps, for galleries.")] = False,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run finished cells again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and estimate, list the cells (SLURM: the script); run nothing.")
    ] = False,
    device: Device = "auto",
    executor: Executor = "local",
    detach: Detach = False,
    job_minutes: Annotated[float, typer.Option(help="SLURM: group cells until a job lasts so long.", min=0)] = 10.0,
    time: Time = "4:00:00",
    gpus: Gpus = 0,
    partition: Partition = None,
    memory: Memory = None,
    account: Account = None,
    sbatch: Sbatch = None,
) -> None:
    """Run a grid of methods, categories, weights and seeds; finished cells are never run again.

    Prints the result folder. Exit code 3 where cells failed; they are tried again by the next call.
    --executor slurm submits cells that no job has, and attaches to those that jobs have.
    """  # fmt: skip
    from fracgen.support.extras import need

    need("eval")
    from fracgen_eval.grid.plan import Request, check_names, make_plan
    from fracgen_eval.methods.settings import IMAGE_LEVEL, METHODS, read_overrides
    from fracgen_eval.weights.backbones import WeightsSpec

    from fracgen.cli import grid
    from fracgen.cli.options import parse_shard
    from fracgen.cli.slurm import slurm_options

    methods = _listed(method)
    if maps and methods and set(methods) <= set(IMAGE_LEVEL):
        raise ValueError(f"--maps: whole images are judged by {' and '.join(methods)}, without maps; leave it out")
    request = Request(
        out=out, methods=METHODS if methods == ("all",) else methods, dataset=dataset, root=root,
        weights=tuple(WeightsSpec.parse(w) for w in weights), categories=_listed(category) or None, model=model,
        layers=tuple(_listed([one]) for one in layers or []), seeds=_numbers(seeds), shots=shots, protocol=protocol,
        limit=limit, input_norm=input_norm, map_size=map_size,  # type: ignore[arg-type]
        overrides=read_overrides(settings) if settings else {}, shard=parse_shard(shard), rerun=rerun,
    )  # fmt: skip
    check_names(request)
    options = slurm_options(context, ("detach", "job_minutes"), at_once=jobs)
    if options is None:
        chosen = _device(device)
        plan = make_plan(request)
        raise typer.Exit(grid.run_here(plan, jobs or 1, chosen, maps=maps, dry_run=dry_run))
    from fracgen_eval.grid.slurm import Jobs

    chosen = ("cuda" if gpus else "cpu") if device == "auto" else device
    plan = make_plan(request)
    how = Jobs(options, chosen, maps, job_minutes)
    raise typer.Exit(grid.run_on_slurm(plan, how, detach=detach, dry_run=dry_run))


@app.command("list")
def list_(
    out: Annotated[Path | None, typer.Argument(help="A result folder: lists its cells.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List methods with their settings and datasets with their categories; or the cells of a result folder."""
    from fracgen_eval.datasets import DATASETS
    from fracgen_eval.datasets.counts import published_counts
    from fracgen_eval.grid.result import CellResult, Failure
    from fracgen_eval.grid.results import read_results
    from fracgen_eval.methods.settings import DEFAULTS

    from fracgen.support.terminal import say

    if out is not None:
        if not out.is_dir():
            raise ValueError(f"{out}: no such result folder; `fracgen eval run --out {out}` makes one")
        for path, result in read_results(out):
            if not isinstance(result, CellResult):
                say(str(result))
            elif as_json:
                table = result.to_json() | {"path": str(path)}
                print(json.dumps({k: table.get(k) for k in ("path", "status", "metrics", "cell", "wall_s")}))
            else:
                line = "  ".join(f"{name} {number:.4f}" for name, number in result.metrics.items())
                if isinstance(result.outcome, Failure):
                    line = f"error: {result.outcome.message}"
                print(f"{result.status:7}{path}  {line}")
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


@app.command()
def data(
    context: typer.Context,
    *,
    dataset: Annotated[str, typer.Argument(help="surfaces and defects are written; any other is checked.")],
    good: Annotated[Path | None, typer.Argument(help="defects: folder of good pictures, which are copied.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder to write.", show_default="the dataset's name")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.", min=0)] = 0,
    strength: Annotated[
        list[float] | None,
        typer.Option(
            help="Of the defects, above 0, up to 4; 1 as calibrated. May be repeated for defects.",
            show_default="1; defects: 0.5, 1 and 2",
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder to check.")] = None,
) -> None:
    """Write the dataset `surfaces`, or put its defects on good pictures of your own, or check the counts and every file
    of a dataset. Nothing is downloaded.
    """
    from fracgen.support.extras import need

    need("eval")
    from fracgen_eval.datasets import check_files, root_of, write_surfaces
    from fracgen_eval.datasets import dataset as dataset_of
    from fracgen_eval.datasets.defects import STRENGTHS, write_defects

    from fracgen.cli.options import refuse_given
    from fracgen.support.terminal import say

    folder = out or Path(dataset)
    if dataset == "defects":
        if good is None:
            raise ValueError("whose defects? name a folder of good pictures: fracgen eval data defects FOLDER -o OUT")
        refuse_given(context, ("root",), "defects are drawn on copies, and nothing is checked")
        print(write_defects(good, folder, seed, strength or STRENGTHS))
        return
    if good is not None:
        raise ValueError(f"{good}: only defects take a folder of good pictures; a dataset's folder is named by --root")
    source = dataset_of(dataset)
    if dataset != "surfaces" or root is not None:
        refuse_given(context, ("out", "seed", "strength"), "a dataset that is there is checked, and nothing written")
    if dataset == "surfaces" and root is None:
        if len(strength or ()) > 1:
            raise ValueError("surfaces have one --strength: write several datasets")
        print(write_surfaces(folder, seed, *(strength or ())))
        return
    root = root_of(dataset, root, folder)
    for name in source.categories(root):
        category = source.load(root, name)
        check_files(category)
        defects = sum(s.anomalous for s in category.test)
        kept = f"{len(category.validation):5} validation " if category.validation else ""
        good_ones = len(category.test) - defects
        if category.left_out:
            say(f"{name}: left out {category.left_out}")
        print(f"{name:20}{len(category.train):5} train {kept}{good_ones:5} good {defects:5} with defects")


@app.command()
def predict(
    context: typer.Context,
    *,
    images: Annotated[list[Path], typer.Argument(help="Pictures to judge, or folders of them.")],
    train: Annotated[Path | None, typer.Option(help="Folder of normal pictures to fit on.")] = None,
    load: Annotated[Path | None, typer.Option(help="Use a kept model instead of fitting one.")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="Folder of good pictures of another day, to compare with.")
    ] = None,
    false_alarms: Annotated[float, typer.Option(help="How often a normal picture may be flagged.")] = 0.05,
    tiles: Annotated[
        bool, typer.Option("--tiles", help="Judge large pictures at full resolution, in overlapping tiles.")
    ] = False,
    method: Annotated[str, typer.Option(help="The method to fit.")] = "patchcore",
    weights: Annotated[str, typer.Option(help=WEIGHTS_HELP.split(";")[0] + ".")] = "fractal",
    model: Model = "resnet18",
    layers: Annotated[str | None, typer.Option(help="For patchcore and padim, such as layer1,layer2.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the method.", min=0)] = 0,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Parts of the normal pictures, each judged by a model of the others; 1 keeps none back.",
            show_default="10; 5 where the method trains",
        ),
    ] = None,
    settings: Overrides = None,
    save: Annotated[Path | None, typer.Option(help="Keep the fitted model in this file.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for a page, heatmaps, a CSV and a JSON file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: Device = "auto",
) -> None:
    """Judge pictures of your own: prints score, p-value, decision and file of each, highest score first.

    `*` marks what is flagged: at most a share of --false-alarms of normal pictures is.
    """
    from fracgen.support.extras import need

    need("eval")
    from fracgen_eval.methods.needs import check_layer_choice
    from fracgen_eval.methods.settings import read_overrides
    from fracgen_eval.predict.fitting import Choice
    from fracgen_eval.predict.run import Request
    from fracgen_eval.predict.run import predict as judged
    from fracgen_eval.weights.backbones import WeightsSpec

    from fracgen.cli.options import refuse_given
    from fracgen.support.terminal import say

    if load is not None:
        fixed = ("method", "weights", "model", "layers", "seed", "settings", "folds", "tiles")
        refuse_given(context, fixed, "the kept model of --load was fitted with its own")
    layer_choice = _listed([layers]) if layers is not None else None
    check_layer_choice(method, layer_choice)
    overrides = read_overrides(settings).get(method) if settings else {}
    if overrides is None:
        raise ValueError(f"{settings} has no settings of {method}: add a table [{method}], or leave --settings out")
    request = Request(
        images=tuple(images), train=train, load=load, calibrate=calibrate, false_alarms=false_alarms, save=save,
        out=out, device=device, choice=Choice(
            method=method, weights=WeightsSpec.parse(weights), model=model, layers=layer_choice, overrides=overrides,
            seed=seed, folds=folds, tiled=tiles,
        ),
    )  # fmt: skip
    request.check()
    verdict = judged(dataclasses.replace(request, device=_device(device)))
    for line in (*verdict.notes, verdict.promise, *verdict.warnings):
        say(line)
    for row in verdict.rows:
        mark, p = "*" if row.flagged else " ", "" if row.p_value is None else f"{row.p_value:.3g}"
        print(json.dumps(dataclasses.asdict(row)) if as_json else f"{row.score:12.6g} {p:>8} {mark} {row.path}")


def _device(device: str) -> str:
    from fracgen.rendering.device import torch_fault, use_gpu

    return "cuda" if use_gpu(device, "evaluating", torch_fault) else "cpu"


def _listed(texts: list[str] | None) -> tuple[str, ...]:
    """Names from repeated options and from commas in them, each once."""
    return tuple(dict.fromkeys(name.strip() for text in texts or [] for name in text.split(",") if name.strip()))


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(n) for n in text.split(",")))
    except ValueError:
        raise ValueError(f"seeds {text!r} are not whole numbers with commas: for example 0,1,2") from None
