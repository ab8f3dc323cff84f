"""Bare pixels, one frame after the other, for programs that read a pipe.

    fracgen render -n 300 --format raw -o - | ffplay -f rawvideo -pixel_format rgb24 -video_size 256x256 -
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np

from fracgen.support.files import check_writable
from fracgen.writing.base import Batch, OneFile, Put, Selection
from fracgen.writing.output import Output


class RawWriter(OneFile):
    """uint8 [frames, size, size, 3] (rgb24), no header; a pair is two frames. Labels are not in it:
    frame k of the index order has class k mod classes."""

    name = "raw"
    no_resume = "raw frames cannot be carried on: use --format folder, wds or npy"

    def __init__(self, output: Output) -> None:
        self.output = output

    def prepare(self, selection: Selection, resume: bool) -> None:
        super().prepare(selection, resume)
        if self.output.path:
            check_writable(self.output.path)

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        with self.output.open() as file:
            yield lambda batch: _frames(file, batch)


def _frames(file: IO[bytes], batch: Batch) -> None:
    file.write(np.ascontiguousarray(batch.images.transpose(0, 1, 3, 4, 2)).data)
