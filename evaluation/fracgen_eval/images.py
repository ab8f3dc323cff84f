"""Pictures on their way into a method: decoded, resized, cropped; masks alike; score maps back again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.datasets.base import Sample, Saturation
from fracgen_eval.metrics import Region
from fracgen_eval.pictures import read_mask, read_picture


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

    def _cropped(self, pixels: NDArray[Any]) -> NDArray[Any]:
        if self.crop is None and not self.shorter:
            return pixels
        top, left = ((extent - self.side) // 2 for extent in pixels.shape[:2])
        return pixels[top : top + self.side, left : left + self.side]


class SaturatedRegions(Sequence[Any]):
    """The defect regions of each test image, made on access.

    Args:
        samples: test images.
        kinds: when which kind of region saturates, see `Category.saturation`.
        geometry: as the maps are compared; at the picture files' size where None. A region keeps the share of its
            area at which it saturates; one that vanishes when the mask is made smaller is left out.
    """

    def __init__(self, samples: Sequence[Sample], kinds: Sequence[Saturation], geometry: Geometry | None) -> None:
        self.samples, self.kinds, self.geometry = samples, {kind.value: kind for kind in kinds}, geometry

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, n: Any) -> list[Region]:
        """The regions of the n-th image."""
        regions = []
        for path in self.samples[n].masks:
            values = read_mask(path, exact=True)
            full = values != 0
            if not full.any():
                continue
            share = self.kinds[int(values.max())].share(int(full.sum()))
            mask = full if self.geometry is None else self.geometry.resized(full)
            if mask.any():
                regions.append(Region(mask, share * int(mask.sum())))
        return regions


def load_images(paths: Sequence[Path], geometry: Geometry) -> Any:
    """All pictures as one torch tensor, uint8 [N, 3, side, side]: 0.2 MB each at 256 pixels."""
    import torch

    images = torch.empty((len(paths), 3, geometry.side, geometry.side), dtype=torch.uint8)
    for n, path in enumerate(paths):
        images[n] = torch.from_numpy(np.array(geometry.image(path))).permute(2, 0, 1)
    return images


class OriginalSize(Sequence[Any]):
    """Maps and masks at the size of the picture file, made on access: what MVTec's own tool measures."""

    def __init__(self, samples: Sequence[Sample], maps: NDArray[np.float32]) -> None:
        self.samples, self.maps = samples, maps
        self._sizes: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, n: Any) -> Any:
        """float32 [H, W], bilinear."""
        return bilinear(self.maps[n][..., None], self.size(n))[..., 0]

    def masks(self) -> Sequence[Any]:
        """The ground truth, as a sequence of bool [H, W]."""
        return _OriginalMasks(self)

    def size(self, n: int) -> tuple[int, int]:
        """Width and height of the n-th picture; found out once, by reading it."""
        if n not in self._sizes:
            height, width = read_picture(self.samples[n].path).shape[:2]
            self._sizes[n] = width, height
        return self._sizes[n]


class _OriginalMasks(Sequence[Any]):
    def __init__(self, maps: OriginalSize) -> None:
        self.maps = maps

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, n: Any) -> Any:
        width, height = self.maps.size(n)
        marked = np.zeros((height, width), bool)
        for path in self.maps.samples[n].masks:
            marked |= read_mask(path) != 0
        return marked


def bilinear(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Bilinear without antialiasing, [H, W, C] to (width, height), of the same type."""
    import torch

    tensor = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float()
    out = torch.nn.functional.interpolate(tensor, (size[1], size[0]), mode="bilinear", align_corners=False)
    out = out.round() if pixels.dtype == np.uint8 else out
    return out[0].permute(1, 2, 0).numpy().astype(pixels.dtype)
