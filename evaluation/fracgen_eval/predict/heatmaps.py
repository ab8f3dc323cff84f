"""Anomaly maps laid over pictures: as files at the pictures' own size, and small for the page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fracgen.support.files import whole_file
from fracgen_eval.predict.pictures import Map, Picture

STRIP = 256
"""Rows that are coloured at a time: what takes 12 bytes a pixel on the way is never there for a whole picture."""


def scale(normal: tuple[float, float] | None, maps: Sequence[Map]) -> tuple[float, float]:
    """What is shown clear and what opaque, one scale for all pictures.

    Args:
        normal: the median and a high quantile of normal pictures' maps, where there are any.
        maps: of the judged pictures.
    """
    highest = max(float(heat.max()) for heat in maps)
    low, high = normal or (min(float(heat.min()) for heat in maps), highest)
    return low, max(highest, high, low + 1e-12)


def heatmap_paths(paths: Sequence[Path], method: str, folder: Path) -> list[Path]:
    """Where the heatmap of each picture lies.

    In `folder` lie the folders of the pictures, from the one on that all have in common, and a heatmap has its
    picture's whole name: no two pictures share one.
    """
    full = [Path(os.path.abspath(path)) for path in paths]
    common = Path(os.path.commonpath([path.parent for path in full]))
    ending = f"_{method.replace(':', '-')}.png"
    return [folder / path.relative_to(common).with_name(path.name + ending) for path in full]


def write_heatmap(picture: Picture, heat: Map, scale: tuple[float, float], path: Path) -> None:
    """A picture beside itself under its map, as PNG. Raises OSError where it cannot be written."""
    from PIL import Image

    height, width = picture.shape[:2]
    both = Image.new("RGB", (2 * width, height))
    for top, strip in _strips(picture, heat, scale):
        both.paste(Image.fromarray(np.ascontiguousarray(picture[top : top + len(strip)])), (0, top))
        both.paste(Image.fromarray(strip), (width, top))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, sync=False) as file:
        both.save(file, format="PNG", compress_level=1)


def overlaid(picture: Picture, heat: Map, scale: tuple[float, float]) -> Picture:
    """A picture uint8 [H, W, 3] under its map, opaque where it is high."""
    return np.concatenate([strip for _, strip in _strips(picture, heat, scale)])


def _strips(picture: Picture, heat: Map, scale: tuple[float, float]) -> Iterator[tuple[int, Picture]]:
    """The picture under its map in strips of rows, each with its first row."""
    from matplotlib import colormaps

    colours = np.rint(colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.uint32)
    low, high = scale
    (height, width), (rows, columns) = picture.shape[:2], heat.shape
    left, right, across = _between(np.arange(width), columns / width, columns)
    for top in range(0, height, STRIP):
        strip = picture[top : top + STRIP]
        above, below, down = _between(np.arange(top, top + len(strip)), rows / height, rows)
        level = heat[above] + down[:, None] * (heat[below] - heat[above])
        level = level[:, left] + across * (level[:, right] - level[:, left])
        step = np.rint(np.clip((level - low) / (high - low), 0, 1) * 255).astype(np.uint8)
        weight = 3 * step.astype(np.uint32)[..., None]  # of 4 * 255: three quarters at most
        yield top, ((strip * (1020 - weight) + colours[step] * weight + 510) // 1020).astype(np.uint8)


def _between(
    places: NDArray[np.intp], ratio: float, number: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The two samples of `number` between which the middles of pixels lie, and how far on from the first."""
    at = np.clip((places + 0.5) * ratio - 0.5, 0, number - 1)
    first = np.floor(at).astype(np.intp)
    return first, np.minimum(first + 1, number - 1), (at - first).astype(np.float32)
