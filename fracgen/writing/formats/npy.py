"""NumPy arrays: images and labels as .npy files, or the images alone to standard output.

    images.npy   uint8 [count, 3, size, size] RGB, or [count, 2, 3, size, size] for pairs: the
                 channels come first, as in the Python API
    labels.npy   int64 [count]: classes; or [count, objects] for a recipe of several labels an
                 image, the sample's own class first, -1 beyond the last

A shard's files are named images-I-of-N.npy; concatenated in order they are the unsharded array.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fracgen.writing.base import Batch, Job, Put
from fracgen.writing.output import Target
from fracgen.writing.record import prepare_folder


class NpyWriter:
    """Files in a folder, grown image by image under a name that ends in `.part`, renamed when whole.

    A killed process leaves the `.part` files; resuming cuts them to whole images and carries on.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def record(self) -> dict[str, Any]:
        return {"format": "npy"}

    def prepare(self, job: Job, resume: bool) -> None:
        job.span()
        prepare_folder(self.folder, job, self.record, resume)
        if not resume:
            for _, part in self._names(job):
                part.unlink(missing_ok=True)

    def parts(self, job: Job) -> Iterator[tuple[int, int]]:
        first, last = job.span()
        (images, images_part), (labels, labels_part) = self._names(job)
        if images.exists() and labels.exists():
            return
        done = min(
            _rows(images_part, _header(*self._images(job, last - first)), image_bytes(job)),
            _rows(labels_part, _header(*self._labels(job, last - first)), 8 * _columns(job)),
        )
        yield first + done, last  # empty where only the renaming is left

    @contextmanager
    def part(self, job: Job, first: int, last: int) -> Iterator[Put]:
        start, _ = job.span()
        (images, images_part), (labels, labels_part) = self._names(job)
        count, done = last - start, first - start
        try:
            with (
                _grown(images_part, _header(*self._images(job, count)), done * image_bytes(job)) as pixels,
                _grown(labels_part, _header(*self._labels(job, count)), done * 8 * _columns(job)) as answers,
            ):

                def put(batch: Batch) -> None:
                    _write_images(pixels, batch)
                    answers.write((batch.classes if job.multi_label else batch.labels).astype("<i8").tobytes())
                    answers.flush()  # what is written of both is what a later run keeps

                yield put
        except OSError:  # a full disk: give the space back
            for part in (images_part, labels_part):
                part.unlink(missing_ok=True)
            raise
        os.replace(labels_part, labels)
        os.replace(images_part, images)

    def _names(self, job: Job) -> list[tuple[Path, Path]]:
        i, n = job.shard
        ends = "" if n == 1 else f"-{i}-of-{n}"
        names = (f"images{ends}.npy", f"labels{ends}.npy")
        return [(self.folder / name, self.folder / f".{name}.part") for name in names]

    @staticmethod
    def _images(job: Job, count: int) -> tuple[str, tuple[int, ...]]:
        return "|u1", image_shape(job, count)

    @staticmethod
    def _labels(job: Job, count: int) -> tuple[str, tuple[int, ...]]:
        return "<i8", (count, _columns(job)) if job.multi_label else (count,)


class NpyStream:
    """The images alone, as one .npy file, to standard output or a file.

    Read it from a pipe with `numpy.lib.format.read_array(sys.stdin.buffer)`.
    """

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    def record(self) -> dict[str, Any]:
        return {"format": "npy-stream"}

    def prepare(self, job: Job, resume: bool) -> None:
        if resume:
            raise ValueError("a stream cannot be carried on: name a folder with -o")
        job.span()

    def parts(self, job: Job) -> Iterator[tuple[int, int]]:
        yield job.span()

    @contextmanager
    def part(self, job: Job, first: int, last: int) -> Iterator[Put]:
        with self.target.open() as file:
            file.write(_header("|u1", image_shape(job, last - first)))
            yield lambda batch: _write_images(file, batch)


def image_shape(job: Job, count: int) -> tuple[int, ...]:
    """Shape of the array of `count` samples."""
    pair = (2,) if job.recipe.views == 2 else ()
    return (count, *pair, 3, job.recipe.size, job.recipe.size)


def image_bytes(job: Job) -> int:
    """Bytes of a sample's pixels."""
    return int(np.prod(image_shape(job, 1)))


def _columns(job: Job) -> int:
    return job.recipe.max_objects if job.multi_label else 1


def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _write_images(file: IO[bytes], batch: Batch) -> None:
    images: NDArray[np.uint8] = np.ascontiguousarray(batch.images)
    file.write(images.data)


def _rows(part: Path, header: bytes, row_bytes: int) -> int:
    """Whole rows in a file that was being written."""
    try:
        with part.open("rb") as file:
            if file.read(len(header)) != header:
                return 0
            return (file.seek(0, io.SEEK_END) - len(header)) // row_bytes
    except FileNotFoundError:
        return 0


@contextmanager
def _grown(part: Path, header: bytes, kept: int) -> Iterator[IO[bytes]]:
    """Open a file to append, cut to its header and the first `kept` bytes after it."""
    with part.open("r+b" if kept else "wb") as file:
        if not kept:
            file.write(header)
        file.truncate(len(header) + kept)
        file.seek(len(header) + kept)
        yield file
        file.flush()
        with contextlib.suppress(OSError):  # not every file system can
            os.fsync(file.fileno())
