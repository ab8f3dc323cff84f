"""`fracgen pretrain`: weights from fractals."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer


def pretrain(
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
) -> None:  # fmt: skip
    """Pre-train a network on fractal images that are rendered as it goes, and export its weights.

    The run's folder holds its configuration, codes, log, metrics, checkpoints and export; its path is
    printed at the end. Several GPUs: --devices 8, or torchrun --nproc-per-node 8 -m fracgen pretrain.
    """
    require_training()
    from fracgen.formulas.banks import load_bank
    from fracgen.loading.augment import augmentation
    from fracgen.support.terminal import working
    from fracgen.training.config import Machine, named_config
    from fracgen.training.folder import RunFolder
    from fracgen.training.run import prepare, resolve

    given = {
        "model": model, "seed": seed, "epochs": epochs, "epoch_size": epoch_size, "batch_size": batch_size,
        "validation_size": validation_size, "optimizer": optimizer, "learning_rate": learning_rate,
        "weight_decay": weight_decay, "pictures": pictures, "objective": objective, "schedule": schedule,
        "label_smoothing": label_smoothing, "warm_up": warm_up, "ema": ema,
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if augment is not None:
        changes["augmentation"] = augmentation(augment)
    codes = None if bank is None else load_bank(bank)
    if codes is not None:
        changes["bank"] = codes.spec
    machine = Machine(
        device, devices=devices, num_nodes=num_nodes, precision=precision,  # type: ignore[arg-type]  # checked there
        channels_last=channels_last, compile=compile, deterministic=deterministic, prefetch=prefetch,
        max_steps=max_steps, checkpoint_steps=checkpoint_steps, checkpoint_minutes=checkpoint_minutes,
        log_steps=log_steps, loggers=tuple(logger or ()),
    )  # fmt: skip
    base = named_config(preset or "paper")
    default = Path("runs") / f"{base.preset}-{model or base.model}-{seed or 0}".replace("/", "-")
    folder = RunFolder(output or default)
    if size is not None or views is not None:
        resumed = preset is None and folder.resumes(resume)
        recipe = (folder.read_config()[0] if resumed else base).recipe
        recipe = recipe if size is None else recipe.at_size(size)
        changes["recipe"] = recipe if views is None else dataclasses.replace(recipe, views=views)
    config = resolve(preset, changes, folder, resume)
    run = prepare(config, folder, machine, bank=codes, resume=resume)
    with working():
        run.train()
    if run.trainer.is_global_zero:
        print(folder.path)


def require_training() -> None:
    """Refuse with the remedy where Lightning is not installed. Raises ValueError."""
    from importlib.util import find_spec

    if find_spec("lightning") is None:
        raise ValueError("Lightning is not installed: install fracgen[train]")
