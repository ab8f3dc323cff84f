"""JSON into dataclasses, every value checked: what a file of ours says, when anybody may have written it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
KEY = "json key"
"""In a field's metadata: its name in the file, where that is another one."""


def from_json(kind: type[T], data: Mapping[str, Any]) -> T:
    """A dataclass from a table of JSON values with its fields' names; other names in the table are ignored.

    Args:
        kind: a dataclass whose fields are str, int, float, bool, Any, a Literal, a tuple, list or dict of these,
            another dataclass, or one of them or None.
        data: the table.

    Raises:
        ValueError: a value is missing, of another type, or a number that is not finite; the message names it.

    >>> @dataclasses.dataclass
    ... class Threshold:
    ...     value: float
    ...     rule: str = "unknown"
    >>> from_json(Threshold, {"value": 1, "other": True})
    Threshold(value=1.0, rule='unknown')
    >>> from_json(Threshold, {"value": "1"})
    Traceback (most recent call last):
    ValueError: value is '1' instead of a number
    """
    types = get_type_hints(kind)
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        key = field.metadata.get(KEY, field.name)
        if key in data:
            values[field.name] = _decoded(types[field.name], data[key], key)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{key} is missing")
    return kind(**values)


def _decoded(kind: Any, value: Any, name: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        (other,) = (a for a in arguments if a is not NoneType)
        return None if value is None else _decoded(other, value, name)
    if origin is Literal:
        return _of_type(value in arguments, value, name, " or ".join(map(repr, arguments)))
    if origin in (tuple, list):
        items = _of_type(isinstance(value, (list, tuple)), value, name, "a list")
        return origin(_decoded(arguments[0], item, f"{name}[{n}]") for n, item in enumerate(items))
    if origin is dict or dataclasses.is_dataclass(kind):
        table = _of_type(isinstance(value, dict), value, name, "a table")
        if origin is dict:
            return {str(key): _decoded(arguments[1], item, f"{name}.{key}") for key, item in table.items()}
        try:
            return from_json(kind, table)
        except ValueError as error:
            raise ValueError(f"{name}.{error}") from None
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return float(_of_type(number, value, name, "a number"))
    if kind is int:
        return _of_type(isinstance(value, int) and not isinstance(value, bool), value, name, "a whole number")
    assert kind in (str, bool), f"{name} has type {kind}, which JSON files of ours do not hold"
    return _of_type(isinstance(value, kind), value, name, "a text" if kind is str else "true or false")


def _of_type(good: bool, value: Any, name: str, wanted: str) -> Any:
    if not good:
        shown = repr(value)
        raise ValueError(f"{name} is {shown if len(shown) <= 60 else shown[:60] + '...'} instead of {wanted}")
    return value
