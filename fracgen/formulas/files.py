"""Banks and their files, of whichever formula: safetensors with arrays and a small header, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen.support.decode import JsonValue, brief, open_tensors
from fracgen.support.files import whole_file

if TYPE_CHECKING:
    from fracgen.recipes.recipe import Spec

FORMAT = "fracgen-bank"
FORMAT_VERSION = 1
MAX_CODES = 10_000_000
"""Of a bank: 2.2 GB of memory."""
MAX_BYTES = 2_500_000_000
"""Of a file: 10,000,000 IFS codes, and then some."""

_TYPES = {"F32": "float32", "U8": "uint8", "U16": "uint16"}
"""NumPy's names of the types that banks hold, by safetensors' names."""

Array: TypeAlias = NDArray[np.generic]


class BankError(ValueError):
    """A bank, or a file that should hold one, is not usable; the message says where and why."""


class Kind(NamedTuple):
    """What an array of a bank is: NumPy's name of its type, and its shape after the axis of codes."""

    dtype: str
    shape: tuple[int, ...] = ()


class Bank(ABC):
    """Codes of one formula, which form classes: with C classes of K codes, code c K + j is code j of class c.

    A formula's bank is a frozen dataclass whose arrays have the codes along their first axis.
    """

    formula: ClassVar[str]
    """The formula whose codes these are, such as "ifs"."""
    kinds: ClassVar[Mapping[str, Kind]]
    """What its arrays are, by the names of their fields."""
    what: ClassVar[str]
    """Such a bank in words, for messages."""
    command: ClassVar[str] = "fracgen sample"
    """The command that makes one."""

    if TYPE_CHECKING:  # fields of the dataclass, or properties

        @property
        def metadata(self) -> dict[str, str]:
            """What the file's header says of the bank's origin."""

        @property
        def classes(self) -> int:
            """Number of classes."""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """A specification of as many codes and classes, of the formula; its `make_bank` need not be this bank."""

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: Spec, seed: int = 0) -> Self:
        """The bank of a specification."""

    @classmethod
    def from_file(cls, arrays: Mapping[str, Array], header: dict[str, str]) -> Self:
        """The bank of a file's arrays and header. Raises KeyError or ValueError where the header is damaged."""
        return cls(**arrays, metadata=header)  # type: ignore[call-arg]

    def __len__(self) -> int:
        return len(self.arrays()[next(iter(self.kinds))])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(codes={len(self)}, classes={self.classes})"

    @property
    def per_class(self) -> int:
        """Number of codes in a class."""
        return len(self) // self.classes

    @property
    def sha256(self) -> str:
        """Hex digest of everything that decides a pixel: equal digests, equal images."""
        sha256 = hashlib.sha256(f"{FORMAT} {FORMAT_VERSION} {self.identity()}".encode())
        for array in self.arrays().values():
            sha256.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
        return sha256.hexdigest()

    def arrays(self) -> dict[str, Array]:
        """The arrays by name, in the order of `kinds`."""
        return {name: getattr(self, name) for name in self.kinds}

    def codes(self) -> tuple[Array | int, ...]:
        """The bank as stages and kernels read it: arrays, then the numbers of classes and of codes in one.

        Kernels get a null pointer in the place of an empty array.
        """
        return (*self.arrays().values(), self.classes, self.per_class)

    def identity(self) -> object:
        """What beside the arrays decides a pixel."""
        return f"{self.formula} {self.classes}"

    def header(self) -> dict[str, str]:
        """What the file's header says beside `metadata` and the digest."""
        return {"formula": self.formula}

    def describe(self) -> dict[str, JsonValue]:
        """What the bank holds, in JSON types."""
        return {"codes": len(self), "classes": self.classes, "origin": dict(self.metadata), "sha256": self.sha256}

    def describe_code(self, code: int) -> dict[str, JsonValue]:
        """One code, in JSON types."""
        return {"code": code, "class": code // self.per_class} | {n: a[code].tolist() for n, a in self.arrays().items()}

    def code_lines(self, code: int) -> list[str]:
        """One code, for a terminal."""
        return ["  ".join(f"{name} {value}" for name, value in self.describe_code(code).items())]

    def check_kinds(self) -> None:
        """Raise BankError where an array is not of its kind, and make the arrays read-only."""
        _check_kinds(self.kinds, {name: (str(a.dtype), a.shape) for name, a in self.arrays().items()})
        for array in self.arrays().values():
            array.setflags(write=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank's file, whole or not at all; equal banks and metadata make equal files.

        Raises OSError where it cannot be written.
        """
        from safetensors.numpy import save

        own = {"sha256": self.sha256, "format": FORMAT, "format_version": str(FORMAT_VERSION)}
        with whole_file(path) as file:
            file.write(_in_order(save(self.arrays(), {**self.metadata, **self.header(), **own})))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a bank's file. Memory is asked for once all else is checked.

        Raises:
            BankError: the file is truncated, no such bank, of a later format, or its arrays do not match the digest
                that it carries.
            OSError: the file cannot be read.
        """
        if not Path(path).exists():
            raise FileNotFoundError(f"no bank at {path}: make one with `{cls.command} -o {path}`")
        try:
            with open_tensors(path, limit=MAX_BYTES) as file:
                header = dict(file.metadata)
                version = header.pop("format_version", None)
                known = header.pop("format", None) == FORMAT
                header.pop("formula", None)
                if known and version != str(FORMAT_VERSION):
                    raise BankError(f"it has bank format {brief(version)}, not {FORMAT_VERSION}: upgrade fracgen")
                if not known or set(file.tensors) != set(cls.kinds):
                    raise BankError(f"it is a safetensors file but not {cls.what}")
                _check_kinds(cls.kinds, {n: (_TYPES.get(t.dtype, t.dtype), t.shape) for n, t in file.tensors.items()})
                arrays = {name: file.load(name) for name in cls.kinds}
        except ValueError as error:
            raise BankError(f"{path} is not a readable bank ({error}): make one with `{cls.command}`") from None
        sha256 = header.pop("sha256", None)
        try:
            bank = cls.from_file(arrays, header)
        except BankError:
            raise
        except (KeyError, ValueError) as error:
            raise BankError(f"{path} has a damaged header ({brief(error)}): make one with `{cls.command}`") from None
        if sha256 != bank.sha256:
            raise BankError(f"{path} does not match its own SHA-256: it was damaged or edited; make it again")
        return bank


def _in_order(content: bytes) -> bytes:
    """A safetensors file with the names of its header in order, which differs from process to process where safetensors
    writes several of metadata."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors stay aligned
    return len(header).to_bytes(8, "little") + header + content[end:]


def _check_kinds(kinds: Mapping[str, Kind], found: Mapping[str, tuple[str, Sequence[int]]]) -> None:
    """Raise BankError where arrays, by their types and shapes, are not a bank's: one of the wrong type or shape, of
    another number of codes than the one of fewest axes, none, or more than a bank holds."""
    names = sorted(kinds, key=lambda name: bool(kinds[name].shape))
    first = found[names[0]][1]
    codes = first[0] if first else 0
    for name in names:
        kind = kinds[name]
        dtype, shape = found[name]
        if dtype != kind.dtype or tuple(shape) != (codes, *kind.shape):
            raise BankError(f"{name} is {dtype} {list(shape)}, expected {kind.dtype} {[codes, *kind.shape]}")
    if not 1 <= codes <= MAX_CODES:
        raise BankError(f"the bank holds {codes or 'no'} code{'s' * (codes > 1)}: use 1 to {MAX_CODES:,}")
