"""Messages on stderr: one line per error, and progress."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fracgen.support.errors import DeviceError, SlurmError, WorkFailed


@contextmanager
def working() -> Iterator[None]:
    """Context of the part of a command that does the work: errors inside exit with 1, not 2.

    Bugs (TypeError, AssertionError, ...) keep their traceback.
    """
    try:
        yield
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        raise WorkFailed(one_line(error)) from error


def refusals() -> tuple[type[Exception], ...]:
    """Errors of the user or the machine, as opposed to bugs."""
    return (ValueError, OSError, DeviceError, SlurmError)


def one_line(error: Exception | str) -> str:
    """An error as one line for people."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error)
    return " ".join(text.split()) or type(error).__name__


ERASE = "\r\x1b[K"


def say(line: str) -> None:
    """Print a message on stderr, above a line that is rewritten there."""
    show(f"{ERASE if redraws() else ''}fracgen: {line}\n")


def show(text: str) -> None:
    """Write to stderr if it is open."""
    if sys.stderr is not None:
        print(text, end="", file=sys.stderr, flush=True)


def colourful() -> bool:
    """Whether stderr is a terminal that shows colour, and NO_COLOR (https://no-color.org) is not set."""
    return redraws() and not os.environ.get("NO_COLOR")


def counted(number: int, what: str) -> str:
    """A number of things, such as `1 cell` or `3,000 cells`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds in a readable unit.

    >>> duration(42), duration(180), duration(9000), duration(345_600)
    ('42 s', '3 min', '2.5 h', '4.0 days')
    """
    for unit, size, limit in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 129_600)):
        if seconds < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def redraws() -> bool:
    """Whether stderr is a terminal on which a line can be rewritten in place."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Status:
    """A line on stderr that is rewritten in place, below those of `say`; nothing if stderr is no terminal."""

    def __init__(self) -> None:
        self._active = redraws()

    def show(self, text: str) -> None:
        """Rewrite the line."""
        if self._active:
            show(f"{ERASE}{text}")

    def clear(self) -> None:
        """Erase the line."""
        if self._active:
            show(ERASE)


class Progress:
    """Progress of work, on a line that is rewritten in place; nothing if stderr is no terminal.

    Args:
        total: number of items.
        what: their name, in the plural.
        done: number of items that are done already.
    """

    def __init__(self, total: int, what: str, done: int = 0) -> None:
        self.total, self.what, self.before, self.done = total, what, done, done
        self._start = self._shown = time.perf_counter()
        self._status = Status()

    def add(self, count: int, note: str = "") -> None:
        """Count `count` more items as done; the note is shown after the numbers."""
        self.done += count
        now = time.perf_counter()
        if now - self._shown > 0.1:
            self._shown = now
            rate = (self.done - self.before) / (now - self._start)
            parts = [
                f"{self.done:,}/{self.total:,} {self.what}", f"{rate:,.{0 if rate >= 10 else 1}f}/s", note,
                f"{duration((self.total - self.done) / rate)} left",
            ]  # fmt: skip
            self._status.show("  ".join(filter(None, parts)))

    def clear(self) -> None:
        """Erase the line."""
        self._status.clear()
