"""A pre-training run from its options to its export: all checks first, then the work."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch

from fracgen.formulas.banks import Bank, make_bank
from fracgen.loading.share import Share
from fracgen.rendering.device import use_gpu
from fracgen.support.files import remove_parts
from fracgen.training import arithmetic
from fracgen.training.cells import CellClassifier
from fracgen.training.config import Config, Machine, named_config
from fracgen.training.data import Data
from fracgen.training.export import export
from fracgen.training.folder import RunFolder
from fracgen.training.initial import digest, load_initial
from fracgen.training.model import build_model
from fracgen.training.module import Pretraining, Start
from fracgen.training.objective import objective_of
from fracgen.training.observer import Observer
from fracgen.training.observers import CheckpointWriter, MetricsWriter, ProgressLine
from fracgen.training.stopping import StopSignals, requeue

COMPILE_STEPS = 10_000
"""Runs of as many steps are compiled by default on CUDA: compiling takes about a minute."""


def resolve(name: str | None, changes: dict[str, Any], folder: RunFolder, resume: str | None) -> Config:
    """The configuration that the options ask for: of the run that is resumed, else of a preset (`paper`).

    Args:
        name: a preset; None leaves the choice to the run that is resumed.
        changes: fields of `Config` that were given.

    Raises:
        ValueError: the run that is resumed has another configuration, or a value is out of range.
        OSError: a folder without a run is to be resumed from a checkpoint, or cannot be read.
    """
    if not folder.resumes(resume):
        return dataclasses.replace(named_config(name or "paper"), **changes)
    config = folder.read_config()[0]
    asked = dataclasses.replace(config if name is None else named_config(name), **changes)
    if differences := config.differences(asked):
        raise ValueError(
            f"the run in {folder.path} was begun with another configuration (its value, the value asked for): "
            f"{'; '.join(differences[:3])}; drop these options to resume it, or name another --output"
        )
    return config


@dataclass
class Run:
    """A run that may start: everything that could be refused has been checked."""

    folder: RunFolder
    module: Pretraining
    trainer: lightning.Trainer
    observers: list[Observer]
    stop: StopSignals
    resumable: bool
    """Started with `--resume auto`: the same command goes on with the run."""

    @property
    def finished(self) -> bool:
        """Whether all steps are taken."""
        return self.module.steps_done >= self.module.config.steps

    def train(self) -> None:
        """Take the steps that remain, then export the weights if those were all.

        On SIGTERM, SIGHUP or SIGUSR1 it stops after the present step, with a checkpoint, and asks SLURM to queue its
        job again where that would go on with the run; `stop.received` tells.

        Raises:
            OSError: something cannot be written.
            RuntimeError: the loss is no longer finite, or the device failed.
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        try:
            with self.stop:
                self.trainer.fit(self.module)
        except SystemExit as stop:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from stop
        finally:
            for observer in self.observers:
                observer.close()
        if not self.trainer.is_global_zero:
            return
        done, steps = self.module.steps_done, self.module.config.steps
        if done < steps and self.stop.received is not None:
            name = signal.Signals(self.stop.received).name
            what = requeue() if self.resumable else "continue with --resume auto"
            self.folder.say(f"stopped by {name} after step {done:,} of {steps:,}: {what}")
            return
        if done < steps:
            self.folder.say(f"stopped after step {done:,} of {steps:,}: continue with --resume auto, "
                            f"or export as it is: fracgen export {self.folder.path}")  # fmt: skip
            return
        export(self.folder)
        self.folder.say(f"exported to {self.folder.export}")


