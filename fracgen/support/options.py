"""What is noted at fields of dataclasses: their limits, and how they appear on the command line; parsers of its texts.

A field is an option where its type is `Annotated` with a help text or an `Option`; `fracgen.cli.options` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Literal, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Within:
    """Limits of a number, both included; of each number where the field is a tuple. A tuple of two is an interval."""

    low: float
    high: float
    unit: str = ""
    """What is counted, for messages."""


def check_fields(table: object) -> None:
    """Check the fields of a dataclass by their types: numbers by `Within`, texts by `Literal`. None is passed over.

    Raises:
        ValueError: a value is out of range, unknown or no interval.
    """
    for name, kind, limits in _checked(type(table)):  # type: ignore[arg-type]
        value = getattr(table, name)
        if value is None:
            continue
        if limits is None:
            if value not in get_args(kind):
                raise ValueError(f"{name} {value!r} is unknown: use one of {', '.join(get_args(kind))}")
            continue
        kinds = get_args(kind) or (kind,)
        if len(kinds) == 2 and (not isinstance(value, tuple) or len(value) != 2 or value[0] > value[1]):
            raise ValueError(f"{name} {value!r} is not an interval: give (smallest, largest)")
        for number in value if get_args(kind) else (value,):
            check_number(name, number, limits, whole=kinds[0] is int)


def check_number(name: str, value: object, limits: Within, *, whole: bool = True) -> None:
    """Raise ValueError where a value is no number, or no whole one, within limits."""
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good or not limits.low <= value <= limits.high:  # type: ignore[operator]
        low, high = (end if isinstance(end, int) else f"{end:g}" for end in (limits.low, limits.high))
        kind = f"{'whole ' * whole}number from {low} to {high} {limits.unit}"
        raise ValueError(f"{name} {value!r} is out of range: use a {kind.rstrip()}")


@cache
def _checked(kind: type[object]) -> list[tuple[str, object, Within | None]]:
    """The fields with limits or choices: name, type without None, and limits, which are None where it has choices."""
    found: list[tuple[str, object, Within | None]] = []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        own, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        own = next((one for one in get_args(own) if NoneType in get_args(own) and one is not NoneType), own)
        limits = next((note for note in notes if isinstance(note, Within)), None)
        if limits is not None or get_origin(own) is Literal:
            found.append((name, own, limits))
    return found


@dataclass(frozen=True)
class Option:
    """The command line's side of a field; a bare text in `Annotated` stands for an option that has only a help text."""

    help: str
    _: KW_ONLY
    names: tuple[str, ...] = ()
    """Spellings, such as `-o` and `--output`; by default the field's name."""
    default: str | None = None
    """Text of the help for a default that is not the field's."""
    parse: Callable[..., object] | None = None
    """Makes the value of the text, or of the list of texts where the option is `repeated`. Raises ValueError."""
    repeated: bool = False


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` as (i, n), i counted from 0. Raises ValueError."""
    head, slash, tail = text.partition("/")
    try:
        i, n = int(head), int(tail)
    except ValueError:
        i = n = -1
    if not slash or not 0 <= i < n:
        raise ValueError(f"shard {text!r} is not of the form i/n with i from 0 to n - 1: for example 0/4")
    return i, n


def parse_range(text: str) -> tuple[int, int]:
    """`2-8`, or `4` for 4-4. Raises ValueError."""
    low, _, high = text.partition("-")
    try:
        return int(low), int(high or low)
    except ValueError:
        raise ValueError(f"range {text!r} is not of the form LOW-HIGH: for example 2-8") from None


def parse_numbers(text: str) -> tuple[int, ...]:
    """`2-4,7` as (2, 3, 4, 7), numbers below 1,000. Raises ValueError."""
    numbers: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        try:
            first, last = int(low), int(high or low)
            if not 0 <= first <= last < 1000:
                raise ValueError
        except ValueError:
            raise ValueError(f"{text!r} is no list of whole numbers below 1,000: for example 42,168 or 2-18") from None
        numbers += range(first, last + 1)
    return tuple(numbers)


def parse_names(texts: list[str]) -> tuple[str, ...]:
    """Names from repeated options and from commas in them, each once.

    >>> parse_names(["padim,stfpm", "padim"])
    ('padim', 'stfpm')
    """
    return tuple(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))
