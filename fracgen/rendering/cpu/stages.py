"""What a formula is to the CPU renderer: stages that take samples to pictures, and their work space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen.rendering.records import Samples

Work = dict[str, Callable[[], None]]
"""What each stage does with some samples, by the stage's name."""


class Stages(Protocol):
    """A formula's stages for one bank and one recipe."""

    names: tuple[str, ...]
    """In the order in which they run."""

    def space(self, n: int) -> Any:
        """Work space for `n` samples, a named tuple; its `objects` are records of what was drawn."""

    def work(
        self, samples: Samples, space: Any, first: int, last: int, images: NDArray[np.uint8], masks: NDArray[np.uint8]
    ) -> Work:
        """What makes samples first .. last - 1.

        Args:
            samples: of the whole call.
            space: with room for these samples.
            images: uint8 [B, views, 3, size, size], rows first .. last - 1 written.
            masks: uint8 [B, views, size, size], the same rows written, or [0, ...] for none.
        """
