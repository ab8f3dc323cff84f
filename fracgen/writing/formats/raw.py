"""Bare pixels, one frame after the other, for programs that read a pipe.

    fracgen render -n 300 --format raw -o - | ffplay -f rawvideo -pixel_format rgb24 -video_size 256x256 -
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np

from fracgen.support.files import check_writable
from fracgen.writing.base import Batch, Job, Put
from fracgen.writing.output import Target


class RawWriter:
    """uint8 [frames, size, size, 3] (rgb24), no header; a pair is two frames. Labels are not in it:
    frame k of the index order has class k mod classes."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    def record(self) -> dict[str, Any]:
        return {"format": "raw"}

    def prepare(self, job: Job, resume: bool) -> None:
        if resume:
            raise ValueError("raw frames cannot be carried on: use --format folder, wds or npy")
        job.span()
        if self.target.path:
            check_writable(self.target.path)

    def parts(self, job: Job) -> Iterator[tuple[int, int]]:
        yield job.span()

    @contextmanager
    def part(self, job: Job, first: int, last: int) -> Iterator[Put]:
        with self.target.open() as file:
            yield lambda batch: _frames(file, batch)


def _frames(file: IO[bytes], batch: Batch) -> None:
    file.write(np.ascontiguousarray(batch.images.transpose(0, 1, 3, 4, 2)).data)
