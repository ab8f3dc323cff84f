"""`fracgen pretrain`: weights from fractals."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fracgen.cli.slurm import Account, Detach, Executor, Memory, Partition, Sbatch, Time, slurm_options

if TYPE_CHECKING:
    from fracgen.formulas.banks import Bank
    from fracgen.training.config import Config, Machine
    from fracgen.training.folder import RunFolder

OF_CONFIG = (
    "model", "seed", "epochs", "epoch_size", "batch_size", "validation_size", "optimizer", "learning_rate",
    "weight_decay", "pictures", "objective", "schedule", "label_smoothing", "warm_up", "ema",
)  # fmt: skip
OF_MACHINE = (
    "devices", "num_nodes", "precision", "channels_last", "compile", "deterministic", "prefetch", "max_steps",
    "checkpoint_steps", "checkpoint_minutes", "log_steps",
)  # fmt: skip
FOR_SLURM = ("executor", "detach", "dry_run", "time", "partition", "memory", "account", "sbatch")
STOP_BEFORE_LIMIT = "USR1@120"
"""The signal that a job gets before its time limit, and how many seconds before."""


def pretrain(
    context: typer.Context,
    *,
    preset: Annotated[
        str | None,
        typer.Option(help="paper, anderson2022, fractal4ad, fractaldb, multi-formula, multi-instance, two-view, ofdb; "
                     "quick for a laptop.", show_default="paper"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Classifier of torchvision or timm.", show_default="wide_resnet50_2; quick: resnet18"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The run's folder.", show_default="runs/PRESET-MODEL-SEED")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(help="auto: continue from the newest whole checkpoint in --output, or start where there is none. "
                     "A path: continue from that checkpoint."),
    ] = None,
    bank: Annotated[Path | None, typer.Option(help="Codes; default: those of the preset.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="Of images, order and first weights.", show_default="0")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the images in pixels.", show_default="the preset's")] = None,
    epochs: Annotated[int | None, typer.Option(help="How many.", show_default="100; quick: few")] = None,
    epoch_size: Annotated[int | None, typer.Option(help="Images an epoch.", show_default="1000000")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a step, all processes' together.", show_default="512")
    ] = None,
    validation_size: Annotated[
        int | None, typer.Option(help="Images shown after every epoch; 0: none.", show_default="10240")
    ] = None,
    views: Annotated[
        int | None, typer.Option(help="2: pairs of pictures of the same code.", show_default="the preset's")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(help="Show only so many different pictures.", show_default="every one is new")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help="none, crop, full or unmixed (full, for pairs).", show_default="the preset's")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="class, several, pairs, contrastive (supervised, on pairs) or dense; auto: by the recipe.",
                     show_default="the preset's"),
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Share of the target spread over all classes.", show_default="0")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd or adamw.", show_default="sgd")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The schedule's peak.", show_default="0.1")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="one-cycle, cosine or trapezoid.", show_default="one-cycle")
    ] = None,
    warm_up: Annotated[
        float | None, typer.Option(help="Share of the steps in which the rate rises.", show_default="0.1")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help="Decay of a moving average of the weights.", show_default="0: none")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="L2.", show_default="0.0001")] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Stop after this step; --resume continues.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    devices: Annotated[
        int | None, typer.Option(help="Processes on this node.", show_default="1, or torchrun's")
    ] = None,
    num_nodes: Annotated[int, typer.Option(help="Nodes, where SLURM starts the processes.")] = 1,
    precision: Annotated[
        str, typer.Option(help="float32 or bfloat16; auto: what is fastest for the network on this device.")
    ] = "auto",
    channels_last: Annotated[
        bool | None, typer.Option(help="Default: what is fastest for the network.", show_default=False)
    ] = None,
    compile: Annotated[
        bool | None, typer.Option(help="torch.compile; default: long runs on CUDA.", show_default=False)
    ] = None,
    deterministic: Annotated[
        bool | None, typer.Option(help="Only operations that repeat exactly; default: on a CPU.", show_default=False)
    ] = None,
    prefetch: Annotated[int, typer.Option(help="Batches rendered ahead.")] = 2,
    checkpoint_steps: Annotated[
        int | None, typer.Option(help="A checkpoint every so many steps, too.", show_default=False)
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(help="Minutes between checkpoints; there is one after every epoch, too.")
    ] = 10.0,
    log_steps: Annotated[int, typer.Option(help="Steps between rows of metrics.csv.")] = 50,
    logger: Annotated[
        list[str] | None, typer.Option(help="tensorboard or wandb, besides metrics.csv.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="SLURM: print the script; run nothing.")] = False,
    executor: Executor = "local",
    detach: Detach = False,
    time: Time = "1-0",
    partition: Partition = None,
    memory: Memory = None,
    account: Account = None,
    sbatch: Sbatch = None,
) -> None:  # fmt: skip
    """Pre-train a network on fractal images that are rendered as it goes, and export its weights.

    The run's folder holds its configuration, codes, log, metrics, checkpoints and export; its path is
    printed at the end. Several GPUs: --devices 8, or torchrun --nproc-per-node 8 -m fracgen pretrain.
    SIGTERM and SIGUSR1 stop it after a checkpoint; under SLURM, with --resume auto, its job is then queued again.
    """
    require_training()
    options = slurm_options(
        context, executor, time, also=("detach", "dry_run"), partition=partition, memory=memory, account=account,
        sbatch=sbatch, nodes=num_nodes, tasks=devices or 1, gpus=0 if device == "cpu" else devices or 1,
        signal=STOP_BEFORE_LIMIT,
    )  # fmt: skip
    given = SimpleNamespace(**{name: value for name, value in context.params.items() if name not in FOR_SLURM})
    if options is None:
        raise typer.Exit(train_here(given))
    from fracgen.cli.pretrain_job import run_as_job

    raise typer.Exit(run_as_job(given, options, detach=detach, dry_run=dry_run))


def train_here(given: SimpleNamespace) -> int:
    """Train in this process; the exit code.

    Args:
        given: the options of `pretrain` by name.
    """
    from fracgen.support.terminal import working
    from fracgen.training.run import prepare

    asked = what_is_asked(given)
    run = prepare(asked.config, asked.folder, asked.machine, bank=asked.codes, resume=given.resume)
    with working():
        run.train()
    if run.stop.received is not None:
        return 128 + run.stop.received
    if run.trainer.is_global_zero:
        print(asked.folder.path)
    return 0


@dataclass
class Asked:
    """A pre-training as the options say it; nothing is written yet."""

    config: Config
    machine: Machine
    folder: RunFolder
    codes: Bank | None


def what_is_asked(given: SimpleNamespace) -> Asked:
    """Read the options.

    Raises:
        ValueError: one is out of range, they contradict each other or the run that is resumed.
        OSError: a file cannot be read.
    """
    from fracgen.formulas.banks import load_bank
    from fracgen.loading.augment import augmentation
    from fracgen.training.config import Machine, named_config
    from fracgen.training.folder import RunFolder
    from fracgen.training.run import resolve

    changes: dict[str, Any] = {n: getattr(given, n) for n in OF_CONFIG if getattr(given, n) is not None}
    if given.augment is not None:
        changes["augmentation"] = augmentation(given.augment)
    codes = None if given.bank is None else load_bank(given.bank)
    if codes is not None:
        changes["bank"] = codes.spec
    machine = Machine(
        given.device, loggers=tuple(given.logger or ()), **{name: getattr(given, name) for name in OF_MACHINE}
    )
    base = named_config(given.preset or "paper")
    default = Path("runs") / f"{base.preset}-{given.model or base.model}-{given.seed or 0}".replace("/", "-")
    folder = RunFolder(given.output or default)
    if given.size is not None or given.views is not None:
        resumed = given.preset is None and folder.resumes(given.resume)
        recipe = (folder.read_config()[0] if resumed else base).recipe
        recipe = recipe if given.size is None else recipe.at_size(given.size)
        changes["recipe"] = recipe if given.views is None else dataclasses.replace(recipe, views=given.views)
    return Asked(resolve(given.preset, changes, folder, given.resume), machine, folder, codes)


def require_training() -> None:
    """Refuse with the remedy where Lightning is not installed. Raises ValueError."""
    from importlib.util import find_spec

    if find_spec("lightning") is None:
        raise ValueError("Lightning is not installed: install fracgen[train]")
