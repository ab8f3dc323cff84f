"""How fields of dataclasses appear on the command line, and parsers of its texts.

A field is an option where its type is `Annotated` with a help text or an `Option`; `fracgen.cli.options` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass


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
