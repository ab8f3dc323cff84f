"""`FractalDataset`: the same samples as a map-style dataset, for a plain `torch.utils.data.DataLoader`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset

from fracgen.draws import Stream
from fracgen.loading.share import IMAGES_PER_CODE
from fracgen.order import MAX_INDEX, labels_of
from fracgen.recipes.presets import preset
from fracgen.rendering import make_renderer
from fracgen.rendering.normalize import dtype_name
from fracgen.support.errors import once_positional, renamed

if TYPE_CHECKING:
    from fracgen.formulas.files import Bank
    from fracgen.recipes.recipe import Recipe
    from fracgen.rendering.base import Rendered, Renderer


class FractalDataset(Dataset[tuple[torch.Tensor, int | torch.Tensor]]):
    """Samples of an epoch by number, rendered on the CPU: item i is image (seed, epoch, i).

    It goes into a DataLoader with or without workers, forked or spawned; `FractalLoader` is the
    faster way, as it renders batches in threads and needs no workers.

    Args:
        bank: the codes.
        recipe: a `Recipe`, or the name of a preset, whose recipe is taken.
        seed: integer in [0, 2^64).
        epoch_size: number of samples; default: ten a code.
        transform: called with every image, a tensor [3, size, size] (or a pair, [2, 3, size, size]); the item holds
            what it returns.
        dtype, normalize: as in `FractalLoader`; uint8 gives bytes.
        stream: `Stream.VALIDATION` for images that training never shows.
        threads: of one process; 1 is right beside workers.

    Raises:
        ValueError: an argument is out of range.

    >>> from fracgen import CodeBank, preset
    >>> dataset = FractalDataset(CodeBank.sample(10, classes=5), preset("paper").recipe.at_size(32), epoch_size=20)
    >>> image, label = dataset[7]
    >>> len(dataset), image.shape, label
    (20, torch.Size([3, 32, 32]), 2)
    """

    @once_positional("seed")
    @renamed(normalise="normalize")
    def __init__(
        self,
        bank: Bank,
        recipe: Recipe | str = "paper",
        *,
        seed: int = 0,
        epoch_size: int | None = None,
        transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
        dtype: torch.dtype | str = "float32",
        normalize: bool = True,
        stream: Stream = Stream.TRAIN,
        threads: int = 1,
    ) -> None:
        self.bank, self.recipe = bank, preset(recipe).recipe if isinstance(recipe, str) else recipe
        self.epoch_size = IMAGES_PER_CODE * len(bank) if epoch_size is None else epoch_size
        if not 1 <= self.epoch_size <= MAX_INDEX:
            raise ValueError(f"epoch_size {epoch_size} is out of range: use a whole number from 1 to {MAX_INDEX}")
        self.seed, self.epoch, self.stream, self.threads = seed, 0, Stream(stream), threads
        self.transform, self.dtype, self.normalize = transform, dtype_name(dtype), normalize
        self._renderer: Renderer | None = None

    def __len__(self) -> int:
        return self.epoch_size

    def set_epoch(self, epoch: int) -> None:
        """Show another epoch's images. Workers that are already running keep theirs."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int | torch.Tensor]:
        """One sample: what the transform makes of its image, and its class; for a recipe with codes of several classes
        in an image float32 [classes], 1 where a class is present.

        Raises:
            IndexError: there is no such sample.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, int | torch.Tensor]]:
        """Several samples in one go; DataLoader calls this where it exists."""
        for index in indices:
            if not 0 <= index < self.epoch_size:
                raise IndexError(f"sample {index} is out of range: there are samples 0 to {self.epoch_size - 1}")
        if self._renderer is None:
            self._renderer = make_renderer(self.bank, self.recipe, "cpu", threads=self.threads)
        made = self._renderer.render(
            indices, seed=self.seed, epoch=self.epoch, stream=self.stream, dtype=self.dtype, normalize=self.normalize
        )
        several = self.recipe.source == "bank"
        labels = classes_present(made, self.bank) if several else labels_of(indices, self.bank.classes).tolist()
        images = made.images if self.transform is None else map(self.transform, made.images)
        return list(zip(images, labels, strict=True))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_renderer": None}  # a spawned worker makes its own


def classes_present(made: Rendered, bank: Bank) -> torch.Tensor:
    """float32 [B, classes]: 1 where an image shows an object of a class."""
    codes = made.codes.long()  # [B, max_objects], -1 where there is none
    present = torch.zeros(len(codes), bank.classes + 1, device=codes.device)
    classes = torch.where(codes >= 0, codes // bank.per_class, bank.classes)
    return present.scatter_(1, classes, 1.0)[:, :-1]
