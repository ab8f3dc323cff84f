"""The interface between a run and its observers.

The module notifies; checkpoints, metrics and the line of progress (`training.observers`) observe. Neither imports
the other.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from fracgen.training.config import Config
from fracgen.training.data import Data
from fracgen.training.objective import Objective


class Run(Protocol):
    """What observers may read of a run."""

    config: Config
    objective: Objective
    data: Data
    steps_done: int
    last_loss: Tensor
    """Of this process's share of the last batch."""
    validation: dict[str, float]
    """step, loss and accuracy of the last validation; empty before it."""

    @property
    def trainer(self) -> Any:
        """Lightning's trainer."""

    @property
    def epochs_done(self) -> int:
        """Whole epochs taken."""

    def state_to_save(self) -> dict[str, Any]:
        """What a checkpoint holds."""


class Observer:
    """Does nothing at every occasion; the others override what they need."""

    def start(self, run: Run) -> None:
        """Before the first step."""

    def after_step(self, run: Run, images: int) -> None:
        """After each step, with the number of images in this process's share of its batch."""

    def after_epoch(self, run: Run) -> None:
        """After each epoch's validation."""

    def finish(self, run: Run) -> None:
        """After the last step."""

    def close(self) -> None:
        """Once the run has ended, also by an error."""
