"""`fracgen pretrain`: weights from fractals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fracgen.cli.slurm import Account, Detach, Executor, Memory, Partition, Sbatch, Time, slurm_options

STOP_BEFORE_LIMIT = "USR1@120"
"""The signal that a job gets before its time limit, and how many seconds before."""


def pretrain(
    context: typer.Context,
    *,
    preset: Annotated[
        str | None,
        typer.Option(help="paper, anderson2022, fractal4ad, fractaldb, multi-formula, multi-formula-whole, "
                     "multi-instance, mandelbulb, multi-mandelbulb, two-view, ofdb, twins; quick for a laptop.",
                     show_default="paper"),
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
    initial_weights: Annotated[
        str | None,
        typer.Option(help="Begin with these: an export of the same model, or fractal for the package's. The last layer "
                     "stays random.", show_default="random ones"),
    ] = None,
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
        typer.Option(help="class, several, pairs, or damage (of the second of two shots); auto: by the recipe.",
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
    SIGTERM, SIGHUP and SIGUSR1 stop it after a checkpoint; under SLURM, with --resume auto, its job is then
    queued again.
    """
    given = dict(locals())  # not the context's parameters, which Typer before 0.29 keeps as they were typed
    from fracgen.cli.pretrain_here import Options, train_here
    from fracgen.support.extras import need

    need("train", *(logger or ()))
    slurm = slurm_options(
        context, ("detach", "dry_run"), nodes=num_nodes, tasks=devices or 1,
        gpus=0 if device == "cpu" else devices or 1, signal=STOP_BEFORE_LIMIT,
    )  # fmt: skip
    options = Options.of(given)
    if slurm is None:
        raise typer.Exit(train_here(options))
    from fracgen.cli.pretrain_job import run_as_job

    raise typer.Exit(run_as_job(options, slurm, detach=detach, dry_run=dry_run))
