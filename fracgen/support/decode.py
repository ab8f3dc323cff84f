"""Reading of untrusted files: JSON and TOML within bounds, tables as checked dataclasses, and safetensors.

Every file of values that fracgen reads is read here, whoever wrote it: a value of another type, a number that no field
can hold or a table in a table in a table ... is a ValueError of one line and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import reprlib
import stat
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Self,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from fracgen.support.options import check_fields

T = TypeVar("T")
JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
Unchecked: TypeAlias = Any
"""A value of a file as it was parsed, of any type; `decode` makes it one of the type that is wanted."""
KEY = "json key"
"""In a field's metadata: its name in the file, where that is another one; the field's is read in its absence."""

MAX_BYTES = 64 << 20
"""Largest size of a file of values."""
MAX_DEPTH = 64
"""Largest depth of nested lists and tables."""
MAX_WHOLE = 1 << 64
"""Whole numbers are smaller than this; the largest that means anything is a seed."""


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_BYTES) -> bytes:
    """The contents of a regular file of at most so many bytes; raises as `check_regular`."""
    check_regular(path, limit)
    return Path(path).read_bytes()


def check_regular(path: str | os.PathLike[str], limit: float = math.inf) -> None:
    """Raise where a file is not to be read.

    Raises:
        ValueError: it is a folder, a pipe or a device, which might never end, or larger than so many bytes.
        OSError: it is not there, or cannot be looked at.
    """
    about = os.stat(path)
    if stat.S_ISDIR(about.st_mode):
        raise ValueError(f"{path} is a folder: name a file in it")
    if not stat.S_ISREG(about.st_mode):
        what = "a named pipe" if stat.S_ISFIFO(about.st_mode) else "a socket or a device"
        raise ValueError(f"{path} is {what}, which is not read: write it to a file and name that")
    if about.st_size > limit:
        raise ValueError(f"{path} has {about.st_size:,} bytes: at most {limit:,} are read")


def read_json(path: str | os.PathLike[str], kind: type[object] = dict) -> Unchecked:
    """The contents of a JSON file; a byte order mark is skipped.

    Args:
        path: the file.
        kind: dict or list, what the file is.

    Raises:
        ValueError: it is no regular file, no JSON, or not of that kind; the message begins with the path.
        OSError: it cannot be read.
    """
    return _read(path, "JSON", parse_json, kind)


def read_toml(path: str | os.PathLike[str]) -> dict[str, Unchecked]:
    """The contents of a TOML file; raises as `read_json`."""
    table: dict[str, Unchecked] = _read(path, "TOML", _parse_toml, dict)
    return table


def parse_json(text: str | bytes) -> Unchecked:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON in UTF-8, a name stands twice in a table, a number is not finite or a whole number
            is 2^64 or more, or lists and tables lie more than 64 deep.

    >>> parse_json('{"points": [1, 2.5]}')
    {'points': [1, 2.5]}
    >>> parse_json('{"seed": 1, "seed": 2}')
    Traceback (most recent call last):
    ValueError: 'seed' stands twice in a table
    """
    return _bounded(lambda: json.loads(_text(text), object_pairs_hook=_table))


