"""A run from its configuration to the first step: all checks, before anything is written."""

from __future__ import annotations

import dataclasses
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.fabric import Fabric

from fracgen.formulas.files import Bank
from fracgen.formulas.formula import make_bank
from fracgen.loading.share import Share
from fracgen.networks import FeatureNetwork, create, stages
from fracgen.rendering.device import use_gpu
from fracgen.support.files import remove_parts
from fracgen.training import arithmetic
from fracgen.training.built_in import digest, load_initial
from fracgen.training.config import Config, Machine
from fracgen.training.folder import RunFolder
from fracgen.training.loop import Run, StopSignals
from fracgen.training.losses import objective_of

if TYPE_CHECKING:
    from lightning.fabric.loggers.logger import Logger

    from fracgen.training.checkpoint import State

COMPILE_STEPS = 10_000
"""Runs of as many steps are compiled by default on CUDA: compiling takes about a minute."""


def prepare(
    config: Config, folder: RunFolder, machine: Machine, *, bank: Bank | None = None, initial: Path | None = None,
    resume: str | None = None, stop: StopSignals | None = None,
) -> Run:  # fmt: skip
    """Check everything, create or open the run's folder, and read the checkpoint to continue from.

    Args:
        config: what to train.
        folder: where the run is kept.
        machine: where to compute it.
        bank: the codes, if not those that `config.bank` and `config.bank_seed` say.
        initial: the file of `config.initial`; a run that is resumed does without.
        resume: None starts a run; "auto" continues from the newest whole checkpoint, or starts where there is no
            run; a path continues from that checkpoint.
        stop: what remembers signals already; by default they are remembered while the run trains.

    Raises:
        ValueError: what `Config` and `Machine` say cannot be done, or cannot be resumed.
        DeviceError: a GPU was asked for and is not usable.
        OSError: the folder cannot be written or read.
    """
    fabric = build_fabric(machine, folder)
    for size in (config.epoch_size, config.validation_size):
        if size:
            Share(size, min(config.batch_size, size), fabric.global_rank, fabric.world_size)
    resuming = folder.resumes(resume)
    bank = _bank(config, folder, bank, resuming)
    objective = objective_of(config, bank)
    model = create(config.model, objective.outputs, config.recipe.size, config.seed)
    if not resuming:
        _load_initial(config, model, initial, objective.outputs)
    how = arithmetic.choose(machine, model, fabric.device.type, folder.read_arithmetic() if resuming else None)
    model.to(fabric.device)
    if how.channels_last:
        model.to(memory_format=torch.channels_last)
    chosen = stages(model, config.recipe.size, objective.strides)
    network = FeatureNetwork(model, chosen, autocast=how.precision == "bfloat16")
    if not objective.reads_outputs:
        network.freeze_behind_stages(config.recipe.size)  # processes wait for the gradient of all others
    compiled = how.device == "cuda" and config.steps >= COMPILE_STEPS if machine.compile is None else machine.compile
    start = None
    if fabric.is_global_zero:
        if resuming:
            assert resume is not None
            start = _checkpoint(folder, resume, config, bank)
        else:
            folder.begin(config, bank, how)
            folder.say(f"beginning a new run in {folder.path}: {config.model}, {config.steps:,} steps")
        folder.say(f"computing in {how}")
        folder.add_environment({"world_size": fabric.world_size, **dataclasses.asdict(machine), "compile": compiled,
                                "precision": how.precision, "channels_last": how.channels_last})  # fmt: skip
    return Run(
        config, folder, machine, fabric, bank=bank, objective=objective, how=how, model=model, network=network,
        compiled=compiled, stop=stop or StopSignals(), start=start, resumable=resume == "auto",
    )  # fmt: skip


def build_fabric(machine: Machine, folder: RunFolder) -> Fabric:
    """Lightning Fabric for this machine; no process is started yet.

    Raises:
        DeviceError: a GPU was asked for and is not usable.
        ValueError: torchrun started another number of processes than the options say, or a logger is not installed.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*`srun` command is available")  # a cluster's login node is no mistake
    gpu = use_gpu(machine.device, "training")
    deterministic = not gpu if machine.deterministic is None else machine.deterministic
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with this alone
    devices, nodes = machine.devices or 1, machine.num_nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if machine.devices not in (None, local):
            raise ValueError(f"--devices {machine.devices} and torchrun's {local} processes a node differ: drop one")
        devices, nodes = local, world // local
    return Fabric(
        accelerator="gpu" if gpu else "cpu", devices=devices, num_nodes=nodes, loggers=_loggers(machine, folder),
        strategy="ddp" if devices * nodes > 1 else "auto",
    )  # fmt: skip


def _bank(config: Config, folder: RunFolder, given: Bank | None, resuming: bool) -> Bank:
    """The run's codes. Raises ValueError where others were given than those of the run that is resumed."""
    if not resuming:
        return given or make_bank(config.bank, config.bank_seed)
    sha256 = folder.read_config()[1]
    if given is not None and given.sha256 != sha256:
        raise ValueError(f"the run in {folder.path} has another bank ({sha256[:16]}...) than was given "
                         f"({given.sha256[:16]}...): drop --bank, or name another --output")  # fmt: skip
    return folder.read_bank(sha256)


def _load_initial(config: Config, model: torch.nn.Module, path: Path | None, outputs: int) -> None:
    """Load the weights that the run begins with. Raises ValueError where they are not the configuration's."""
    found = None if path is None else digest(path)
    if found != config.initial:
        raise ValueError(f"the run begins with weights of SHA-256 {config.initial}, and {found} was given")
    if path is not None:
        load_initial(model, path, outputs, config.model)


def _checkpoint(folder: RunFolder, resume: str, config: Config, bank: Bank) -> tuple[Path, State]:
    remove_parts(folder.checkpoints)
    state, path, passed = folder.read_checkpoint(resume, config, bank)
    for reason in passed:
        folder.say(reason)
    folder.forget_after(state["step"])
    folder.say(f"going on from step {state['step']:,} of {config.steps:,} ({path})")
    return path, state


def _loggers(machine: Machine, folder: RunFolder) -> list[Logger]:
    made: list[Logger] = []
    try:
        if "tensorboard" in machine.loggers:
            from lightning.fabric.loggers.tensorboard import TensorBoardLogger

            made.append(TensorBoardLogger(folder.path, name="tensorboard", version=""))
        if "wandb" in machine.loggers:
            from lightning.pytorch.loggers import WandbLogger

            made.append(WandbLogger(project="fracgen", name=folder.path.name, save_dir=folder.path))
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}: install fracgen[tensorboard] or fracgen[wandb]") from None
    return made
