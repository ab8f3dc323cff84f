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
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fracgen.support.files import PART, check_writable, naming, wait_for_disk, whole_file
from fracgen.support.streams import standard_output
from fracgen.writing.base import Batch, OneFile, Put, Selection, prepare_folder


class _Grown:
    """A .npy file that grows row by row under a name that ends in `.part`, and is renamed when it is whole.

    Args:
        path: of the whole file.
        dtype, shape: of the whole array.
    """

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        self.path, self.part = path, path.with_name(f".{path.name}{PART}")
        self.header, self.row_bytes = header(dtype, shape), np.dtype(dtype).itemsize * math.prod(shape[1:])

    def rows(self) -> int:
        """Number of whole rows that are there."""
        try:
            with self.part.open("rb") as file:
                if file.read(len(self.header)) != self.header:
                    return 0
                return (file.seek(0, io.SEEK_END) - len(self.header)) // self.row_bytes
        except FileNotFoundError:
            return 0

    @contextmanager
    def open(self, rows: int) -> Iterator[None]:
        """Open it to append, cut to its first rows and locked; it is on the disk when the block ends without error."""
        with naming(self.part), self.part.open("ab") as self.file:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(errno.EBUSY, "another process is writing it", str(self.part)) from None
            except OSError:  # not every file system has locks
                pass
            if not rows:
                self.file.truncate(0)
                self.file.write(self.header)
            self.file.truncate(len(self.header) + rows * self.row_bytes)
            yield
            self.file.flush()
            wait_for_disk(self.file.fileno())

    def append(self, rows: NDArray[np.generic]) -> None:
        """Append rows, so that a process that ends here keeps them."""
        with naming(self.part):
            self.file.write(np.ascontiguousarray(rows).data)
            self.file.flush()


class NpyWriter:
    """Files in a folder, grown image by image. A process that ends early, for whatever reason, leaves them; resuming
    cuts them to whole images and continues."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self, selection: Selection, resume: bool) -> None:
        prepare_folder(self.folder, selection, {"format": "npy"}, resume)
        images, labels = self._files(selection)
        if not resume:
            for file in (images, labels):
                file.part.unlink(missing_ok=True)
        elif labels.path.exists() and not images.path.exists():  # ended between the two renamings
            os.replace(labels.path, labels.part)

    def parts(self, selection: Selection) -> Iterator[tuple[int, int]]:
        first, last = selection.span
        files = self._files(selection)
        if not all(file.path.exists() for file in files):
            yield first + min(file.rows() for file in files), last  # empty where only the renaming is left

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        images, labels = self._files(selection)
        done = first - selection.span[0]
        with images.open(done), labels.open(done):

            def put(batch: Batch) -> None:
                images.append(batch.images)
                labels.append((batch.classes if selection.multi_label else batch.labels).astype("<i8"))

            yield put
        for file in (labels, images):
            os.replace(file.part, file.path)

    def _files(self, selection: Selection) -> tuple[_Grown, _Grown]:
        """Images and labels."""
        i, n = selection.shard
        first, last = selection.span
        end = ".npy" if n == 1 else f"-{i}-of-{n}.npy"
        columns = (selection.recipe.max_objects,) if selection.multi_label else ()
        return (
            _Grown(self.folder / f"images{end}", "|u1", image_shape(selection, last - first)),
            _Grown(self.folder / f"labels{end}", "<i8", (last - first, *columns)),
        )


class NpyPipe(OneFile):
    """The images alone, as one .npy file, to standard output.

    Read it from a pipe with `numpy.lib.format.read_array(sys.stdin.buffer)`.
    """

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        file = standard_output()
        file.write(header("|u1", image_shape(selection, last - first)))
        yield lambda batch: file.write(np.ascontiguousarray(batch.images).data)


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
            yield lambda batch: file.write(np.ascontiguousarray(batch.images.transpose(0, 1, 3, 4, 2)).data)


def image_shape(selection: Selection, count: int) -> tuple[int, ...]:
    """Shape of the array of `count` samples."""
    pair = (2,) if selection.recipe.views == 2 else ()
    return (count, *pair, 3, selection.recipe.size, selection.recipe.size)


def header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The header of a .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()
