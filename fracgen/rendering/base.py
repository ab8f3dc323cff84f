"""The renderer protocol: two backends, one meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Stream
from fracgen.formulas.files import Bank
from fracgen.order import MAX_INDEX
from fracgen.recipes.recipe import Recipe


@dataclass(frozen=True)
class Rendered:
    """A batch of images: NumPy arrays from the CPU renderer, torch tensors from the CUDA renderer."""

    images: Any
    """uint8 [B, 3, size, size] RGB, or [B, 2, 3, size, size] for a recipe of pairs."""
    codes: Any
    """int32 [B, max_objects]: codes of the attractors drawn (first view), -1 beyond the last."""
    masks: Any = None
    """uint8 [B, size, size] or [B, 2, size, size] where asked for: 1 where an attractor shows, before the blur."""

    @classmethod
    def of(cls, images: Any, codes: Any, masks: Any = None) -> Rendered:
        """From arrays with an axis of views, [B, views, ...], which a recipe of single images does without."""
        if images.shape[1] == 1:
            images, masks = images[:, 0], None if masks is None else masks[:, 0]
        return cls(images, codes, masks)

    @property
    def by_view(self) -> Any:
        """The images with their axis of views: [B, views, 3, size, size]."""
        return self.images if self.images.ndim == 5 else self.images[:, None]

    def on_host(self) -> Rendered:
        """The same with NumPy arrays."""
        return Rendered(_numpy(self.images), _numpy(self.codes), None if self.masks is None else _numpy(self.masks))


class Renderer(Protocol):
    """Renders image (seed, epoch, index): the same bytes on every backend."""

    bank: Bank
    recipe: Recipe

    def render(
        self, index: Any, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN, masks: bool = False
    ) -> Rendered:
        """Render the samples `index` (integers in [0, 2^32), any order, repeats allowed) of an epoch."""

    def order(
        self, first: int, count: int, size: int, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN,
        stride: int = 1,
    ) -> tuple[Any, Any]:  # fmt: skip
        """Samples and labels at `count` positions first, first + stride, ... of an epoch of `size` samples.

        Returns:
            [count] samples in the form that this renderer's `render` takes without a copy, and int64
            [count] labels; see `fracgen.order`.
        """


def _numpy(array: Any) -> NDArray[Any]:
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def checked_index(index: Any) -> NDArray[np.uint32]:
    """Sample numbers as uint32 [B]. Raises ValueError where one is no integer in [0, 2^32)."""
    if isinstance(index, range):
        index = np.arange(index.start, index.stop, index.step)
    array = np.atleast_1d(np.asarray(index))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"index has type {array.dtype} and shape {list(array.shape)}: give a list of whole numbers")
    if array.size and not (int(array.min()) >= 0 and int(array.max()) <= MAX_INDEX):
        raise ValueError(f"index reaches from {array.min()} to {array.max()}: samples are numbered 0 to {MAX_INDEX}")
    return array.astype(np.uint32)


def check_positions(first: int, count: int, size: int, stride: int) -> None:
    """Raises ValueError where first, first + stride, ... are not `count` positions of an epoch of `size` samples."""
    if not (first >= 0 and count >= 0 and stride >= 1 and 1 <= size <= MAX_INDEX + 1):
        raise ValueError(f"positions {first}, {first + stride}, ... of an epoch of {size} samples make no sense")
    last = first + (count - 1) * stride
    if count and last >= size:
        raise ValueError(f"position {last} is past the end: the epoch has {size} samples, numbered from 0")


def checked_epoch(epoch: int) -> int:
    """An epoch. Raises ValueError where it is outside [0, 2^32)."""
    if not 0 <= epoch <= MAX_INDEX:
        raise ValueError(f"epoch {epoch} is out of range: use 0 to {MAX_INDEX}")
    return int(epoch)
