"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

PACKAGE = Path(__file__).parents[1]
"""The folder of the package `fracgen`."""

PART = ".part"
"""How the name of an unfinished file ends; it begins with a dot."""
_RANDOM = "[a-z0-9_]" * 8
"""Pattern of the part of the name before it, which `tempfile` chooses."""

_UMASK = os.umask(0)  # it can only be read by setting it, which threads must not do beside each other
os.umask(_UMASK)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a file for writing beside `path` and rename it there when the block ends without error.

    A process that is killed leaves at most a file whose name ends in `.part`; the next to write `path` removes it.

    Args:
        path: the file.
        sync: wait for the disk, so that the file is whole after a power cut too. Without it many small files are
            written much faster; what killed processes left of them is for `remove_parts`.

    Raises:
        OSError: the folder does not exist or cannot be written, or the disk is full.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder: name a file")
    if sync:
        remove_parts(target.parent, f".{glob.escape(target.name)}")
    with naming(target), _part_of(target) as (part, handle):
        with os.fdopen(os.dup(handle), "wb") as file:
            yield file
            file.flush()
            if sync:
                wait_for_disk(file.fileno())
        os.chmod(part, 0o666 & ~_UMASK)
        os.replace(part, target)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside `path` and rename it there when the block ends without error.

    Yields:
        The folder to fill.

    Raises:
        OSError: it cannot be made or filled, or `path` is there by now and not empty.
    """
    remove_parts(path.parent, f".{glob.escape(path.name)}")
    with _part_of(path, folder=True) as (part, _):
        yield part
        os.chmod(part, 0o777 & ~_UMASK)
        os.rename(part, path)


def remove_parts(folder: Path, names: str = ".*") -> None:
    """Remove what killed processes left unfinished; what is being written is locked, and stays.

    Args:
        folder: where to look; it need not exist.
        names: pattern of the names below it, without their ends: `**/.*` for those in sub-folders, too.
    """
    for part in folder.glob(f"{names}.{_RANDOM}{PART}"):
        with contextlib.suppress(OSError):  # another was first, or it is locked
            handle = os.open(part, os.O_RDONLY if part.is_dir() else os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(part) if part.is_dir() else part.unlink()
            finally:
                os.close(handle)


def wait_for_disk(handle: int) -> None:
    """Wait until what was written to an open file, or renamed in an open folder, is on the disk.

    Raises:
        OSError: it cannot be written. File systems that cannot wait are taken at their word.
    """
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let the errors of writing a file say which: the system does so only where it is opened."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.strerror is not None:
            error.filename = str(path)
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


@contextlib.contextmanager
def _part_of(target: Path, folder: bool = False) -> Iterator[tuple[Path, int]]:
    """A new file or folder beside `target`, locked while this process has it, and removed where it was not renamed.

    Yields:
        Its path, and a descriptor that holds the lock.
    """
    prefix, beside = f".{target.name}.", str(target.parent)
    while True:
        if folder:
            name = tempfile.mkdtemp(PART, prefix, beside)
            handle = os.open(name, os.O_RDONLY)
        else:
            handle, name = tempfile.mkstemp(PART, prefix, beside)
        with contextlib.suppress(OSError):  # not every file system has locks; one without removes nothing, either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another process took it for a leftover before it was locked
            break
        os.close(handle)
    try:
        yield Path(name), handle
    except BaseException:
        with contextlib.suppress(OSError):
            shutil.rmtree(name) if folder else os.unlink(name)
        raise
    finally:
        os.close(handle)
