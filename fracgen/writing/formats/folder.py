"""A folder of PNG files, one sub-folder a class, as torchvision's `ImageFolder` and timm read it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fracgen.order import labels_of
from fracgen.support.files import whole_file
from fracgen.writing.base import Batch, Put, Selection, prepare_folder
from fracgen.writing.formats.png import encode_png

_LOOK = 4096  # positions whose files are looked for at a time


class FolderWriter:
    """PNG files CLASS/SAMPLE.png, or CLASS/SAMPLE-0.png and -1.png for pairs.

    Class and sample are numbers with leading zeros, so that sorted names count up as labels do.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.folder, self.threads = folder, threads

    def prepare(self, selection: Selection, resume: bool) -> None:
        if selection.multi_label:
            raise ValueError(
                f"recipe {selection.recipe.name!r} shows several classes in an image and a folder holds one: "
                "use --format wds or npy"
            )
        prepare_folder(self.folder, selection, {"format": "folder"}, resume)

    def parts(self, selection: Selection) -> Iterator[tuple[int, int]]:
        first, end = selection.span
        for start in range(first, end, _LOOK):
            last = min(start + _LOOK, end)
            index = selection.index(start, last)
            missing = [not all(p.exists() for p in self._paths(selection, int(i))) for i in index]
            position = start
            for absent, run in itertools.groupby(missing):
                length = len(list(run))
                if absent:
                    yield position, position + length
                position += length

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        def save(sample: int, views: NDArray[np.uint8]) -> None:
            for path, image in zip(self._paths(selection, sample), views, strict=True):
                path.parent.mkdir(exist_ok=True)
                with whole_file(path, sync=False) as file:
                    file.write(encode_png(image))

        with ThreadPoolExecutor(self.threads) as pool:

            def put(batch: Batch) -> None:
                list(pool.map(save, batch.index.tolist(), batch.images))

            yield put

    def _paths(self, selection: Selection, sample: int) -> list[Path]:
        label = int(labels_of(sample, selection.bank.classes))
        folder = self.folder / f"{label:0{max(4, len(str(selection.bank.classes - 1)))}d}"
        name = f"{sample:0{max(7, len(str(selection.count - 1)))}d}"
        views = selection.recipe.views
        return [folder / (f"{name}.png" if views == 1 else f"{name}-{view}.png") for view in range(views)]
