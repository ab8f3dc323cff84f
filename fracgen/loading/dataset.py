"""`FractalDataset`: the same samples as a map-style dataset, for a plain `torch.utils.data.DataLoader`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

from fracgen.draws import Stream
from fracgen.loading.loader import IMAGES_PER_CODE
from fracgen.order import MAX_INDEX, labels_of
from fracgen.recipes.presets import preset
from fracgen.rendering import make_renderer
from fracgen.rendering import normalise as normalisation

if TYPE_CHECKING:
    from fracgen.formulas.files import Bank
    from fracgen.recipes.recipe import Recipe
    from fracgen.rendering.base import Renderer


class FractalDataset(Dataset[tuple[torch.Tensor, int]]):
    """Samples of an epoch by number, rendered on the CPU: item i is image (seed, epoch, i).

    It goes into a DataLoader with or without workers, forked or spawned; `FractalLoader` is the
    faster way, as it renders batches in threads and needs no workers.

    Args:
        bank: the codes.
        recipe: a `Recipe`, or the name of a preset, whose recipe is taken; one label an image.
        seed: integer in [0, 2^64).
        epoch_size: samples; default: ten a code.
        dtype, normalise: as in `FractalLoader`; torch.uint8 gives bytes.
        stream: `Stream.VALIDATION` for pictures that training never shows.
        threads: of one process; 1 is right beside workers.

    Raises:
        ValueError: an argument is out of range, or the recipe has several labels an image.

    >>> from fracgen import CodeBank, preset
    >>> dataset = FractalDataset(CodeBank.sample(10, classes=5), preset("paper").recipe.at_size(32), epoch_size=20)
    >>> image, label = dataset[7]
    >>> len(dataset), image.shape, label
    (20, torch.Size([3, 32, 32]), 2)
    """

    def __init__(
        self,
        bank: Bank,
        recipe: Recipe | str = "paper",
        seed: int = 0,
        *,
        epoch_size: int | None = None,
        dtype: torch.dtype = torch.float32,
        normalise: bool = True,
        stream: Stream = Stream.TRAIN,
        threads: int = 1,
    ) -> None:
        self.bank, self.recipe = bank, preset(recipe).recipe if isinstance(recipe, str) else recipe
        if self.recipe.source == "bank":
            raise ValueError(f"recipe {self.recipe.name!r} has several labels an image: use FractalLoader")
        self.epoch_size = IMAGES_PER_CODE * len(bank) if epoch_size is None else epoch_size
        if not 1 <= self.epoch_size <= MAX_INDEX:
            raise ValueError(f"epoch_size {epoch_size} is out of range: use a whole number from 1 to {MAX_INDEX}")
        self.seed, self.epoch, self.stream, self.threads = seed, 0, Stream(stream), threads
        self._table = None if dtype == torch.uint8 else normalisation.table(self.recipe, dtype, normalise=normalise)
        self._renderer: Renderer | None = None

    def __len__(self) -> int:
        return self.epoch_size

    def set_epoch(self, epoch: int) -> None:
        """Show another epoch's images. Workers that are already running keep theirs."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """One sample: image [3, size, size] (or a pair [2, 3, size, size]) and class.

        Raises:
            IndexError: there is no such sample.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, int]]:
        """Several samples in one go; DataLoader calls this where it exists."""
        for index in indices:
            if not 0 <= index < self.epoch_size:
                raise IndexError(f"sample {index} is out of range: there are samples 0 to {self.epoch_size - 1}")
        if self._renderer is None:
            self._renderer = make_renderer(self.bank, self.recipe, "cpu", threads=self.threads)
        made = self._renderer.render(indices, seed=self.seed, epoch=self.epoch, stream=self.stream)
        images = torch.from_numpy(made.images)
        if self._table is not None:
            images = normalisation.apply(images, self._table)
        return list(zip(images, labels_of(indices, self.bank.classes).tolist(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_renderer": None}  # a spawned worker makes its own