def prepare(
    config: Config, folder: RunFolder, machine: Machine, *, bank: Bank | None = None, initial: Path | None = None,
    resume: str | None = None, stop: StopSignals | None = None,
) -> Run:  # fmt: skip
    """Check everything, create or open the run's folder, and load the checkpoint to continue from.

    Args:
        config: what to train.
        folder: where the run is kept.
        machine: where to compute it.
        bank: the codes, if not those that `config.bank` and `config.bank_seed` say.
        initial: the file of `config.initial`; a run that is resumed does without.
        resume: None starts a run; "auto" continues from the newest whole checkpoint, or starts where there is no
            run; a path continues from that checkpoint.
        stop: where signals are heard already; by default they are heard while the run trains.

    Raises:
        ValueError: what `Config` and `Machine` say cannot be done, or cannot be resumed.
        DeviceError: a GPU was asked for and is not usable.
        OSError: the folder cannot be written or read.
    """
    trainer = build_trainer(machine, folder)
    for size in (config.epoch_size, config.validation_size):
        if size:
            Share(size, min(config.batch_size, size), trainer.global_rank, trainer.world_size)
    resuming = folder.resumes(resume)
    bank = _bank(config, folder, bank, resuming)
    objective = objective_of(config, bank.classes)
    model = build_model(config.model, objective.outputs, config.recipe.size, config.seed)
    if not resuming:
        _load_initial(config, model, initial, objective.outputs)
    if objective.listen_to is not None:
        _refuse_compile(config, machine)
        objective.listen_to(model, config.recipe.size)
    before = folder.read_arithmetic() if resuming else None
    how = arithmetic.choose(machine, model, trainer.strategy.root_device.type, before)
    cells = _cells(config, machine, model, bank.classes)
    start: Start | None = None
    if trainer.is_global_zero:
        if resuming:
            assert resume is not None
            start = _checkpoint(folder, resume, config, bank)
        else:
            folder.begin(config, bank, how)
            folder.say(f"beginning a new run in {folder.path}: {config.model}, {config.steps:,} steps")
        folder.say(f"computing in {how}")
    compiled = how.device == "cuda" and config.steps >= COMPILE_STEPS and config.task not in ("dense", "damage")
    compiled = compiled if machine.compile is None else machine.compile
    observers = _observers(config, folder, machine) if trainer.is_global_zero else []
    if trainer.is_global_zero:
        folder.add_environment({"world_size": trainer.world_size, **dataclasses.asdict(machine), "compile": compiled,
                                "precision": how.precision, "channels_last": how.channels_last})  # fmt: skip
    if how.channels_last:
        model = model.to(memory_format=torch.channels_last)
    data = Data(config, bank, dtype=how.dtype, channels_last=how.channels_last, prefetch=machine.prefetch)
    stop = stop or StopSignals()
    module = Pretraining(
        config, model, objective, data, cells=cells, start=start, max_steps=machine.max_steps,
        compute_dtype=how.dtype if how.precision == "bfloat16" else None, compile=compiled, stop=stop,
        observers=observers,
    )  # fmt: skip
    return Run(folder, module, trainer, observers, stop, resume == "auto")


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


def _cells(config: Config, machine: Machine, model: torch.nn.Module, classes: int) -> CellClassifier | None:
    """The dense part of the objective. Raises ValueError where the network cannot be listened to."""
    if config.task != "dense":
        return None
    _refuse_compile(config, machine)
    return CellClassifier(model, classes, config.recipe.size, config.seed)


def _refuse_compile(config: Config, machine: Machine) -> None:
    if machine.compile:
        raise ValueError(
            f"objective {config.task} listens to the middle of the network, which --compile hides: drop one"
        )


def _observers(config: Config, folder: RunFolder, machine: Machine) -> list[Observer]:
    """The observers of the run, on its first process."""
    metrics, steps = MetricsWriter(folder, machine), min(machine.max_steps or config.steps, config.steps)
    return [metrics, CheckpointWriter(folder, machine), ProgressLine(metrics, steps)]


def _checkpoint(folder: RunFolder, resume: str, config: Config, bank: Bank) -> Start:
    remove_parts(folder.checkpoints)
    state, path, passed = folder.read_checkpoint(resume, config, bank)
    for reason in passed:
        folder.say(reason)
    folder.forget_after(state["step"])
    folder.say(f"going on from step {state['step']:,} of {config.steps:,} ({path})")
    return Start(path, state)


def build_trainer(machine: Machine, folder: RunFolder) -> lightning.Trainer:
    """A Lightning Trainer that only takes the steps: checkpoints, metrics and progress are the run's own.

    Raises:
        DeviceError: a GPU was asked for and is not usable.
        ValueError: torchrun started another number of processes than the options say, or a logger
            is not installed.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated")  # Lightning calls torch by an old name
    warnings.filterwarnings("ignore", ".*`srun` command is available")  # a cluster's login node is no mistake
    gpu = use_gpu(machine.device, "training")
    deterministic = not gpu if machine.deterministic is None else machine.deterministic
    devices, nodes = machine.devices or 1, machine.num_nodes
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        if machine.devices not in (None, local):
            raise ValueError(f"--devices {machine.devices} and torchrun's {local} processes a node differ: drop one")
        devices, nodes = local, world // local
    return lightning.Trainer(
        accelerator="gpu" if gpu else "cpu", devices=devices, num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto", max_epochs=-1, deterministic=deterministic,
        benchmark=not deterministic, logger=_loggers(machine, folder), enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, reload_dataloaders_every_n_epochs=1,
    )  # fmt: skip


def _loggers(machine: Machine, folder: RunFolder) -> Any:
    made: list[Any] = []
    try:
        if "tensorboard" in machine.loggers:
            from lightning.pytorch.loggers import TensorBoardLogger

            made.append(TensorBoardLogger(folder.path, name="tensorboard", version=""))
        if "wandb" in machine.loggers:
            from lightning.pytorch.loggers import WandbLogger

            made.append(WandbLogger(project="fracgen", name=folder.path.name, save_dir=folder.path))
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}: install fracgen[tensorboard] or fracgen[wandb]") from None
    return made or False
