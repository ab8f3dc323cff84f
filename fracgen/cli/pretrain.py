"""`fracgen pretrain` and `fracgen export`: weights from fractals."""

from __future__ import annotations

import dataclasses
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fracgen.cli.options import Cluster, Given, say_version, with_options
from fracgen.slurm.queue import LOOK_S, Watch, end_of
from fracgen.slurm.submission import SlurmFolder, Task, as_jobs
from fracgen.support.options import Option
from fracgen.support.provenance import need
from fracgen.support.terminal import say, show, working
from fracgen.training.config import Config, Machine

if TYPE_CHECKING:
    from fracgen.formulas.files import Bank
    from fracgen.slurm.options import SlurmOptions
    from fracgen.training.folder import RunFolder

STOP_BEFORE_LIMIT = "USR1@120"
"""The signal that a job gets before its time limit, and how many seconds before."""
NAME, RUN = "fracgen-pretrain", "run"


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The options of `fracgen pretrain`; no file is read yet."""
    preset: Annotated[
        str | None,
        Option("paper, anderson2022, fractal4ad, fractaldb, multi-formula, multi-instance, two-view, "
               "mandelbulb, multi-mandelbulb, ofdb, twins; quick for a laptop.", default="paper"),
    ] = None
    output: Annotated[
        Path | None, Option("The run's folder.", names=("-o", "--output"), default="runs/PRESET-MODEL-SEED")
    ] = None
    resume: Annotated[
        str | None,
        "auto: continue from the newest whole checkpoint in --output, or start where there is none. A path: continue "
        "from that checkpoint.",
    ] = None
    bank: Annotated[Path | None, Option("File of codes.", default="the preset's codes")] = None
    initial_weights: Annotated[
        str | None,
        Option("Begin with these: an export of the same model, or fractal (fractal.TAG) for the package's. The last "
               "layer stays random.", default="random weights"),
    ] = None
    size: Annotated[int | None, Option("Side of the images in pixels.", default="the preset's")] = None
    views: Annotated[int | None, Option("2: pairs of images of the same code.", default="the preset's")] = None
    augment: Annotated[
        str | None, Option("none, crop, full or unmixed (full, for pairs).", default="the preset's")
    ] = None
    changes: Annotated[dict[str, object], Given(Config)] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)


@with_options
def pretrain(
    context: typer.Context,
    *,
    asked: Pretraining,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="SLURM: print the script; run nothing.")] = False,
    cluster: Cluster,
) -> None:
    """Pre-train a network on fractal images that are rendered as it goes, and export its weights.

    The run's folder holds its configuration, codes, log, metrics, checkpoints and export; its path is
    printed at the end. Several GPUs: --devices 8, or torchrun --nproc-per-node 8 -m fracgen pretrain.
    SIGTERM, SIGHUP and SIGUSR1 stop it after a checkpoint; under SLURM, with --resume auto, its job is then
    queued again.
    """
    machine = asked.machine
    need("train", *machine.loggers)
    processes = machine.devices or 1
    slurm = cluster.options(
        context, ("dry_run",), nodes=machine.num_nodes, tasks=processes, minutes=1440,
        gpus=0 if machine.device == "cpu" else processes, signal=STOP_BEFORE_LIMIT,
    )  # fmt: skip
    if slurm is None:
        raise typer.Exit(train_here(asked))
    raise typer.Exit(train_as_job(asked, slurm, detach=cluster.detach, dry_run=dry_run))


def export(
    run: Annotated[Path, typer.Argument(help="A folder that `fracgen pretrain` made.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write.", show_default="RUN/export")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="auto: the newest whole one; or a path.")] = "auto",
    classifier: Annotated[bool, typer.Option(help="With the last layer, or without.")] = True,
    half: Annotated[bool, typer.Option("--half", help="In half precision: a file half as large.")] = False,
) -> None:
    """Export a run's weights as safetensors, with their own normalisation and a model card."""
    need("train")
    from fracgen.training.export import export as write
    from fracgen.training.folder import RunFolder

    print(write(RunFolder(run), output, checkpoint=checkpoint, classifier=classifier, half=half))


def train_here(asked: Pretraining) -> int:
    """Train in this process; the exit code."""
    from fracgen.training.loop import StopSignals
    from fracgen.training.run import prepare

    with StopSignals() as stop:  # from here on: starting takes a while, too
        read = read_files(asked)
        run = prepare(
            read.config, read.folder, asked.machine, bank=read.codes, initial=read.initial, resume=asked.resume,
            stop=stop,
        )  # fmt: skip
        with working():
            run.train()
    if stop.received is not None and not run.finished:
        return 128 + stop.received
    if run.fabric.is_global_zero:
        print(read.folder.path)
    return 0


@dataclass(frozen=True)
class Read:
    """A pre-training with the files that its options name; nothing is written yet."""
    config: Config
    folder: RunFolder
    codes: Bank | None
    initial: Path | None


