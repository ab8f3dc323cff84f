"""NumPy arrays: images and labels as .npy files, or the images alone to standard output; and bare pixels.

    images.npy   uint8 [count, 3, size, size] RGB, or [count, 2, 3, size, size] for pairs: the
                 channels come first, as in the Python API
    labels.npy   int64 [count]: classes; or [count, objects] for a recipe of several labels an
                 image, the sample's own class first, -1 beyond the last

A shard's files are named images-I-of-N.npy; concatenated in order they are the unsharded array.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fracgen.support.files import PART, check_writable, naming, wait_for_disk, whole_file
from fracgen.support.streams import standard_output
from fracgen.writing.base import Batch, OneFile, Put, Selection
from fracgen.writing.description import prepare_folder


class NpyWriter:
    """Files in a folder, grown image by image under a name that ends in `.part`, renamed when whole.

    A process that ends early, for whatever reason, leaves them; resuming cuts them to whole images and continues.
    They are locked while they grow.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self, selection: Selection, resume: bool) -> None:
        prepare_folder(self.folder, selection, {"format": "npy"}, resume)
        (images, images_part), (labels, labels_part) = self._names(selection)
        if not resume:
            for part in (images_part, labels_part):
                part.unlink(missing_ok=True)
        elif labels.exists() and not images.exists():  # ended between the two renamings
            os.replace(labels, labels_part)

    def parts(self, selection: Selection) -> Iterator[tuple[int, int]]:
        first, last = selection.span
        (images, images_part), (labels, labels_part) = self._names(selection)
        if images.exists() and labels.exists():
            return
        done = min(
            _rows(images_part, _header(*self._images(selection, last - first)), image_bytes(selection)),
            _rows(labels_part, _header(*self._labels(selection, last - first)), 8 * _columns(selection)),
        )
        yield first + done, last  # empty where only the renaming is left

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        start, _ = selection.span
        (images, images_part), (labels, labels_part) = self._names(selection)
        count, done = last - start, first - start
        images_header = _header(*self._images(selection, count))
        labels_header = _header(*self._labels(selection, count))
        with (
            _grown(images_part, images_header, done * image_bytes(selection)) as pixels,
            _grown(labels_part, labels_header, done * 8 * _columns(selection)) as answers,
        ):

            def put(batch: Batch) -> None:
                with naming(images_part):
                    _write_images(pixels, batch)
                with naming(labels_part):
                    answers.write((batch.classes if selection.multi_label else batch.labels).astype("<i8").tobytes())
                    answers.flush()  # what is written of both is what a later run keeps

            yield put
            for file in (pixels, answers):
                file.flush()
                wait_for_disk(file.fileno())
            os.replace(labels_part, labels)
            os.replace(images_part, images)

    def _names(self, selection: Selection) -> list[tuple[Path, Path]]:
        i, n = selection.shard
        ends = "" if n == 1 else f"-{i}-of-{n}"
        names = (f"images{ends}.npy", f"labels{ends}.npy")
        return [(self.folder / name, self.folder / f".{name}{PART}") for name in names]

    @staticmethod
    def _images(selection: Selection, count: int) -> tuple[str, tuple[int, ...]]:
        return "|u1", image_shape(selection, count)

    @staticmethod
    def _labels(selection: Selection, count: int) -> tuple[str, tuple[int, ...]]:
        return "<i8", (count, _columns(selection)) if selection.multi_label else (count,)


class NpyPipe(OneFile):
    """The images alone, as one .npy file, to standard output.

    Read it from a pipe with `numpy.lib.format.read_array(sys.stdin.buffer)`.
    """

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        file = standard_output()
        file.write(_header("|u1", image_shape(selection, last - first)))
        yield lambda batch: _write_images(file, batch)


class RawWriter(OneFile):
    """Bare pixels, uint8 [frames, size, size, 3] (rgb24) without a header, to a file or standard output.

    A pair is two frames. Labels are not in it: frame k of the index order has class k mod classes.
    """

    no_resume = "raw frames cannot be carried on: use --format folder, wds or npy"

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def prepare(self, selection: Selection, resume: bool) -> None:
        super().prepare(selection, resume)
        if self.path:
            check_writable(self.path)

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        with whole_file(self.path) if self.path else nullcontext(standard_output()) as file:
            yield lambda batch: _write_frames(file, batch)


def image_shape(selection: Selection, count: int) -> tuple[int, ...]:
    """Shape of the array of `count` samples."""
    pair = (2,) if selection.recipe.views == 2 else ()
    return (count, *pair, 3, selection.recipe.size, selection.recipe.size)


def image_bytes(selection: Selection) -> int:
    """Bytes of a sample's pixels."""
    return int(np.prod(image_shape(selection, 1)))


def _columns(selection: Selection) -> int:
    return selection.recipe.max_objects if selection.multi_label else 1


def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _write_images(file: IO[bytes], batch: Batch) -> None:
    images: NDArray[np.uint8] = np.ascontiguousarray(batch.images)
    file.write(images.data)


def _write_frames(file: IO[bytes], batch: Batch) -> None:
    file.write(np.ascontiguousarray(batch.images.transpose(0, 1, 3, 4, 2)).data)


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
    """Open a file to append, cut to its header and the first `kept` bytes after it. Nobody else may have it open so."""
    with naming(part), part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another process is writing it", str(part)) from None
        except OSError:  # not every file system has locks
            pass
        if not kept:
            file.truncate(0)
            file.write(header)
        file.truncate(len(header) + kept)
        yield file
