"""`fracgen eval`: measure what weights are worth in eight anomaly detection methods."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer
from fracgen_eval.grid.plan import Request
from fracgen_eval.predict.request import Request as Judging

from fracgen.cli.options import AsJson, Cluster, Device, refuse_given, with_options
from fracgen.slurm.submission import as_jobs
from fracgen.support.provenance import need
from fracgen.support.terminal import duration, one_line, say

if TYPE_CHECKING:
    from fracgen_eval.grid.plan import Plan
    from fracgen_eval.grid.slurm import Jobs

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
    need("eval")
    from fracgen_eval.grid.plan import check_names, make_plan
    from fracgen_eval.methods.settings import IMAGE_LEVEL

    if maps and request.methods and set(request.methods) <= set(IMAGE_LEVEL):
        raise ValueError(f"--maps: whole images are judged by {' and '.join(request.methods)}, without maps; "
                         "leave it out")  # fmt: skip
    check_names(request)
    from fracgen_eval.grid.slurm import Jobs  # after what can be refused at once

    options = cluster.options(context, ("job_minutes",), gpus=gpus, at_once=jobs)
    if options is None:
        chosen = _device(device)
        raise typer.Exit(_run_here(make_plan(request), jobs or 1, chosen, maps=maps, dry_run=dry_run))
    chosen = ("cuda" if gpus else "cpu") if device == "auto" else device
    how = Jobs(options, chosen, maps, job_minutes)
    raise typer.Exit(_run_on_slurm(make_plan(request), how, detach=cluster.detach, dry_run=dry_run))


def _run_here(plan: Plan, jobs: int, device: str, *, maps: bool, dry_run: bool) -> int:
    """Run a plan in processes of this machine; the exit code."""
    from fracgen_eval.grid.progress import Progress
    from fracgen_eval.grid.run import run_plan

    _announce(plan, jobs, device)
    if dry_run:
        for cell in plan.pending:
            print(cell.path)
        return 0
    try:
        plan.request.out.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(Progress(plan, jobs, device)) as progress:
            failed = run_plan(plan, progress, jobs=jobs, device=device, keep_maps=maps)
    except OSError as error:
        say(one_line(error))
        return 1
    return _end(plan, failed)


def _run_on_slurm(plan: Plan, jobs: Jobs, *, detach: bool, dry_run: bool) -> int:
    """Submit the cells that no job has, and watch until all have ended; the exit code.

    Raises:
        SlurmError: SLURM cannot be asked, or refuses.
        KeyboardInterrupt: Ctrl-C; the jobs go on.
    """
    from fracgen_eval.grid.progress import Progress
    from fracgen_eval.grid.slurm import follow, grouped, script, submit

    count = len(grouped(plan, plan.pending, jobs))
    _announce(plan, min(count, jobs.options.at_once), jobs.device)
    if dry_run:
        if count:
            say(f"as {count} jobs of this script:")
            print(script(plan, jobs), end="")
        return 0
    plan.request.out.mkdir(parents=True, exist_ok=True)
    attached = submit(plan, jobs)

    def watch() -> int:
        with contextlib.closing(Progress(plan, count, jobs.device)) as progress:
            return _end(plan, follow(plan, attached, progress))

    code = as_jobs(attached, "cell", watch, detach=detach)
    if detach:
        print(plan.request.out)
    return code


def _end(plan: Plan, failed: int) -> int:
    print(plan.request.out)
    if failed:
        say(f"{failed} cells failed; `fracgen eval list {plan.request.out}` says why, and the same command tries again")
    return 3 if failed else 0


def _announce(plan: Plan, jobs: int, device: str) -> None:
    """Say what of the data is left out, what will be run, with which weights, and how long it takes, where known."""
    for name, category in plan.categories.items():
        if category.left_out:
            say(f"{name}: left out {category.left_out}")
    for weights in plan.weights.values():
        say(weights.sentence())
    known = [seconds for cell in plan.pending if (seconds := plan.seconds(cell, device)) is not None]
    time = ""
    if known:
        time = f", about {duration(fmean(known) * len(plan.pending) / max(1, jobs))} by the times of cells like these"
        time += f" ({len(known)} of them)" * (len(known) < len(plan.pending))
    counts = f"{len(plan.pending)} cells to run, {len(plan.finished)} finished"
    say(f"{counts}, protocol {plan.request.protocol}, on {device}{time}")


@app.command("list")
def list_(
    out: Annotated[Path | None, typer.Argument(help="A result folder: lists its cells.")] = None,
    as_json: AsJson = False,
) -> None:
    """List methods with their settings, datasets with their categories and the package's weights; or the cells of a
    result folder.
    """
    from fracgen_eval.datasets import DATASETS
    from fracgen_eval.datasets.counts import published_counts
    from fracgen_eval.methods.settings import DEFAULTS

    from fracgen.training import built_in

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
        print(json.dumps({"methods": DEFAULTS, "datasets": names, "fractal": built_in.names()}, indent=1))
        return
    for name, values in DEFAULTS.items():
        print(f"{name:13}" + " ".join(f"{k}={','.join(v) if isinstance(v, list) else v}" for k, v in values.items()))
    print("anomalib:NAME any model of Anomalib that takes a backbone, such as anomalib:cfa or anomalib:dfm")
    for name, categories in names.items():
        print(f"{name:13}{' '.join(categories) or 'any folder in MVTec layout'}")
    print(f"{'fractal':13}{' '.join(built_in.names())}")


def _list_cells(out: Path, as_json: bool) -> None:
    from fracgen_eval.grid.result import METRICS, Failure
    from fracgen_eval.grid.results import read_table

    cells, problems = read_table(out)
    for problem in problems:
        say(problem)
    for cell in cells.itertuples():
        metrics = {name: cell.result.metrics[name] for name in METRICS if name in cell.result.metrics}
        outcome = cell.result.outcome
        tag = None if isinstance(outcome, Failure) else outcome.training.weights.get("tag")
        if as_json:
            about = cell.result.cell.to_json() | {"digest": cell.result.cell.digest}
            wall = cell.result.cost.wall_s
            row = {"path": cell.path, "status": cell.status, "metrics": metrics, "cell": about, "wall_s": wall,
                   "tag": tag}  # fmt: skip
            print(json.dumps(row))
        elif isinstance(outcome, Failure):
            print(f"{cell.status:7}{cell.path}  error: {outcome.message}")
        else:
            shown = [f"{name} {n:.4f}" for name, n in metrics.items()] + ([f"tag {tag}"] if tag else [])
            print(f"{cell.status:7}{cell.path}  " + "  ".join(shown))


@app.command()
def data(
    context: typer.Context,
    *,
    dataset: Annotated[str, typer.Argument(help="surfaces and defects are written; any other is checked.")],
    good: Annotated[Path | None, typer.Argument(help="defects: folder of good pictures.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write.", show_default="the dataset's name")
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
    need("eval")
    from fracgen_eval.datasets import write_surfaces
    from fracgen_eval.datasets.defects import STRENGTHS, write_defects

    folder = out or Path(dataset)
    if dataset == "defects":
        if good is None:
            raise ValueError("whose defects? name a folder of good pictures: fracgen eval data defects FOLDER -o OUT")
        refuse_given(context, ("root",), "defects are drawn on copies, and nothing is checked")
        print(write_defects(good, folder, seed, strength or STRENGTHS))
    elif good is not None:
        raise ValueError(f"{good}: only defects take a folder of good pictures; a dataset's folder is named by --root")
    elif dataset == "surfaces" and root is None:
        if len(strength or ()) > 1:
            raise ValueError("surfaces have one --strength: write several datasets")
        print(write_surfaces(folder, seed, *(strength or ())))
    else:
        refuse_given(context, ("out", "seed", "strength"), "a dataset that is there is checked, and nothing written")
        _check_data(dataset, root, folder)


def _check_data(dataset: str, root: Path | None, folder: Path) -> None:
    """Check every file of a dataset, and print what each category holds. Raises ValueError or OSError."""
    from fracgen_eval.datasets import check_files, root_of
    from fracgen_eval.datasets import dataset as dataset_of

    source, root = dataset_of(dataset), root_of(dataset, root, folder)
    for name in source.categories(root):
        category = source.load(root, name)
        check_files(category)
        defects = sum(s.anomalous for s in category.test)
        kept = f"{len(category.validation):5} validation " if category.validation else ""
        if category.left_out:
            say(f"{name}: left out {category.left_out}")
        good = len(category.test) - defects
        print(f"{name:20}{len(category.train):5} train {kept}{good:5} good {defects:5} with defects")


@app.command()
@with_options
def predict(
    context: typer.Context,
    *,
    images: Annotated[list[Path], typer.Argument(help="Pictures to judge, or folders of them.")],
    request: Judging,
    as_json: AsJson = False,
    device: Device = "auto",
) -> None:
    """Judge pictures of your own: prints score, p-value, decision and file of each, highest score first.

    `*` marks what is flagged, which of normal pictures is at most a share of --false-alarms.
    """
    need("eval")
    from fracgen_eval.predict.run import predict as judged

    if request.load is not None:
        fixed = [one.name for one in dataclasses.fields(request.choice)]
        refuse_given(context, fixed, "the kept model of --load was fitted with its own")
    request.check(images)
    verdict = judged(images, request, _device(device))
    for line in (*verdict.notes, verdict.promise, *verdict.warnings):
        say(line)
    for row in verdict.rows:
        mark, p = "*" if row.flagged else " ", "" if row.p_value is None else f"{row.p_value:.3g}"
        print(json.dumps(dataclasses.asdict(row)) if as_json else f"{row.score:12.6g} {p:>8} {mark} {row.path}")


def _device(device: str) -> str:
    from fracgen.rendering.device import torch_fault, use_gpu

    return "cuda" if use_gpu(device, "evaluating", torch_fault) else "cpu"
