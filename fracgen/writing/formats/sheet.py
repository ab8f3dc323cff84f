"""One PNG contact sheet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fracgen.support.files import check_writable, whole_file
from fracgen.writing.base import Batch, OneFile, Put, Selection
from fracgen.writing.formats.png import PngStream

MAX_SIDE = 65_500
"""Pixels; most programs show nothing wider."""


class SheetWriter(OneFile):
    """All images in one picture, row by row, as square as may be; a pair's views stand side by side.

    The picture's comment `fracgen` says how it was made. Memory holds one row of tiles.
    """

    name = "sheet"
    no_resume = "a contact sheet is one file and cannot be carried on: use --format folder, wds or npy"

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, selection: Selection, resume: bool) -> None:
        super().prepare(selection, resume)
        first, last = selection.span()
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


def _made(selection: Selection) -> dict[str, Any]:
    from fracgen import __version__

    return {
        "fracgen": __version__, "recipe": selection.recipe.to_json(), "seed": selection.seed, "epoch": selection.epoch,
        "order": selection.order, "shard": f"{selection.shard[0]}/{selection.shard[1]}",
        "bank": dict(selection.bank.metadata),
    }  # fmt: skip
