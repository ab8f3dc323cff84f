"""The one decoder: what it accepts comes back, and everything else is a ValueError of one line."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fracgen.support.decode import KEY, MAX_DEPTH, from_json, parse_json, read_json, read_toml
from tests.malformed import altered, altered_bytes, check_refusal, few

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64) + 1, 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)  # fmt: skip


@given(values)
@few
def test_json_comes_back(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode("utf-8-sig")) == value


@given(values.flatmap(lambda value: altered_bytes(json.dumps(value).encode())))
@few
def test_damaged_json_is_refused_or_read(text: bytes) -> None:
    try:
        value = parse_json(text)
    except ValueError as error:
        check_refusal(error)
    else:
        assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1', "Expecting"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice in a table"),
        ("[NaN]", "nan is no finite number"),
        ("[-Infinity]", "-inf is no finite number"),
        ("1e400", "inf is no finite number"),
        (str(2**64), "65 bits"),
        ("1" + "0" * 399, "1326 bits"),
        ("9" * 5000, "4300 digits"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "more than 64 deep"),
        ("[" * 100_000, "more than 64 deep"),
        ('{"a":' * 100_000, "more than 64 deep"),
        ('["\\ud800"]', "half a character"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (json.dumps("a").encode("utf-16"), "byte 0 is not UTF-8"),
        ("", "Expecting value"),
    ],
)
def test_what_is_no_json_of_ours(text: str | bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_json(text)


def test_what_is_just_within_bounds() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert parse_json(f"[{2**64 - 1}, 1e308]") == [2**64 - 1, 1e308]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "it.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}
    with pytest.raises(ValueError, match=r"it\.json holds \{'a': 1\} instead of a list"):
        read_json(path, list)
    path.write_text("[1]")
    assert read_json(path, list) == [1]
    with pytest.raises(ValueError, match=r"it\.json holds \[1\] instead of a table"):
        read_json(path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"it\.json is not JSON"):
        read_json(path)
    with path.open("wb") as file:
        file.truncate(1 << 40)  # of zeros, which take no place
    with pytest.raises(ValueError, match="has 1,099,511,627,776 bytes: at most 67,108,864 are read"):
        read_json(path)


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path / "pipe", "a named pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "is a folder")):
        with pytest.raises(ValueError, match=what):
            read_json(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = ", "is not TOML"),
        ("a = nan", "nan is no finite number"),
        ("a = 1" + "0" * 399, "1326 bits"),
        ("a = " + "[" * 3000, "more than 64 deep"),
        (".".join("a" * 3000) + " = 1", "more than 64 deep"),
        ("a = 1\na = 2", "is not TOML"),
    ],
)
def test_what_is_no_toml_of_ours(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "it.toml").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_toml(tmp_path / "it.toml")


@dataclass(frozen=True)
class Spot:
    x: int
    y: float = 0.5


@dataclass(frozen=True)
class Ring:
    radius: float


@dataclass(frozen=True)
class Everything:
    name: str
    kind: Literal["a", "b"]
    on: bool
    where: tuple[float, float]
    many: tuple[int, ...] = ()
    texts: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)
    shape: Spot | Ring = Spot(0)
    maybe: Spot | None = None
    other: Any = None
    spelled: int = field(default=0, metadata={KEY: "spelt-otherwise"})


WHOLE = {
    "name": "n", "kind": "a", "on": True, "where": [1, 2.5], "many": [1, 2], "texts": ["t"], "numbers": {"a": 1},
    "shape": {"radius": 2}, "maybe": {"x": 3}, "other": [None], "spelt-otherwise": 7,
}  # fmt: skip


def test_a_table_becomes_what_it_says() -> None:
    made = from_json(Everything, WHOLE, closed=True)
    assert made == Everything("n", "a", True, (1.0, 2.5), (1, 2), ["t"], {"a": 1.0}, Ring(2.0), Spot(3), [None], 7)
    assert type(made.where[0]) is float
    assert from_json(Everything, WHOLE | {"more": 1}) == made


@given(altered(WHOLE))
@few
def test_other_tables_are_refused_or_have_the_right_types(table: object) -> None:
    try:
        made = from_json(Everything, table, "it")
    except ValueError as error:
        check_refusal(error)
    else:
        assert isinstance(made.name, str)
        assert made.kind in ("a", "b")
        assert isinstance(made.on, bool)
        assert len(made.where) == 2
        assert all(type(v) is float for v in (*made.where, *made.numbers.values()))
        assert all(type(v) is int for v in (*made.many, made.spelled))
        assert isinstance(made.shape, (Spot, Ring))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"where": [1]}, r"it\.where is \[1\] instead of a list of 2"),
        ({"where": {"x": 1}}, r"it\.where is \{'x': 1\} instead of a list"),
        ({"kind": "c"}, r"it\.kind is 'c' instead of 'a' or 'b'"),
        ({"on": 1}, r"it\.on is 1 instead of true or false"),
        ({"many": [1, True]}, r"it\.many\[1\] is True instead of a whole number"),
        ({"numbers": {"a": 10**400}}, r"it\.numbers\.a is 1000.* instead of a number"),
        ({"numbers": {"a": float("nan")}}, r"it\.numbers\.a is nan instead of a number"),
        ({"shape": {"x": None, "y": 2}}, r"it\.shape\.x is None instead of a whole number"),
        ({"maybe": {}}, r"it\.maybe\.x is missing"),
        ({"maybe": [1] * 1000}, r"it\.maybe is \[1, 1, 1, 1, 1, 1, \.\.\.\] instead of a table"),
        ({"spelt-otherwise": "7"}, r"it\.spelt-otherwise is '7'"),
        ({"more": 1}, "unknown field 'more' in it: the fields are kind, many, "),
        ({"maybe": {"x": 1, "z": 2}}, r"unknown field 'z' in it\.maybe: the fields are x, y"),
    ],
)
def test_a_bad_value_is_named(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        from_json(Everything, WHOLE | change, "it", closed=True)
