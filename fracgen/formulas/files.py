"""Banks' files, of whichever formula: safetensors with arrays and a small header, no pickle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fracgen.recipes.recipe import MAX_CODES
from fracgen.support.decode import brief
from fracgen.support.files import whole_file
from fracgen.support.tensors import open_tensors

FORMAT = "fracgen-bank"
FORMAT_VERSION = 1
MAX_BYTES = 2_500_000_000
"""Of a file: 10,000,000 IFS codes, and then some."""

_TYPES = {"F32": "float32", "U8": "uint8", "U16": "uint16"}
"""NumPy's names of the types that banks hold, by safetensors' names."""


class BankError(ValueError):
    """A bank, or a file that should hold one, is not usable; the message says where and why."""


class Kind(NamedTuple):
    """What an array of a bank is: NumPy's name of its type, and its shape after the axis of codes."""

    dtype: str
    shape: tuple[int, ...] = ()


def check_kinds(kinds: Mapping[str, Kind], found: Mapping[str, tuple[str, Sequence[int]]]) -> None:
    """Raise BankError where arrays, by their types and shapes, are not a bank's: one of the wrong type or shape, of
    another number of codes than the first, none, or more than a bank holds."""
    first = found[next(iter(kinds))][1]
    codes = first[0] if first else 0
    for name, kind in kinds.items():
        dtype, shape = found[name]
        if dtype != kind.dtype or tuple(shape) != (codes, *kind.shape):
            raise BankError(f"{name} is {dtype} {list(shape)}, expected {kind.dtype} {[codes, *kind.shape]}")
    if not 1 <= codes <= MAX_CODES:
        raise BankError(f"the bank holds {codes or 'no'} code{'s' * (codes > 1)}: use 1 to {MAX_CODES:,}")


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


def read(
    path: str | os.PathLike[str], kinds: Mapping[str, Kind], what: str, command: str = "fracgen sample"
) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays and the header of a bank's file.

    Args:
        path: the file.
        kinds: of the arrays that it must hold.
        what: such a bank, for the messages.
        command: makes one, for the messages.

    Raises:
        BankError: it is truncated, no such bank, or of a later format. Memory is asked for once all else is checked.
        OSError: it cannot be read.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"no bank at {path}: make one with `{command} -o {path}`")
    try:
        with open_tensors(path, limit=MAX_BYTES) as file:
            header = file.metadata
            version = header.get("format_version")
            if header.get("format") == FORMAT and version != str(FORMAT_VERSION):
                raise BankError(f"it has bank format {brief(version)}, not {FORMAT_VERSION}: upgrade fracgen")
            if header.get("format") != FORMAT or set(file.tensors) != set(kinds):
                raise BankError(f"it is a safetensors file but not {what}")
            check_kinds(kinds, {n: (_TYPES.get(t.dtype, t.dtype), t.shape) for n, t in file.tensors.items()})
            return {name: file.load(name) for name in kinds}, header
    except ValueError as error:
        raise BankError(f"{path} is not a readable bank ({error}): make one with `{command}`") from None


def check_digest(path: str | os.PathLike[str], header: Mapping[str, str], sha256: str) -> None:
    """Raise BankError where a file's contents have another digest than its header says."""
    if sha256 != header.get("sha256"):
        raise BankError(f"{path} does not match its own SHA-256: it was damaged or edited; make it again")
