"""What a run says of itself on its first process: metrics.csv, the loggers' copies, lines, and a line of progress."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from fracgen.loading.prefetch import Meter
from fracgen.support.terminal import Progress
from fracgen.training.config import Config, Machine
from fracgen.training.folder import RunFolder

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from torch import Tensor


class Log:
    """Writes a row of metrics every `log_steps` steps and after every validation, and shows how far the run is.

    Loss is the first process's share of the last batch. The rendering share is the time the renderer was at work over
    the time that passed; on a CPU it shares the cores with the step, on a GPU the multiprocessors.
    """

    def __init__(self, folder: RunFolder, config: Config, machine: Machine, fabric: Fabric) -> None:
        self.folder, self.config, self.every, self.fabric = folder, config, machine.log_steps, fabric
        self.progress: Progress | None = None
        self.began = self.last = time.perf_counter()
        self.meter, self.images, self.rendering, self.note = Meter(), 0, 0.0, ""

    def begin(self, step: int, last: int, meter: Meter) -> None:
        """The first of the steps from `step` to `last` is about to be taken; `meter` counts what is rendered."""
        self.began, self.meter, self.progress = time.perf_counter(), meter, Progress(last, "steps", step)
        self._measure_from_here()

    def step(self, step: int, loss: Tensor, images: int) -> None:
        """A step was taken, the `step`-th, on so many images of this process.

        The loss stays on its device but for the steps that are written. Raises RuntimeError where it is not finite.
        """
        self.images += images
        if step % self.every == 0 or step == 1:
            value, passed = float(loss), time.perf_counter() - self.last
            if not math.isfinite(value):
                raise RuntimeError(f"the loss is {value} at step {step}: begin again with a lower --learning-rate than "
                                   f"{self.config.learning_rate:g}")  # fmt: skip
            speed = self.images * self.fabric.world_size / passed
            share = (self.meter.seconds - self.rendering) / passed
            self._row(
                step, learning_rate=self.config.rate(step), loss=value, images_per_second=speed, rendering_share=share
            )
            self.note = (f"epoch {step / self.config.steps_per_epoch:.2f}/{self.config.epochs}  loss {value:.3f}  "
                         f"{speed:,.0f} images/s, {share:.0%} rendering")  # fmt: skip
            self._measure_from_here()
        assert self.progress is not None
        self.progress.add(1, self.note)

    def epoch(self, step: int, loss: Tensor, validation: dict[str, float], measure: str) -> None:
        """An epoch was ended and validated; `measure` says what its accuracy is."""
        line = f"epoch {step // self.config.steps_per_epoch} of {self.config.epochs}: loss {float(loss):.3f}"
        if validation:
            accuracy = validation["accuracy"]
            self._row(step, validation_loss=validation["loss"], validation_accuracy=accuracy)
            line += f", validation accuracy {accuracy:.1%} ({measure})"
        self.folder.say(f"{line}, {time.perf_counter() - self.began:.0f} s")
        self._measure_from_here()

    def close(self) -> None:
        """Erase the line of progress, and let the loggers write what they hold."""
        if self.progress is not None:
            self.progress.clear()
        for logger in self.fabric.loggers:
            logger.finalize("success")

    def _measure_from_here(self) -> None:
        self.last, self.images, self.rendering = time.perf_counter(), 0, self.meter.seconds

    def _row(self, step: int, **values: float) -> None:
        c = self.config
        epochs, steps = divmod(step, c.steps_per_epoch)
        row: dict[str, float] = {
            "step": step, "epoch": step / c.steps_per_epoch, "images": epochs * c.epoch_size + steps * c.batch_size,
            "seconds": time.perf_counter() - self.began, **values,
        }  # fmt: skip
        self.folder.add_metrics({name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()})
        self.fabric.log_dict({name: float(v) for name, v in row.items() if name != "step"}, step)