def from_json(kind: type[T], data: object, name: str = "", *, closed: bool = False) -> T:
    """A dataclass from a table of JSON values with its fields' names.

    Args:
        kind: a dataclass whose fields are str, int, float, bool, object, a Literal, a tuple, list or dict of these,
            another dataclass, or one of them or None. Of several dataclasses that is taken which has most of the
            table's names.
        data: the table.
        name: what the table is, for messages.
        closed: refuse other names in the table; otherwise they are ignored.

    Raises:
        ValueError: a value is missing, of another type, or a number that is not finite; the message names it.

    >>> @dataclasses.dataclass
    ... class Threshold:
    ...     value: float
    ...     rule: str = "unknown"
    >>> from_json(Threshold, {"value": 1, "other": True})
    Threshold(value=1.0, rule='unknown')
    >>> from_json(Threshold, {"value": "1"}, "threshold")
    Traceback (most recent call last):
    ValueError: threshold.value is '1' instead of a number
    """
    table: Mapping[str, object] = _of_type(isinstance(data, Mapping), data, name or "the file", "a table")
    fields = {field.metadata.get(KEY, field.name): field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    keys = {field.name: key for key, field in fields.items()}
    # A name in the file is what it says: `digest` beside `weights_digest` is another thing.
    table = {key if keys.get(key, key) in table else keys[key]: value for key, value in table.items()}
    if closed and (unknown := sorted(set(table) - set(fields))):
        raise ValueError(
            f"unknown field {shown(unknown[0])} in {name or 'the file'}: the fields are {', '.join(sorted(fields))}"
        )
    types, values = get_type_hints(kind), {}
    for key, field in fields.items():
        place = f"{name}.{key}" if name else key
        if key in table:
            values[field.name] = decode(types[field.name], table[key], place, closed=closed)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{place} is missing")
    return kind(**values)


class Table:
    """Base of a frozen dataclass that goes to JSON and back, and whose fields `check_fields` checks."""

    what: ClassVar[str]
    """Such a table in words, for messages."""

    def __post_init__(self) -> None:
        check_fields(self)

    def to_json(self) -> dict[str, JsonValue]:
        """A dictionary of JSON types."""
        values = {f.metadata.get(KEY, f.name): getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        table = {key: value.to_json() if isinstance(value, Table) else value for key, value in values.items()}
        plain: dict[str, JsonValue] = json.loads(json.dumps(table))
        return plain

    @classmethod
    def from_json(cls, data: object) -> Self:
        """The inverse of `to_json`. Raises ValueError for an unknown, missing or bad field."""
        value: Self = decode(cls, data, cls.what, closed=True)
        return value

    @classmethod
    def kinds(cls) -> tuple[type[Self], ...]:
        """The classes that a table of this one may be."""
        return (cls,)


def _read(
    path: str | os.PathLike[str], language: str, parse: Callable[[bytes], object], kind: type[object]
) -> Unchecked:
    content = read_bytes(path)
    try:
        value = parse(content)
    except ValueError as error:
        raise ValueError(f"{path} is not {language} ({brief(error)})") from None
    wanted = "table" if kind is dict else "list"
    if not isinstance(value, kind):
        raise ValueError(f"{path} holds {shown(value)} instead of a {wanted}")
    return value


def _parse_toml(content: bytes) -> object:
    return _bounded(lambda: tomllib.loads(_text(content)))


def _text(content: str | bytes) -> str:
    if isinstance(content, str):
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None


def _table(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{shown(next(name for name in table if names.count(name) > 1))} stands twice in a table")
    return table


def _bounded(parse: Callable[[], object]) -> object:
    """The value that a parser returns, checked to be within bounds."""
    too_deep = f"lists and tables lie more than {MAX_DEPTH} deep"
    try:
        value = parse()
    except RecursionError:
        raise ValueError(too_deep) from None
    depth, level = 0, [value]  # one level after the other: a recursion would have a bound of its own
    while level:
        below: list[object] = []
        for item in level:
            if not isinstance(item, (dict, list)):
                _check_scalar(item)
            elif depth == MAX_DEPTH:
                raise ValueError(too_deep)
            else:
                below += item
                below += item.values() if isinstance(item, dict) else ()
        depth, level = depth + 1, below
    return value


def _check_scalar(value: object) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ValueError(f"{shown(value)} holds half a character")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no finite number")
    elif isinstance(value, int) and abs(value) >= MAX_WHOLE:
        raise ValueError(f"a whole number of {value.bit_length()} bits: 64 are enough for every field")


def decode(kind: object, value: Unchecked, name: str, *, closed: bool = False) -> Unchecked:
    """A value of one of the types that a dataclass's field may have, see `from_json`, whose arguments these are."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Unchecked or kind is object:
        return value
    if origin in (Union, UnionType):
        absent = value is None and NoneType in arguments
        return None if absent else decode(_meant(kind, value), value, name, closed=closed)
    if origin is Literal:
        return _of_type(value in arguments, value, name, " or ".join(map(repr, arguments)))
    if origin in (tuple, list):
        items = _of_type(isinstance(value, (list, tuple)), value, name, "a list")
        kinds = arguments if origin is tuple and arguments[-1] is not Ellipsis else [arguments[0]] * len(items)
        _of_type(len(items) == len(kinds), value, name, f"a list of {len(kinds)}")
        if set(kinds) == {float} and all(type(item) is float and math.isfinite(item) for item in items):
            return origin(items)  # as thousands of replicates are; one by one they take most of the time of reading
        pairs = zip(kinds, items, strict=True)
        return origin(decode(of, item, f"{name}[{n}]", closed=closed) for n, (of, item) in enumerate(pairs))
    if origin is dict:
        table = _of_type(isinstance(value, Mapping), value, name, "a table")
        return {str(key): decode(arguments[1], item, f"{name}.{key}", closed=closed) for key, item in table.items()}
    if isinstance(kind, type) and issubclass(kind, Table) and len(kinds := kind.kinds()) > 1:
        return decode(Union[kinds], value, name, closed=closed)  # noqa: UP007
    if dataclasses.is_dataclass(kind):
        return from_json(kind, value, name, closed=closed)  # type: ignore[arg-type]
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return float(_of_type(number and abs(value) <= sys.float_info.max, value, name, "a number"))
    if kind is int:
        return _of_type(isinstance(value, int) and not isinstance(value, bool), value, name, "a whole number")
    assert kind in (str, bool), f"{name} has type {kind}, which JSON files of ours do not hold"
    return _of_type(isinstance(value, kind), value, name, "a text" if kind is str else "true or false")


def _meant(union: object, value: object) -> Unchecked:
    """The type among several that a value should have: the dataclass with most of its names."""
    kinds = [kind for kind in get_args(union) if kind is not NoneType]
    if len(kinds) == 1:
        return kinds[0]
    names = set(value) if isinstance(value, Mapping) else set()
    return max(kinds, key=lambda kind: len(names & {field.name for field in dataclasses.fields(kind)}))


def _of_type(good: bool, value: object, name: str, wanted: str) -> Unchecked:
    if not good:
        raise ValueError(f"{name} is {shown(value)} instead of {wanted}")
    return value


def shown(value: object) -> str:
    """A value in 60 letters at most, however large it is."""
    return brief(reprlib.repr(value), 60)


def brief(text: object, most: int = 200) -> str:
    """An untrusted text, or an error that repeats one, as one line of at most so many printable characters."""
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(text).split()))
    return line if len(line) <= most else line[:most] + "..."


class Described(NamedTuple):
    """A tensor as the file's header describes it."""

    dtype: str
    """safetensors' name, such as F32, U8 or BF16."""
    shape: tuple[int, ...]


class TensorFile(NamedTuple):
    """An open safetensors file."""

    metadata: dict[str, str]
    tensors: dict[str, Described]
    load: Callable[[str], Unchecked]
    """A tensor by its name. NumPy has none of the types BF16 and F8_...: look at `tensors` first."""


@contextmanager
def open_tensors(
    path: str | os.PathLike[str], framework: str = "numpy", limit: float = math.inf
) -> Iterator[TensorFile]:
    """Open a safetensors file, whose tensors become those of `framework`, "numpy" or "pt".

    Raises:
        ValueError: it is none, damaged, or larger than so many bytes.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(path, limit)
    try:
        with safe_open(path, framework=framework) as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            tensors = {name: Described(s.get_dtype(), tuple(s.get_shape())) for name, s in slices.items()}
            yield TensorFile(file.metadata() or {}, tensors, file.get_tensor)
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file ({brief(error)})") from None
