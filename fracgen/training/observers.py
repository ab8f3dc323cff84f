"""What happens around a run's steps on its first process: checkpoints, metrics, progress.

The module calls `start` before the first step, `after_step` and `after_epoch` (which is after its
validation) when the step has been counted, and `finish` after the last step.
"""

from __future__ import annotations

import math
import time
from typing import Any

from fracgen.support.terminal import Progress
from fracgen.training import checkpoint
from fracgen.training.config import Machine
from fracgen.training.folder import RunFolder
from fracgen.training.observer import Observer, Run


class CheckpointWriter(Observer):
    """Writes checkpoints: at intervals of steps or minutes, and after every epoch's validation.

    The step that ends an epoch has no checkpoint of its own before the validation: a run that is
    killed in between takes some steps again rather than lose a row of its metrics.
    """

    def __init__(self, folder: RunFolder, machine: Machine) -> None:
        self.folder, self.machine = folder, machine
        self.step, self.time = -1, time.monotonic()

    def start(self, run: Run) -> None:
        if run.steps_done == 0:
            self.save(run)  # so that a run whose checkpoints were lost can be told from a new one
        self.step, self.time = run.steps_done, time.monotonic()

    def after_step(self, run: Run, images: int) -> None:
        every = self.machine.checkpoint_steps
        due = every is not None and run.steps_done % every == 0
        due |= time.monotonic() - self.time > 60 * self.machine.checkpoint_minutes
        if due and run.steps_done % run.config.steps_per_epoch:
            self.save(run)

    def after_epoch(self, run: Run) -> None:
        self.save(run)

    def finish(self, run: Run) -> None:
        self.save(run)

    def save(self, run: Run) -> None:
        """Write a checkpoint, unless this step has one."""
        if run.steps_done != self.step:
            checkpoint.save(run.state_to_save(), self.folder.checkpoints, run.steps_done)
            self.step, self.time = run.steps_done, time.monotonic()


class MetricsWriter(Observer):
    """Writes metrics.csv, passes its rows to Lightning's loggers, and prints a line for every epoch.

    Loss is the first process's share of the last batch. The rendering share is the time the
    renderer was at work over the time that passed; on a CPU it shares the cores with the step, on a
    GPU the multiprocessors.
    """

    def __init__(self, folder: RunFolder, machine: Machine) -> None:
        self.folder, self.every = folder, machine.log_steps
        self.began = self.last = time.perf_counter()
        self.images, self.rendering = 0, 0.0
        self.rates: dict[str, float] = {}

    def start(self, run: Run) -> None:
        self.began = self.last = time.perf_counter()

    def after_step(self, run: Run, images: int) -> None:
        self.images += images
        if run.steps_done % self.every and run.steps_done != 1:
            return
        loss = float(run.last_loss)
        if not math.isfinite(loss):
            raise RuntimeError(
                f"the loss is {loss} at step {run.steps_done}: begin again with a lower --learning-rate than "
                f"{run.config.learning_rate:g}"
            )
        now, rendering = time.perf_counter(), run.data.meter.seconds
        self.rates = {
            "images_per_second": self.images * run.trainer.world_size / (now - self.last),
            "rendering_share": (rendering - self.rendering) / (now - self.last),
        }
        self.last, self.images, self.rendering = now, 0, rendering
        self._row(run, learning_rate=run.trainer.optimizers[0].param_groups[0]["lr"], loss=loss, **self.rates)

    def after_epoch(self, run: Run) -> None:
        line = f"epoch {run.epochs_done} of {run.config.epochs}: loss {float(run.last_loss):.3f}"
        if run.validation:
            accuracy = run.validation["accuracy"]
            self._row(run, validation_loss=run.validation["loss"], validation_accuracy=accuracy)
            line += f", validation accuracy {accuracy:.1%} ({run.objective.measure})"
        self.folder.say(f"{line}, {time.perf_counter() - self.began:.0f} s")
        self.last, self.images, self.rendering = time.perf_counter(), 0, run.data.meter.seconds

    def _row(self, run: Run, **values: Any) -> None:
        c, step = run.config, run.steps_done
        epochs, steps = divmod(step, c.steps_per_epoch)
        row = {
            "step": step, "epoch": step / c.steps_per_epoch, "images": epochs * c.epoch_size + steps * c.batch_size,
            "seconds": time.perf_counter() - self.began, **values,
        }  # fmt: skip
        self.folder.add_metrics({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})
        for logger in run.trainer.loggers:
            logger.log_metrics({name: float(v) for name, v in row.items() if name != "step"}, step)


class ProgressLine(Observer):
    """A line on stderr, where that is a terminal: steps, time left, loss, images/s, share of time spent rendering."""

    def __init__(self, metrics: MetricsWriter, steps: int) -> None:
        self.metrics, self.steps, self.note = metrics, steps, ""
        self.progress: Progress | None = None

    def start(self, run: Run) -> None:
        self.progress = Progress(self.steps, "steps", run.steps_done)

    def after_step(self, run: Run, images: int) -> None:
        assert self.progress is not None
        if run.steps_done % self.metrics.every == 0 or run.steps_done == 1:  # else the loss stays on the device
            rates = self.metrics.rates
            self.note = (
                f"epoch {run.steps_done / run.config.steps_per_epoch:.2f}/{run.config.epochs}  "
                f"loss {float(run.last_loss):.3f}  {rates['images_per_second']:,.0f} images/s, "
                f"{rates['rendering_share']:.0%} rendering"
            )
        self.progress.add(1, self.note)

    def finish(self, run: Run) -> None:
        self.close()

    def close(self) -> None:
        """Erase the line, also after an error."""
        if self.progress is not None:
            self.progress.clear()
