"""The renderer protocol: two backends, one meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Stream
from fracgen.formulas.files import Bank
from fracgen.order import MAX_INDEX
from fracgen.recipes.recipe import Recipe

if TYPE_CHECKING:
    import torch

    Array: TypeAlias = NDArray[np.generic] | torch.Tensor
    Index: TypeAlias = Sequence[int] | range | NDArray[np.integer] | torch.Tensor
    """Numbers of samples, whole, in [0, 2^32)."""


class HostArrays(NamedTuple):
    """A batch of images as NumPy arrays; see `Rendered`."""

    images: NDArray[np.uint8]
    codes: NDArray[np.int32]
    masks: NDArray[np.uint8]
    """[0, size, size] where none were asked for."""


class Rendered:
    """A batch of images: torch tensors on the renderer's device, or, by `numpy()`, NumPy arrays.

    Args:
        images: [B, views, 3, size, size]; the axis of views is left out for a recipe of single images.
        codes: [B, max_objects].
        masks: [B, views, size, size] or None.
    """

    def __init__(self, images: Array, codes: Array, masks: Array | None = None) -> None:
        single = images.shape[1] == 1
        self._images = images[:, 0] if single else images
        self._codes = codes
        self._masks = masks[:, 0] if single and masks is not None else masks

    @property
    def images(self) -> torch.Tensor:
        """RGB [B, 3, size, size], or [B, 2, 3, size, size] for a recipe of pairs; uint8 unless another type was asked
        for."""
        return _tensor(self._images)

    @property
    def codes(self) -> torch.Tensor:
        """int32 [B, max_objects]: codes of the objects drawn (first view), -1 beyond the last."""
        return _tensor(self._codes)

    @property
    def masks(self) -> torch.Tensor:
        """uint8 [B, size, size] or [B, 2, size, size]: 1 where an object shows, before the blur.

        Raises:
            ValueError: none were asked for.
        """
        if self._masks is None:
            raise ValueError("there are no masks: render(..., masks=True) makes them")
        return _tensor(self._masks)

    def __getitem__(self, rows: torch.Tensor) -> Rendered:
        """Some of the images, by their places int64 [N] in the batch."""
        chosen = Rendered.__new__(Rendered)
        chosen._images, chosen._codes = self.images[rows], self.codes[rows]
        chosen._masks = None if self._masks is None else self.masks[rows]
        return chosen

    def numpy(self) -> HostArrays:
        """The same as NumPy arrays, on the host. From a CPU renderer without importing torch."""
        images = _host(self._images)
        masks = np.empty((0, *images.shape[-2:]), np.uint8) if self._masks is None else _host(self._masks)
        return HostArrays(images, _host(self._codes), masks)


class Renderer(Protocol):
    """Renders image (seed, epoch, index): the same bytes on every backend."""

    bank: Bank
    recipe: Recipe

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""

    def render(
        self, index: Index, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN, masks: bool = False,
        dtype: torch.dtype | str = "uint8", normalize: bool = True, channels_last: bool = False,
    ) -> Rendered:  # fmt: skip
        """Render samples of an epoch.

        Args:
            index: whole numbers in [0, 2^32), in any order, repeats allowed.
            seed: integer in [0, 2^64).
            epoch: integer in [0, 2^32).
            stream: `Stream.VALIDATION` has the same classes and codes in other images.
            masks: whether to make masks, too.
            dtype: uint8 gives bytes; float32, float16 or bfloat16 gives (x / 255 - mean) / std of the recipe.
            normalize: float types only: False gives x / 255, in [0, 1].
            channels_last: whether images are stored with their channels last; their shape is the same.

        Raises:
            ValueError: an argument is out of range.
        """

    def order(
        self, first: int, count: int, size: int, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN,
        stride: int = 1,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Samples and labels at `count` positions first, first + stride, ... of an epoch of `size` samples.

        Returns:
            [count] samples in the form that this renderer's `render` takes without a copy, and int64
            [count] labels; see `fracgen.order`.
        """


def _tensor(array: Array) -> torch.Tensor:
    import torch

    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def _host(array: Array) -> NDArray:  # type: ignore[type-arg]
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def checked_index(index: Index) -> NDArray[np.uint32]:
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
