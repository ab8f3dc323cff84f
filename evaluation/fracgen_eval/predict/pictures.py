"""Pictures as a method sees them, whole or in tiles at full resolution, and what the method says about each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.images import Geometry, bilinear
from fracgen_eval.methods import Method
from fracgen_eval.methods.base import PREDICT_BATCH
from fracgen_eval.metrics import check_finite
from fracgen_eval.pictures import read_picture

if TYPE_CHECKING:
    import torch

Picture: TypeAlias = NDArray[np.uint8]
Map: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[int, int, int, int]
"""Top, left, bottom, right in pixels; the bottom row and the right column are outside."""

STEP = 0.75
"""Greatest distance of neighbouring tiles, in sides of a tile."""
FITTED_TILES = 128
"""Tiles to fit on, of all pictures together; at least one of each."""
TILES_STREAM = 0x711E5
"""Second word of the seed that draws them."""
LARGEST_MAP = 1024
"""A tiled picture's map has at most so many rows and columns."""
SCALES = 4
"""Octaves of detail that `looks` tells apart."""
LOOKS = (
    "red", "green", "blue", "contrast",
    *(f"detail of {2**n} px {way}" for n in range(SCALES) for way in ("across", "down")),
)  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """How pictures come into a method: whole, resized to its square, or in overlapping squares of their own pixels."""

    geometry: Geometry
    tiled: bool = False

    def boxes(self, height: int, width: int) -> list[Box]:
        """The tiles of a picture, evenly spread from edge to edge; of a picture that is not tiled, all of it.

        >>> Cut(Geometry(256), tiled=True).boxes(200, 600)
        [(0, 0, 200, 256), (0, 172, 200, 428), (0, 344, 200, 600)]
        """
        if not self.tiled:
            return [(0, 0, height, width)]
        side = self.geometry.side
        rows, columns = (_starts(extent, side) for extent in (height, width))
        return [(y, x, min(y + side, height), min(x + side, width)) for y in rows for x in columns]

    def images(self, picture: Picture, boxes: Sequence[Box]) -> torch.Tensor:
        """Those parts of a picture, uint8 [B, 3, side, side]."""
        import torch

        parts = [self.geometry.fit(picture[top:bottom, left:right]) for top, left, bottom, right in boxes]
        return torch.from_numpy(np.stack(parts)).permute(0, 3, 1, 2).contiguous()


def _starts(extent: int, side: int) -> list[int]:
    if extent <= side:
        return [0]
    steps = math.ceil((extent - side) / (STEP * side))
    return [round(n * (extent - side) / steps) for n in range(steps + 1)]


