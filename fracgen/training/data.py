"""The loaders of a run: one of fresh training images, one of the validation stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from fracgen.draws import Stream
from fracgen.formulas.banks import Bank
from fracgen.loading.loader import FractalLoader
from fracgen.loading.prefetch import Meter
from fracgen.training.config import Config


@dataclass(frozen=True)
class Remaining:
    """The batches of an epoch from `first` on. Lightning needs their number: without it, it fetches
    one batch ahead to find the last."""

    loader: FractalLoader
    first: int

    def __len__(self) -> int:
        return len(self.loader) - self.first

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        return iter(self.loader)


class Data:
    """Makes each loader once, when its device and rank are known.

    Args:
        config: recipe, sizes and seed.
        bank: the codes.
        dtype: of images: float32 or bfloat16.
        channels_last: of images.
        prefetch: batches rendered ahead.
    """

    def __init__(
        self, config: Config, bank: Bank, *, dtype: torch.dtype = torch.float32, channels_last: bool = False,
        prefetch: int = 2,
    ) -> None:  # fmt: skip
        self.config, self.bank = config, bank
        self.options: dict[str, Any] = {"dtype": dtype, "channels_last": channels_last, "prefetch": prefetch}
        self._loader_state: dict[str, Any] | None = None
        self._training: FractalLoader | None = None
        self._validation: FractalLoader | None = None

    def continue_from(self, state: dict[str, Any]) -> None:
        """Let the first epoch begin at a checkpoint's position."""
        self._loader_state = state

    @property
    def meter(self) -> Meter:
        """What has been rendered for training."""
        return Meter() if self._training is None else self._training.meter

    def training(self, rank: int, world_size: int, device: torch.device, epoch: int, first: int) -> Remaining:
        """The batches of an epoch from `first` on, this rank's share."""
        if self._training is None:
            self._training = self._loader(self.config.epoch_size, Stream.TRAIN, rank, world_size, device)
            if self._loader_state is not None:
                self._training.load_state_dict(self._loader_state)
        self._training.set_epoch(epoch)
        assert self._training.position == (epoch, first), (self._training.position, epoch, first)
        return Remaining(self._training, first)

    def validation(self, rank: int, world_size: int, device: torch.device) -> FractalLoader:
        """The validation stream, this rank's share."""
        if self._validation is None:
            self._validation = self._loader(self.config.validation_size, Stream.VALIDATION, rank, world_size, device)
        return self._validation

    def state_at(self, step: int) -> dict[str, Any]:
        """The training loader's state after `step` steps."""
        assert self._training is not None
        state = self._training.state_dict()
        assert (state["epoch"], state["batch"]) == divmod(step, len(self._training)), (state, step)
        return state

    def _loader(self, size: int, stream: Stream, rank: int, world: int, device: torch.device) -> FractalLoader:
        c, trains = self.config, stream == Stream.TRAIN
        options: dict[str, Any] = dict(self.options) | {"twins": c.task == "damage"}
        if trains:
            options |= {"augment": c.augmentation, "class_maps": c.task == "dense", "pictures": c.pictures}
        return FractalLoader(
            self.bank, c.recipe, min(c.batch_size, size), device, c.seed, epoch_size=size, rank=rank,
            world_size=world, stream=stream, **options,
        )  # fmt: skip
