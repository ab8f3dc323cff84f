"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PACKAGE = Path(__file__).parents[1]
"""The folder of the package `fracgen`."""

_UMASK = os.umask(0)  # it can only be read by setting it, which threads must not do beside each other
os.umask(_UMASK)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a file for writing beside `path` and rename it there when the block ends without error.

    A process that is killed leaves at most a file whose name ends in `.part`.

    Args:
        path: the file.
        sync: wait for the disk, so that the file is whole after a power cut too. Without it many
            small files are written much faster.

    Raises:
        OSError: the folder does not exist or cannot be written, or the disk is full.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: name a file")
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_UMASK)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be created at `path`, without leaving one.

    Raises:
        OSError: its folder does not exist or cannot be written, or it is a folder itself.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: name a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent}: make it, or name another with -o")
    with tempfile.TemporaryFile(dir=target.parent):
        pass


def remove_parts(folder: Path) -> None:
    """Remove the files of killed processes from a folder and its sub-folders: hidden, ending in `.part`."""
    for part in folder.glob("**/.*.part"):
        part.unlink(missing_ok=True)