def to_fit(paths: Sequence[Path], cut: Cut, seed: int) -> tuple[torch.Tensor, NDArray[np.intp]]:
    """What a method is fitted on: all pictures, or tiles drawn from them by the seed.

    Returns:
        uint8 [T, 3, side, side], and which of the pictures each is of, [T].

    Raises:
        EvaluationError: a picture cannot be decoded.
    """
    import torch

    each = max(1, FITTED_TILES // len(paths))
    parts, owners = [], []
    for number, path in enumerate(paths):
        picture = read_picture(path)
        boxes = cut.boxes(*picture.shape[:2])
        order = np.random.default_rng([seed, TILES_STREAM, number]).permutation(len(boxes))[:each]
        parts.append(cut.images(picture, [boxes[n] for n in sorted(order)]))
        owners += [number] * len(order)
    return torch.cat(parts), np.array(owners)


@dataclass(frozen=True)
class Judged:
    """What a method says about N pictures."""

    scores: NDArray[np.float32]
    """[N]; of a tiled picture the highest of its tiles."""
    looks: NDArray[np.float64]
    """[N, L], see `looks`."""
    maps: list[Map] | None
    """Of any size, for a picture's whole extent; None from methods that judge whole images."""


def judge(method: Method, cut: Cut, paths: Sequence[Path]) -> Judged:
    """Judge pictures. Raises EvaluationError where one cannot be decoded, or a score is not finite."""
    one = _tiled if cut.tiled else _whole
    parts = [paths[start : start + PREDICT_BATCH] for start in range(0, len(paths), PREDICT_BATCH)]
    found = [row for part in parts for row in one(method, cut, part)]
    scores = np.array([row[0] for row in found], np.float32)
    check_finite(scores)
    maps = [heat for _, _, heat in found if heat is not None]
    return Judged(scores, np.array([look for _, look, _ in found]), maps if len(maps) == len(found) else None)


_Row: TypeAlias = tuple[float, NDArray[np.float64], Map | None]
"""Score, looks and map of a picture."""


def _whole(method: Method, cut: Cut, paths: Sequence[Path]) -> Iterator[_Row]:
    import torch

    pictures = (read_picture(path) for path in paths)
    images = torch.cat([cut.images(picture, cut.boxes(*picture.shape[:2])) for picture in pictures])
    found = method.predict(images)
    return zip(found.scores, looks(images), repeat(None) if found.maps is None else found.maps, strict=False)


def _tiled(method: Method, cut: Cut, paths: Sequence[Path]) -> Iterator[_Row]:
    for path in paths:
        picture = read_picture(path)
        boxes = cut.boxes(*picture.shape[:2])
        scores, seen, heat, mapped = [], [], np.zeros(picture.shape[:2], np.float32), True
        for start in range(0, len(boxes), PREDICT_BATCH):
            some = boxes[start : start + PREDICT_BATCH]
            images = cut.images(picture, some)
            found = method.predict(images)
            scores.append(found.scores.max())
            seen.append(looks(images))
            mapped = found.maps is not None
            for box, part in zip(some, found.maps if found.maps is not None else (), strict=False):
                _add(heat, box, part)
        yield max(scores), np.concatenate(seen).mean(0), _fused(heat, boxes) if mapped else None


def _window(extent: int) -> Map:
    """Weights of a tile's rows or columns, which fall to its edges."""
    ramp = np.arange(1, extent + 1, dtype=np.float32)
    return np.minimum(ramp, ramp[::-1])


def _add(heat: Map, box: Box, part: Map) -> None:
    top, left, bottom, right = box
    size = (right - left, bottom - top)
    part = part if part.shape == size[::-1] else bilinear(part[..., None], size)[..., 0]
    heat[top:bottom, left:right] += part * np.outer(_window(size[1]), _window(size[0]))


def _fused(heat: Map, boxes: Sequence[Box]) -> Map:
    """Overlapping maps as one, from their weighted sum `heat`, which changes; reduced to maxima of blocks."""
    for axis, spans in enumerate(({(b[0], b[2]) for b in boxes}, {(b[1], b[3]) for b in boxes})):
        weight = np.zeros(heat.shape[axis], np.float32)
        for start, end in spans:
            weight[start:end] += _window(end - start)
        heat /= weight[:, None] if axis == 0 else weight
    for axis, extent in enumerate(heat.shape):
        heat = np.maximum.reduceat(heat, np.arange(0, extent, math.ceil(extent / LARGEST_MAP)), axis)
    return heat


def looks(images: torch.Tensor) -> NDArray[np.float64]:
    """What pictures look like as wholes: light, colour, contrast, and detail by size and direction, see `LOOKS`.

    Args:
        images: uint8 [B, 3, side, side].

    Returns:
        [B, L] in grey levels.
    """
    import torch

    pixels = images.float()
    grey = pixels.mean(1, keepdim=True)
    numbers = [*pixels.mean((2, 3)).T, grey.std((1, 2, 3))]
    for _ in range(SCALES):
        numbers += [grey.diff(dim=axis).abs().mean((1, 2, 3)) for axis in (3, 2)]
        grey = torch.nn.functional.avg_pool2d(grey, 2, ceil_mode=True)
    found: NDArray[np.float64] = torch.stack(numbers, 1).nan_to_num().double().numpy()  # a side of 1 has no detail
    return found
