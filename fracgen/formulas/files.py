"""Banks' files, of whichever formula: safetensors with arrays and a small header, no pickle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen.support.files import whole_file

FORMAT = "fracgen-bank"
FORMAT_VERSION = 1


class BankError(ValueError):
    """A bank, or a file that should hold one, is not usable; the message says where and why."""


def digest(kind: object, *arrays: NDArray[Any]) -> str:
    """Hex digest of a bank: what it is, and the bytes of its arrays."""
    sha256 = hashlib.sha256(f"{FORMAT} {FORMAT_VERSION} {kind}".encode())
    for array in arrays:
        sha256.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return sha256.hexdigest()


def write(path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], header: Mapping[str, str]) -> None:
    """Write a bank's file, whole or not at all. Raises OSError where it cannot be written."""
    from safetensors.numpy import save

    with whole_file(path) as file:
        file.write(save(dict(arrays), {**header, "format": FORMAT, "format_version": str(FORMAT_VERSION)}))


def read(path: str | os.PathLike[str], command: str = "fracgen sample") -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays and the header of a bank's file.

    Args:
        command: makes such a bank, for the messages.

    Raises:
        BankError: it is truncated, or no safetensors file.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"no bank at {path}: make one with `{command} -o {path}`")
    try:
        with safe_open(path, framework="numpy") as file:
            header: dict[str, str] = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        raise BankError(f"{path} is not a readable bank ({error}): make it again with `fracgen sample`") from None


def check_version(path: str | os.PathLike[str], header: Mapping[str, str]) -> None:
    """Raise BankError where a later fracgen wrote the file."""
    if header.get("format_version") != str(FORMAT_VERSION):
        raise BankError(
            f"{path} has bank format {header.get('format_version')}, this fracgen reads {FORMAT_VERSION}: "
            "upgrade fracgen"
        )


def check_digest(path: str | os.PathLike[str], header: Mapping[str, str], sha256: str) -> None:
    """Raise BankError where a file's contents have another digest than its header says."""
    if sha256 != header.get("sha256"):
        raise BankError(f"{path} does not match its own SHA-256: it was damaged or edited; make it again")
