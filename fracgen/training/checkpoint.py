"""A run's checkpoints: written whole or not at all, verified when read, without pickled code.

The file is one line of text (what it is, and the SHA-256 of the rest), then what `torch.save` makes
of a dictionary of tensors and plain values. Torch does not notice a damaged byte; the digest does.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from fracgen.support.decode import JsonValue, Unchecked
from fracgen.support.files import wait_for_disk, whole_file
from fracgen.weights import load_plain

if TYPE_CHECKING:
    from torch import Tensor

MAGIC = b"fracgen-checkpoint 1 sha256="
HEADER_BYTES = len(MAGIC) + 64 + 1
KEEP = 2
"""Checkpoints kept: the newest, and one in case it is damaged."""
NAME = re.compile(r"step-(\d{9})\.ckpt")


class State(TypedDict):
    """What a checkpoint holds: all that any number of processes need to continue."""

    config: dict[str, JsonValue]
    bank_sha256: str
    step: int
    model: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: dict[str, Unchecked]
    validation: dict[str, float]


class CheckpointError(ValueError):
    """A file is no checkpoint, or not a whole one; the message says which."""


def path_of(folder: Path, step: int) -> Path:
    """Path of the checkpoint after `step` steps."""
    return folder / f"step-{step:09d}.ckpt"


def save(state: State, folder: Path, step: int) -> Path:
    """Write a checkpoint and, once it is on the disk, remove those it replaces.

    Raises:
        OSError: it cannot be written; the message says how to continue from the previous one.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getbuffer()
    path = path_of(folder, step)
    try:
        with whole_file(path) as file:
            file.write(MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n")
            file.write(body)
        _sync_folder(folder)
    except OSError as error:
        raise OSError(
            f"cannot write checkpoint {path} of {len(body) / 1e6:.0f} MB: {error.strerror or error}; the checkpoints "
            "before it are whole: make room and continue with --resume auto"
        ) from error
    for old in steps_in(folder)[:-KEEP]:
        path_of(folder, old).unlink(missing_ok=True)
    return path


def load(path: Path) -> State:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: it is truncated, damaged, or no fracgen checkpoint.
        OSError: it cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: name one, or use --resume auto")
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise CheckpointError(f"{path} is not a fracgen checkpoint: name one from a run's checkpoints folder")
    body = memoryview(data)[HEADER_BYTES:]
    if hashlib.sha256(body).hexdigest().encode() != data[len(MAGIC) : HEADER_BYTES - 1]:
        raise CheckpointError(f"{path} is truncated or damaged: use the checkpoint before it (--resume auto does)")
    try:
        state: State = load_plain(io.BytesIO(body), path)
    except ValueError:
        raise CheckpointError(f"{path} holds what no checkpoint holds: use the checkpoint before it") from None
    return state


def newest(folder: Path) -> tuple[State, Path, list[str]]:
    """The newest whole checkpoint of a folder, its path, and why newer ones were passed over.

    Raises:
        CheckpointError: the folder has none that is whole.
    """
    passed: list[str] = []
    for step in reversed(steps_in(folder)):
        try:
            return load(path_of(folder, step)), path_of(folder, step), passed
        except CheckpointError as error:
            passed.append(str(error))
    found = f"the {len(passed)} in it are damaged" if passed else "it holds none"
    raise CheckpointError(
        f"no whole checkpoint in {folder}: {found}; restore one, or begin anew with another --output"
    )


def steps_in(folder: Path) -> list[int]:
    """Steps after which there is a checkpoint, ascending."""
    names = [NAME.fullmatch(entry.name) for entry in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(match[1]) for match in names if match)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        wait_for_disk(handle)
    finally:
        os.close(handle)
