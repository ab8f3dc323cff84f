"""Pictures on their way into a method: decoded, resized, cropped; masks alike; score maps back again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.datasets.base import Sample, Saturation
from fracgen_eval.metrics import Region
from fracgen_eval.pictures import read_mask, read_picture

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
P = TypeVar("P", bound=np.generic)


@dataclass(frozen=True)
class Geometry:
    """How a picture becomes a square of `side` pixels."""

    resize: int = 256
    crop: int | None = None
    """Side of the centre crop after resizing; None keeps all."""
    shorter: bool = False
    """Resize the shorter side to `resize` and keep the proportions, rather than both sides to it."""
    antialias: bool = True
    """Off: bilinear without a low-pass, as libraries resized tensors at the time of the paper."""

    @property
    def side(self) -> int:
        """Side of the result in pixels."""
        return self.crop or self.resize

    def image(self, path: Path) -> NDArray[np.uint8]:
        """uint8 [side, side, 3]. Raises EvaluationError as `read_picture` does."""
        return self.fit(read_picture(path))

    def fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture uint8 [H, W, 3] as [side, side, 3]."""
        from PIL import Image

        size = self._size((picture.shape[1], picture.shape[0]))
        if self.antialias:
            return self._cropped(np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)))
        return self._cropped(bilinear(picture, size))

    def mask(self, sample: Sample) -> NDArray[np.bool_]:
        """bool [side, side], true where defect (nearest neighbour); all false without a mask."""
        marked = np.zeros((self.side, self.side), bool)
        for path in sample.masks:
            marked |= self.resized(read_mask(path) != 0)
        return marked

    def resized(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask [H, W] as [side, side], by nearest neighbours."""
        from PIL import Image

        full = Image.fromarray(mask)
        return self._cropped(np.asarray(full.resize(self._size(full.size), Image.Resampling.NEAREST)))

    def _size(self, size: tuple[int, int]) -> tuple[int, int]:
        if not self.shorter:
            return self.resize, self.resize
        scale = self.resize / min(size)
        return round(size[0] * scale), round(size[1] * scale)

    def _cropped(self, pixels: NDArray[P]) -> NDArray[P]:
        if self.crop is None and not self.shorter:
            return pixels
        top, left = ((extent - self.side) // 2 for extent in pixels.shape[:2])
        return pixels[top : top + self.side, left : left + self.side]


def load_images(paths: Sequence[Path], geometry: Geometry) -> Tensor:
    """All pictures as one tensor, uint8 [N, 3, side, side]: 0.2 MB each at 256 pixels."""
    import torch

    images = torch.empty((len(paths), 3, geometry.side, geometry.side), dtype=torch.uint8)
    for n, path in enumerate(paths):
        images[n] = torch.from_numpy(np.array(geometry.image(path))).permute(2, 0, 1)
    return images


class OnAccess(Sequence[T]):
    """A sequence whose items are made when they are asked for, each time anew."""

    def __init__(self, number: int, make: Callable[[int], T]) -> None:
        self.places, self.make = range(number), make

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, n: int) -> T: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[T]: ...
    def __getitem__(self, n: int | slice) -> T | Sequence[T]:
        return self.make(self.places[n]) if isinstance(n, int) else [self.make(place) for place in self.places[n]]


def saturated_regions(
    samples: Sequence[Sample], kinds: Sequence[Saturation], geometry: Geometry | None
) -> Sequence[list[Region]]:
    """The defect regions of each test image, made on access.

    Args:
        samples: test images.
        kinds: when which kind of region saturates, see `Category.saturation`.
        geometry: as the maps are compared; at the picture files' size where None. A region keeps the share of its
            area at which it saturates; one that vanishes when the mask is made smaller is left out.
    """
    by_value = {kind.value: kind for kind in kinds}

    def regions(n: int) -> list[Region]:
        found = []
        for path in samples[n].masks:
            values = read_mask(path, exact=True)
            if not (full := values != 0).any():
                continue
            share = by_value[int(values.max())].share(int(full.sum()))
            mask = full if geometry is None else geometry.resized(full)
            if mask.any():
                found.append(Region(mask, share * int(mask.sum())))
        return found

    return OnAccess(len(samples), regions)


def at_original_size(
    samples: Sequence[Sample], maps: NDArray[np.float32]
) -> tuple[Sequence[NDArray[np.float32]], Sequence[NDArray[np.bool_]]]:
    """Maps, bilinear, and masks [H, W] at the size of the picture files, made on access: what MVTec's tool measures."""

    @functools.cache
    def size(n: int) -> tuple[int, int]:
        height, width = read_picture(samples[n].path).shape[:2]
        return width, height

    def mask(n: int) -> NDArray[np.bool_]:
        marked = np.zeros(size(n)[::-1], bool)
        for path in samples[n].masks:
            marked |= read_mask(path) != 0
        return marked

    number = len(samples)
    return OnAccess(number, lambda n: bilinear(maps[n][..., None], size(n))[..., 0]), OnAccess(number, mask)


def bilinear(pixels: NDArray[P], size: tuple[int, int]) -> NDArray[P]:
    """Bilinear without antialiasing, [H, W, C] to (width, height), of the same type."""
    import torch

    tensor = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()
    out = torch.nn.functional.interpolate(tensor, (size[1], size[0]), mode="bilinear", align_corners=False)
    out = out.round() if pixels.dtype == np.uint8 else out
    return out[0].permute(1, 2, 0).numpy().astype(pixels.dtype)