def read_files(asked: Pretraining) -> Read:
    """Read the files that the options name, and the configuration of a run that is resumed.

    Raises:
        ValueError: an option is out of range, they contradict each other or the run that is resumed.
        OSError: a file cannot be read.
    """
    from fracgen.formulas.formula import load_bank
    from fracgen.loading.augment import augmentation
    from fracgen.training.config import named_config
    from fracgen.training.folder import RunFolder

    base, changes = named_config(asked.preset or "paper"), dict(asked.changes)
    default = f"{base.preset}-{changes.get('model', base.model)}-{changes.get('seed', 0)}".replace("/", "-")
    folder = RunFolder(asked.output or Path("runs") / default)
    own = folder.read_config()[0] if folder.resumes(asked.resume) else None
    if own is not None and asked.preset is None:
        base = own
    codes = None if asked.bank is None else load_bank(asked.bank)
    if codes is not None:
        changes["bank"] = codes.spec
    if asked.augment is not None:
        changes["augmentation"] = None if asked.augment == "none" else augmentation(asked.augment)
    if asked.size is not None or asked.views is not None:
        recipe = base.recipe if asked.size is None else base.recipe.at_size(asked.size)
        changes["recipe"] = recipe if asked.views is None else dataclasses.replace(recipe, views=asked.views)
    initial = None
    if asked.initial_weights is not None:
        model = str(changes.get("model", base.model))
        initial, changes["initial"] = first_weights(asked.initial_weights, model, own)
    config = base.changed(changes)
    if own is not None:  # whose pictures stay those of its version
        version = own.recipe.render_version
        config = dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, render_version=version))
        say_version(str(folder.path), own.recipe)
    if own is not None and (differences := own.differences(config)):
        raise ValueError(
            f"the run in {folder.path} was begun with another configuration (its value, the value asked for): "
            f"{'; '.join(differences[:3])}; drop these options to resume it, or name another --output"
        )
    return Read(config, folder, codes, initial)


def first_weights(name: str, model: str, resumed: Config | None) -> tuple[Path | None, str]:
    """The file of the weights to begin with and its SHA-256; no file where it is gone and a run continues without.

    Raises:
        ValueError: the package has none of this model.
        FileNotFoundError: there is no such file, and no run that began with it.
    """
    from fracgen.training.built_in import digest, initial_file

    try:
        path = initial_file(name, model)
    except FileNotFoundError:
        if resumed is None or resumed.initial is None:
            raise
        return None, resumed.initial
    return path, digest(path)


def train_as_job(asked: Pretraining, slurm: SlurmOptions, *, detach: bool, dry_run: bool) -> int:
    """Submit a pre-training unless a job is at it already, and show its log until the job has ended; the exit code.

    Raises:
        ValueError: the run cannot be begun or resumed as asked.
        SlurmError: SLURM cannot be reached, or refuses.
        KeyboardInterrupt: Ctrl-C; the job goes on.
    """
    if asked.resume not in (None, "auto"):
        raise ValueError(f"--resume {asked.resume}: a job goes on from its newest checkpoint: use auto")
    machine = asked.machine
    if machine.device == "auto":
        machine = dataclasses.replace(machine, device="cuda")
    asked = dataclasses.replace(asked, resume="auto", machine=machine)
    run = read_files(asked).folder
    asked = dataclasses.replace(asked, output=run.path.absolute())
    folder = SlurmFolder(run.path)
    if dry_run:
        print(folder.script(1, slurm, NAME), end="")
        return 0
    if run.export.is_dir():
        say("this run is finished")
        print(run.path)
        return 0
    tasks = [Task((RUN,), partial(train_in_job, asked))]
    attached = folder.attach([RUN], lambda free, before: tasks, slurm, NAME)
    return as_jobs(attached, RUN, lambda: _follow(run, folder, attached.jobs[RUN]), detach=detach)


def train_in_job(asked: Pretraining) -> None:
    """The work of each process of the job."""
    if code := train_here(asked):
        sys.exit(code)


def _follow(run: RunFolder, folder: SlurmFolder, job: str) -> int:
    """Print the lines of a run's log until its job has ended; returns the exit code."""
    watch, read = Watch(), run.log.stat().st_size if run.log.is_file() else 0
    while not watch.ended([job]):
        time.sleep(LOOK_S)
        read = _show(run.log, read)
    _show(run.log, read)
    state = watch.states.get(job)
    if state == "COMPLETED" or run.export.is_dir():
        print(run.path)
        return 0
    say(f"job {job} {end_of(state)}; log: {folder.log(job)}; the same command goes on with the run")
    return 1


def _show(log: Path, start: int) -> int:
    """Print a log from a byte on; returns its length in bytes."""
    if not log.is_file():
        return start
    with log.open("rb") as file:
        file.seek(start)
        new = file.read()
    show(new.decode(errors="replace"))
    return start + len(new)
