"""The Lightning module: one step of training, and the accuracy on the validation stream.

It keeps no state that a checkpoint would have to carry beyond weights, optimizer, schedule and the
number of steps taken. The random numbers of a model (dropout, dropped layers) are drawn for
every step from (seed, step, rank), so a resumed run draws the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from fracgen.draws import Purpose, philox4x32, seed_key
from fracgen.loading.loader import FractalLoader
from fracgen.training import checkpoint
from fracgen.training.average import MovingAverage
from fracgen.training.cells import CellClassifier
from fracgen.training.config import Config
from fracgen.training.data import Data, Remaining
from fracgen.training.objective import Objective, images_of_pairs
from fracgen.training.observer import Observer
from fracgen.training.schedule import rate
from fracgen.training.stopping import StopSignals


@dataclass(frozen=True)
class Start:
    """A checkpoint that was read and belongs to the run."""

    path: Path
    state: dict[str, Any]


class Pretraining(lightning.LightningModule):
    """Trains a classifier on fractal images.

    Args:
        config: what is trained.
        model: the network, [B, 3, size, size] to [B, outputs].
        objective: its loss and score.
        data: the loaders.
        cells: the dense part of the objective, where it has one.
        compute_dtype: of the forward pass, under autocast; None for none.
        compile: pass the network through torch.compile.
        start: the checkpoint to go on from, on the first process, which has read it; the others read it by its path.
        max_steps: stop after this step of the run.
        stop: signals on which to stop after the step that is being taken.
        observers: notified of every step; on the first process only.
    """

    def __init__(
        self, config: Config, model: torch.nn.Module, objective: Objective, data: Data, *,
        cells: CellClassifier | None = None, compute_dtype: torch.dtype | None = None, compile: bool = False,
        start: Start | None = None, max_steps: int | None = None, stop: StopSignals | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.model, self.objective, self.data, self.cells = config, model, objective, data, cells
        self.average = MovingAverage(model, config.ema) if config.ema else None
        self.compute_dtype = compute_dtype
        self._start, self._observers, self._stop = start, observers, stop or StopSignals()
        self._state: dict[str, Any] | None = None
        self._last_step = min(config.steps, max_steps or config.steps)
        self.steps_done = 0
        self.validation: dict[str, float] = {}
        """step, loss and accuracy of the last validation."""
        # A tuple hides the compiled twin from the module's own parameters: checkpoints know one set of names.
        self._network = (torch.compile(model) if compile else model,)
        self._sums = torch.zeros(3, dtype=torch.float64)
        self.last_loss: Tensor = torch.zeros(())

    def setup(self, stage: str) -> None:
        """Load the checkpoint: every process the one that the first has chosen."""
        path = self.trainer.strategy.broadcast(None if self._start is None else self._start.path)
        if path is not None:
            state = self._state = checkpoint.load(path) if self._start is None else self._start.state
            self._start = None
            self.steps_done, self.validation = state["step"], state["validation"]
            self.model.load_state_dict(state["model"])
            if self.cells is not None:
                self.cells.load_state_dict(state["cells"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.data.continue_from(state["loader"])
        self.trainer.should_stop = self.steps_done >= self._last_step

    @property
    def epochs_done(self) -> int:
        """Whole epochs taken."""
        return self.steps_done // self.config.steps_per_epoch

    def configure_optimizers(self) -> Any:
        """SGD or AdamW under the schedule, as they stand in the checkpoint where there is one."""
        c = self.config
        optimizer: torch.optim.Optimizer
        if c.optimizer == "sgd":
            optimizer = torch.optim.SGD(
                self.parameters(), c.learning_rate, momentum=c.momentum, weight_decay=c.weight_decay
            )
        else:
            optimizer = torch.optim.AdamW(self.parameters(), c.learning_rate, weight_decay=c.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(c.schedule, step, c.steps, c.warm_up))
        if self._state is not None:
            optimizer.load_state_dict(self._state["optimizer"])
            schedule.load_state_dict(self._state["schedule"])
            self._state = None  # its tensors need not stay in memory
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self) -> Remaining:
        """What remains of the present epoch; Lightning asks at the start of each."""
        epoch, first = divmod(self.steps_done, self.config.steps_per_epoch)
        return self.data.training(self.trainer.global_rank, self.trainer.world_size, self.device, epoch, first)

    def val_dataloader(self) -> FractalLoader | list[Any]:
        """The validation stream: the same images after every epoch."""
        if not self.config.validation_size:
            return []
        return self.data.validation(self.trainer.global_rank, self.trainer.world_size, self.device)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs [B, outputs] in float32 of images [B, 3, size, size]."""
        averaged = self.average is not None and not self.training
        network = self.average.model if self.average is not None and averaged else self._network[0]
        with torch.autocast(self.device.type, self.compute_dtype, enabled=self.compute_dtype is not None):
            outputs: Tensor = network(images_of_pairs(images))
        return outputs.float()

    def on_train_start(self) -> None:
        """Listen for signals, and tell the observers."""
        self._stop.listen()
        for observer in self._observers:
            observer.start(self)

    def on_train_epoch_end(self) -> None:
        """Tell the observers; the epoch's validation is done."""
        if self.steps_done % self.config.steps_per_epoch == 0:
            for observer in self._observers:
                observer.after_epoch(self)

    def on_train_end(self) -> None:
        """Tell the observers."""
        for observer in self._observers:
            observer.finish(self)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed the model's own random numbers for this step."""
        torch.manual_seed(step_seed(self.config.seed, self.steps_done, self.global_rank))

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        loss = self.objective.loss(self(batch[0]), batch[self.objective.target])
        if self.cells is not None:
            loss = loss + self.cells.loss(batch[2])
        self.last_loss = loss.detach()
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the step; after the last, or a signal to any of the processes, stop."""
        self.steps_done += 1
        if self.average is not None:
            self.average.update(self.model, self.steps_done)
        for observer in self._observers:
            observer.after_step(self, len(batch[0]))
        told = self.trainer.strategy.reduce_boolean_decision(self._stop.received is not None, all=False)
        self.trainer.should_stop = told or self.steps_done >= self._last_step
        if told and self.steps_done % self.config.steps_per_epoch:
            self.trainer.limit_val_batches = 0  # there may be no time for it, and in mid-epoch nobody asks for it

    def on_validation_epoch_start(self) -> None:
        """Begin counting."""
        self._sums = torch.zeros(3, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:
        """Count images, right answers and loss."""
        outputs, target = self(batch[0]), batch[self.objective.target]
        count = len(target)
        right = self.objective.correct(outputs, target).sum()
        loss = self.objective.loss(outputs, target) * count
        self._sums += torch.stack((right.double(), loss.double(), right.new_tensor(count).double()))

    def on_validation_epoch_end(self) -> None:
        """Add up over all processes."""
        right, loss, count = self.trainer.strategy.reduce(self._sums, reduce_op="sum").tolist()
        self.validation = {
            "step": self.steps_done, "epoch": self.epochs_done, "loss": loss / count, "accuracy": right / count,
            "images": count,
        }  # fmt: skip

    def state_to_save(self) -> dict[str, Any]:
        """Everything needed to go on from here, on any number of processes: tensors and plain values only."""
        return {
            "config": self.config.to_json(),
            "bank_sha256": self.data.bank.sha256,
            "step": self.steps_done,
            "loader": self.data.state_at(self.steps_done),
            "model": self.model.state_dict(),
            "cells": None if self.cells is None else self.cells.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimizer": self.trainer.optimizers[0].state_dict(),
            "schedule": self.trainer.lr_scheduler_configs[0].scheduler.state_dict(),
            "validation": self.validation,
        }


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed, in [0, 2^64), of a step's random numbers on one process."""
    words = philox4x32((0, Purpose.STEP, rank, step), seed_key(seed))
    return int(words[0]) << 32 | int(words[1])
