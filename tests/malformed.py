"""Files as they come when people, editors and broken disks have had them: strategies for hypothesis.

Whoever reads one may refuse it, with an error that is a line for its user, and do nothing else.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

few = settings(
    max_examples=60, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

JUNK: tuple[object, ...] = (
    None, True, False, 0, -1, 0.5, 1e300, 2**63, 10**400, float("nan"), float("inf"), "", "1", "\ud800", "\0",
    "x" * 5000, [], [[]], [None, 1], {}, {"a": {}}, [1] * 100,
)  # fmt: skip
"""What may stand where something else belongs."""


def check_refusal(error: Exception) -> None:
    """An error that may reach a user: a line, and not a long one."""
    assert isinstance(error, ValueError)
    assert "\n" not in str(error)
    assert len(str(error)) < 1000


@contextmanager
def one_line(says: str, kind: type[Exception] = ValueError) -> Iterator[None]:
    """What happens within is refused, in a line that says so."""
    with pytest.raises(kind, match=says) as caught:
        yield
    assert str(caught.value).isprintable()


def places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every list or table in a JSON value with every index or name in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from places(item)


@st.composite
def altered(draw: st.DrawFn, value: object) -> object:
    """A JSON value with one to three values in it replaced by junk, taken away, or put under another name."""
    root = {"value": copy.deepcopy(value)}
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(places(root))))
        how = draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "nest"]))
        if how == "replace" or holder is root:
            holder[key] = copy.deepcopy(draw(st.sampled_from(JUNK)))
        elif how == "nest":
            holder[key] = [holder[key]]
        else:
            item = holder.pop(key)
            if how == "rename" and isinstance(holder, dict):
                holder[draw(st.sampled_from(["", "unknown", "size", "\0"]))] = item
    return root["value"]


@st.composite
def altered_text(draw: st.DrawFn, value: object) -> bytes:
    """The JSON of an altered value, perhaps with bytes of it changed."""
    text = json.dumps(draw(altered(value))).encode()
    return draw(altered_bytes(text)) if draw(st.booleans()) else text


@st.composite
def altered_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes that were cut, or some of which are others or there twice."""
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 40)))
    others = (b"", b"\0", b"\xff\xfe", b"[" * 5000, b'{"a":' * 5000, b"9" * 5000, data[start:end] * 2)
    other = draw(st.sampled_from(others))
    return data[:start] if draw(st.integers(0, 4)) == 0 else data[:start] + other + data[end:]
