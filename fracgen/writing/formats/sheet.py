"""One PNG contact sheet, and a small one for a terminal."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fracgen.support.files import check_writable, whole_file
from fracgen.writing.base import Batch, OneFile, Put, Selection
from fracgen.writing.formats.png import PngStream

MAX_SIDE = 65_500
"""Pixels; most programs show nothing wider."""


class SheetWriter(OneFile):
    """All images in one picture, row by row, as square as may be; a pair's views stand side by side.

    The picture's comment `fracgen` says how it was made. Memory holds one row of tiles.
    """

    no_resume = "a contact sheet is one file and cannot be carried on: use --format folder, wds or npy"

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, selection: Selection, resume: bool) -> None:
        super().prepare(selection, resume)
        first, last = selection.span
        columns, rows = self._grid(last - first, selection.recipe.views)
        if max(columns * selection.recipe.views, rows) * selection.recipe.size > MAX_SIDE:
            raise ValueError(
                f"a sheet of {last - first} images at {selection.recipe.size} px is over {MAX_SIDE} px wide: "
                "use fewer or smaller images, or --format folder"
            )
        check_writable(self.path)

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        size, views = selection.recipe.size, selection.recipe.views
        columns, rows = self._grid(last - first, views)
        band = np.zeros((size, columns, views, size, 3), np.uint8)
        text = {"fracgen": json.dumps(_made(selection))}
        with whole_file(self.path) as file:
            png = PngStream(file, columns * views * size, rows * size, text)

            def put(batch: Batch) -> None:
                for k, image in enumerate(batch.images):
                    column = (batch.first + k - first) % columns
                    band[:, column] = image.transpose(2, 0, 3, 1)  # [views, 3, y, x] to [y, views, x, 3]
                    if column == columns - 1 or batch.first + k == last - 1:
                        png.write(band.reshape(size, columns * views * size, 3))
                        band[:] = 0

            yield put
            png.close()

    @staticmethod
    def _grid(count: int, views: int) -> tuple[int, int]:
        columns = math.ceil(math.sqrt(count / views))
        return columns, -(-count // columns)


def _made(selection: Selection) -> dict[str, object]:
    from fracgen import __version__

    return {
        "fracgen": __version__, "recipe": selection.recipe.to_json(), "seed": selection.seed, "epoch": selection.epoch,
        "order": selection.order, "shard": f"{selection.shard[0]}/{selection.shard[1]}",
        "bank": dict(selection.bank.metadata),
    }  # fmt: skip


SIDE, LINES = 24, 2
"""Side of an image in a preview, in pixels (24 columns by 12 lines of text), and number of lines of images."""


class Preview:
    """The first images of a selection, small, as half-block characters in 24-bit colour: two lines of a terminal."""

    def __init__(self, columns: int | None = None) -> None:
        columns = columns or shutil.get_terminal_size().columns
        self.across = max(1, min(8, columns // SIDE))
        self._tiles: list[NDArray[np.uint8]] = []

    def add(self, images: NDArray[np.uint8]) -> None:
        """Add a batch, uint8 [B, views, 3, size, size], as far as there is room."""
        for image in images.reshape(-1, *images.shape[2:])[: LINES * self.across - len(self._tiles)]:
            self._tiles.append(shrink(image, SIDE))

    def text(self) -> str:
        """The preview, ending in a new line; empty where no image was seen."""
        rows = [self._tiles[k : k + self.across] for k in range(0, len(self._tiles), self.across)]
        return "".join(half_blocks(np.concatenate(row, axis=1)) for row in rows)


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """An image [3, size, size] as [side, side, 3]: means over boxes, or repeated pixels where it is smaller."""
    size = image.shape[-1]
    edges = np.arange(side + 1) * size // side
    if size < side:
        return image[:, edges[:-1]][:, :, edges[:-1]].transpose(1, 2, 0)
    sums = np.add.reduceat(np.add.reduceat(image.astype(np.int64), edges[:-1], axis=1), edges[:-1], axis=2)
    area = np.diff(edges)[:, None] * np.diff(edges)
    means: NDArray[np.uint8] = (sums // area).astype(np.uint8)
    return means.transpose(1, 2, 0)


def half_blocks(picture: NDArray[np.uint8]) -> str:
    """A picture [height, width, 3] as text: every character shows two pixels, one above the other."""
    lines = []
    for upper, lower in zip(picture[::2], picture[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀"
            for a, b in zip(upper.tolist(), lower.tolist(), strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m\n")
    return "".join(lines)
