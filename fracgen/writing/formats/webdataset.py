"""WebDataset: tar files of samples, as `webdataset` and timm's `wds/` readers take them.

Every sample has the members KEY.png (KEY.0.png and KEY.1.png for pairs; .npy for bare arrays),
KEY.cls (its class, decimal) and KEY.json (sample number, class, and the classes of all attractors
in the picture). timm reads several labels from it with `target_key="classes"`.

    webdataset.WebDataset("pipe:fracgen render -n 100000 --format wds -o -", shardshuffle=False)
    timm.create_dataset("wds/", root="out/wds", split="shard-{000000..000099}.tar|100000")
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from fracgen.support.files import whole_file
from fracgen.support.streams import standard_output
from fracgen.writing.base import Batch, OneFile, Put, Selection, prepare_folder
from fracgen.writing.formats.png import encode_png

MEMBERS = ("png", "npy")


class _Tars:
    """What both writers share.

    Args:
        member: `png`, or `npy` for arrays uint8 [3, size, size], where encoding PNG would be slowest.
        threads: encode images.

    Raises:
        ValueError: the member is unknown.
    """

    def __init__(self, member: str = "png", threads: int = 1) -> None:
        if member not in MEMBERS:
            raise ValueError(f"unknown member {member!r}: use one of {', '.join(MEMBERS)}")
        self.member, self.threads = member, threads

    @contextmanager
    def tar(self, file: IO[bytes]) -> Iterator[Put]:
        """Take batches into a tar file."""
        with (
            tarfile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT) as tar,
            ThreadPoolExecutor(self.threads) as pool,
        ):
            yield lambda batch: _add(tar, pool, batch, self.member)


class WdsWriter(_Tars):
    """Tar files shard-000000.tar ... of `Selection.per_file` samples each, in a folder."""

    def __init__(self, folder: Path, member: str = "png", threads: int = 1) -> None:
        super().__init__(member, threads)
        self.folder = folder

    def prepare(self, selection: Selection, resume: bool) -> None:
        options = {"format": "wds", "member": self.member, "per_file": selection.per_file}
        prepare_folder(self.folder, selection, options, resume)

    def parts(self, selection: Selection) -> Iterator[tuple[int, int]]:
        first, last = selection.span
        for start in range(first, last, selection.per_file):
            if not self._path(selection, start).exists():
                yield start, min(start + selection.per_file, last)

    @contextmanager
    def part(self, selection: Selection, first: int, last: int) -> Iterator[Put]:
        with whole_file(self._path(selection, first)) as file, self.tar(file) as put:
            yield put

    def _path(self, selection: Selection, first: int) -> Path:
        return self.folder / f"shard-{first // selection.per_file:06d}.tar"


class WdsPipe(_Tars, OneFile):
    """One tar of all samples, to standard output."""

    def part(self, selection: Selection, first: int, last: int) -> AbstractContextManager[Put]:
        return self.tar(standard_output())


def _add(tar: tarfile.TarFile, pool: ThreadPoolExecutor, batch: Batch, member: str) -> None:
    encode = encode_png if member == "png" else _encode_npy
    views = batch.images.shape[1]
    files = pool.map(encode, batch.images.reshape(-1, *batch.images.shape[2:]))
    for index, label, classes in zip(batch.index.tolist(), batch.labels.tolist(), batch.classes, strict=True):
        key = f"{index:010d}"
        for view in range(views):
            _member(tar, f"{key}.{member}" if views == 1 else f"{key}.{view}.{member}", next(files))
        shown = np.unique(classes[classes >= 0]).tolist()
        _member(tar, f"{key}.cls", str(label).encode())
        _member(tar, f"{key}.json", json.dumps({"index": index, "class": label, "classes": shown}).encode())
    tar.getmembers().clear()  # or it remembers every member it ever wrote


def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # no time, owner or mode of this machine: equal selections, equal bytes
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _encode_npy(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(image), version=(1, 0), allow_pickle=False)
    return file.getvalue()
