"""One process's share of every batch of an epoch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fracgen.order import MAX_INDEX

IMAGES_PER_CODE = 10
"""The paper's epoch: 1,000,000 images of 100,000 codes."""


@dataclass(frozen=True)
class Share:
    """One rank's share of an epoch.

    Raises:
        ValueError: a number is out of range, or the ranks' shares would differ in size.
    """

    epoch_size: int
    batch_size: int
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        epoch, batch, world = self.epoch_size, self.batch_size, self.world_size
        for name, value, high in (("epoch_size", epoch, MAX_INDEX), ("batch_size", batch, epoch)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
                raise ValueError(f"{name} {value!r} is out of range: use a whole number from 1 to {high}")
        if world < 1 or not 0 <= self.rank < world:
            raise ValueError(f"rank {self.rank} of world_size {world} is out of range: ranks are 0 to world_size - 1")
        if batch % world or epoch % world:
            whole = next(w for w in range(world, 0, -1) if batch % w == 0 and epoch % w == 0)
            nearest = max(world, round(batch / world) * world)
            sizes = f"a batch of {nearest}" if batch % world else ""
            if epoch % world:
                sizes += (" and " if sizes else "") + f"an epoch of {max(world, round(epoch / world) * world)} images"
            last = epoch % batch or batch
            raise ValueError(
                f"world_size {world} does not divide every batch (they have {batch} images, the last {last}): "
                f"use {whole} ranks, or {sizes}"
            )

    def __len__(self) -> int:
        return -(-self.epoch_size // self.batch_size)

    def count(self, batch: int) -> int:
        """This rank's images in global batch `batch` of an epoch."""
        return (min((batch + 1) * self.batch_size, self.epoch_size) - batch * self.batch_size) // self.world_size

    def first(self, batch: int) -> int:
        """This rank's first position in it; `world_size` lies between one and the next, also across batches."""
        return batch * self.batch_size + self.rank

    def bounds(self, batch: int) -> tuple[int, int]:
        """First position of a global batch, and how many it has."""
        first = batch * self.batch_size
        return first, min(self.batch_size, self.epoch_size - first)

    def positions(self, batch: int) -> NDArray[np.int64]:
        """This rank's positions in it: int64 [count]."""
        return np.arange(self.count(batch)) * self.world_size + self.first(batch)
