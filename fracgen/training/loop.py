"""The loop: steps on fresh images; validation, checkpoints and metrics where they are due; the export at the end.

Lightning Fabric starts the processes and shares gradients among them; everything else stands here. The position of a
run is one number, the steps that were taken: epoch and batch, the learning rate and all random numbers follow from it.
"""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from fracgen.draws import Purpose, Stream, philox4x32, seed_key
from fracgen.formulas.files import Bank
from fracgen.loading.loader import FractalLoader
from fracgen.networks import FeatureNetwork
from fracgen.slurm.queue import requeue
from fracgen.training import checkpoint
from fracgen.training.arithmetic import Arithmetic
from fracgen.training.config import Config, Machine
from fracgen.training.export import Trained
from fracgen.training.folder import RunFolder
from fracgen.training.log import Log
from fracgen.training.losses import Objective, images_of_pairs

if TYPE_CHECKING:
    from signal import _HANDLER

STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals that end a run after the present step, with a checkpoint; SLURM sends the last before a job's time limit."""


class StopSignals:
    """Remembers one of STOPS, which then ends nothing; for use in `with` blocks. Only the main thread receives any."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: list[dict[int, _HANDLER]] = []

    def __enter__(self) -> StopSignals:
        heard = [number for number in STOPS if signal.getsignal(number) is not signal.SIG_IGN]  # SIGHUP is, under nohup
        main = threading.current_thread() is threading.main_thread()
        self._before.append({number: signal.getsignal(number) for number in heard} if main else {})
        for number in self._before[-1]:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.pop().items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number


@dataclass
class Run:
    """A run that may start: everything that could be refused has been checked."""

    config: Config
    folder: RunFolder
    machine: Machine
    fabric: Fabric
    _: KW_ONLY
    bank: Bank
    objective: Objective
    how: Arithmetic
    model: nn.Module
    """The network that is trained, on its device."""
    network: FeatureNetwork
    """The same, as the objective looks at it."""
    compiled: bool
    """Whether the network goes through torch.compile."""
    stop: StopSignals
    start: tuple[Path, checkpoint.State] | None
    """The checkpoint to continue from, on the first process; the others read it by its path."""
    resumable: bool
    """Whether the same command continues the run: it was started with `--resume auto`."""
    step: int = 0
    """Number of steps taken."""
    validation: dict[str, float] = field(default_factory=dict)
    """step, epoch, loss, accuracy and number of images of the last validation; empty before it."""

    def __post_init__(self) -> None:
        c, first = self.config, self.fabric.is_global_zero
        self.optimizer = optimizer_of(c, self.model)
        self.average = MovingAverage(self.model, c.ema) if c.ema else None
        self.log = Log(self.folder, c, self.machine, self.fabric) if first else None
        self._saved, self._saved_at = -1, time.monotonic()

    @property
    def finished(self) -> bool:
        """Whether all steps are taken."""
        return self.step >= self.config.steps

    def train(self) -> None:
        """Take the steps that remain, then export the weights if those were all.

        On SIGTERM, SIGHUP or SIGUSR1 it stops after the present step, with a checkpoint, and asks SLURM to queue its
        job again where that would continue the run; `stop.received` tells.

        Raises:
            OSError: something cannot be written.
            RuntimeError: the loss is no longer finite, or the device failed.
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        try:
            with self.stop:
                self.fabric.launch()
                self._take_steps()
        except BaseException:
            for child in getattr(self.fabric.strategy.launcher, "procs", []):  # they would wait for this process
                child.kill()
            raise
        finally:
            if self.log is not None:
                self.log.close()
        if self.log is not None:
            self._report()

    def _take_steps(self) -> None:
        c, last, stopped = self.config, min(self.config.steps, self.machine.max_steps or self.config.steps), False
        self._load()
        if self.compiled:
            self.network.compile()
        network = self.fabric.setup_module(self.network)
        self.training = self._loader(Stream.TRAIN, c.epoch_size)
        self.shown = self._loader(Stream.VALIDATION, c.validation_size) if c.validation_size else None
        judged: nn.Module = network
        if self.average is not None:
            judged = FeatureNetwork(self.average.model, self.network.stages, self.network.autocast)
        if self.log is not None:
            self.log.begin(self.step, last, self.training.meter)
        self._save(self.step == 0)  # so that a run whose checkpoints were lost can be told from a new one
        while self.step < last and not stopped:
            epoch, first = divmod(self.step, c.steps_per_epoch)
            self.training.load_state_dict({**self.training.state_dict(), "epoch": epoch, "batch": first})
            for batch in self.training:
                loss = self._take_step(network, batch)
                if self.log is not None:
                    self.log.step(self.step, loss, len(batch[0]))
                ended = self.step % c.steps_per_epoch == 0
                if not ended and self.step < last:  # else validation comes before the checkpoint
                    self._save(self._due())
                stopped = self.fabric.strategy.reduce_boolean_decision(self.stop.received is not None, all=False)
                if stopped or self.step >= last:
                    break
            if ended or not stopped:  # else there may be no time for it
                self._validate(judged, network)
            if ended and self.log is not None:
                self.log.epoch(self.step, loss, self.validation, self.objective.measure)
            self._save()

    def _take_step(self, network: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        """One step; the loss of this process's share of the batch."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(self.step)
        torch.manual_seed(step_seed(self.config.seed, self.step, self.fabric.global_rank))  # of dropout, say
        outputs, maps = network(images_of_pairs(batch[0]))
        loss = self.objective.loss(outputs, maps, batch[self.objective.target])
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.step += 1
        if self.average is not None:
            self.average.update(self.model, self.step)
        return loss.detach()

    @torch.no_grad()
    def _validate(self, judged: nn.Module, network: nn.Module) -> None:
        """Loss and accuracy on the validation stream, of all processes together."""
        if self.shown is None:
            return
        judged.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=self.fabric.device)
        for batch in self.shown:
            (outputs, maps), target = judged(images_of_pairs(batch[0])), batch[self.objective.target]
            right, count = self.objective.score(outputs, maps, target).sum(), len(target)
            loss = self.objective.loss(outputs, maps, target) * count
            sums += torch.stack((right.double(), loss.double(), right.new_tensor(count).double()))
        network.train()
        total = self.fabric.all_reduce(sums, reduce_op="sum")
        assert isinstance(total, Tensor)
        right, loss, count = total.tolist()
        self.validation = {
            "step": self.step, "epoch": self.step // self.config.steps_per_epoch, "loss": loss / count,
            "accuracy": right / count, "images": count,
        }  # fmt: skip

    def _load(self) -> None:
        """Continue from the checkpoint, which the first process has chosen."""
        path = self.fabric.broadcast(None if self.start is None else self.start[0])
        if path is None:
            return
        state = checkpoint.load(path) if self.start is None else self.start[1]
        self.start = None  # its tensors need not stay in memory
        self.step, self.validation = state["step"], state["validation"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None and state["average"] is not None:
            self.average.model.load_state_dict(state["average"])
        self._saved = self.step

    def _due(self) -> bool:
        every, minutes = self.machine.checkpoint_steps, self.machine.checkpoint_minutes
        return bool(every and self.step % every == 0) or time.monotonic() - self._saved_at > 60 * minutes

    def _save(self, due: bool = True) -> None:
        """Write a checkpoint on the first process if one is due and this step has none.

        It is all that any number of processes need to continue: tensors and plain values only.
        """
        if self.log is None or not due or self.step == self._saved:
            return
        state: checkpoint.State = {
            "config": self.config.to_json(), "bank_sha256": self.bank.sha256, "step": self.step,
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "validation": self.validation,
        }  # fmt: skip
        checkpoint.save(state, self.folder.checkpoints, self.step)
        self._saved, self._saved_at = self.step, time.monotonic()

    def _loader(self, stream: Stream, size: int) -> FractalLoader:
        """This process's share of a stream of images."""
        c, trained = self.config, stream == Stream.TRAIN
        return FractalLoader(
            self.bank, c.recipe, min(c.batch_size, size), device=self.fabric.device, seed=c.seed,
            epoch_size=size, rank=self.fabric.global_rank, world_size=self.fabric.world_size, dtype=self.how.dtype,
            channels_last=self.how.channels_last, prefetch=self.machine.prefetch, twins=c.task == "damage",
            shots=c.shots, grains=c.grains, stream=stream, augment=c.augmentation if trained else None,
            pictures=c.pictures if trained else None,
        )  # fmt: skip

    def _report(self) -> None:
        """Say how the run ended, and export its weights if it is finished."""
        done, steps = self.step, self.config.steps
        if self.finished:
            model = self.model if self.average is None else self.average.model
            made = Trained(self.config, self.bank.sha256, self.objective, model, step=done, validation=self.validation)
            made.write(self.folder.export, self.folder.starts())
            self.folder.say(f"exported to {self.folder.export}")
        elif self.stop.received is not None:
            name = signal.Signals(self.stop.received).name
            what = requeue() if self.resumable else "continue with --resume auto"
            self.folder.say(f"stopped by {name} after step {done:,} of {steps:,}: {what}")
        else:
            self.folder.say(f"stopped after step {done:,} of {steps:,}: continue with --resume auto, "
                            f"or export as it is: fracgen export {self.folder.path}")  # fmt: skip


class MovingAverage:
    """Weights averaged over steps with exponentially falling weight; batch statistics too.

    It is not a module, so that it is neither trained nor synchronised: every process computes the same.

    Args:
        model: the network, with its first weights, on its device.
        decay: of the average, a step; less in the first steps, so that they are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update with the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._values(self.model), self._values(model), 1 - decay)

    @staticmethod
    def _values(model: nn.Module) -> list[Tensor]:
        return [value for value in model.state_dict().values() if value.is_floating_point()]


def optimizer_of(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW for a network's parameters; the loop sets the learning rate of every step."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), rate, momentum=config.momentum, weight_decay=decay)
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed, in [0, 2^64), of a step's random numbers on one process."""
    words = philox4x32((0, Purpose.STEP, rank, step), seed_key(seed))
    return int(words[0]) << 32 | int(words[1])
