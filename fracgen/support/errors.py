"""Errors that several modules raise, and warnings about names that have changed.

Each message names the value, the limit and the remedy.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast


class WorkFailed(Exception):
    """Work that had begun could not be finished; the message is one line."""


class DeviceError(RuntimeError):
    """The device asked for cannot be used here; the message says what was found and what would help."""


class SlurmError(RuntimeError):
    """SLURM is not here, cannot be asked, or refused; the message is its own, on one line."""


P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)


def warn(old: str, new: str, depth: int = 3) -> None:
    """Say that something has another name now; `depth` frames up is the code that used the old one."""
    warnings.warn(f"{old} is deprecated and will go in the next release: use {new}", DeprecationWarning, depth)


def renamed(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that accepts arguments by their old names, too: `renamed(old="new")`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def accepting(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in names.keys() & kwargs.keys():
                warn(f"argument {old!r}", repr(names[old]))
                kwargs[names[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return accepting

    return decorate


def once_positional(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that accepts keyword-only arguments by position, too, as they once were."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        kinds = [p.kind for p in inspect.signature(function).parameters.values()]
        most = sum(kind != inspect.Parameter.KEYWORD_ONLY for kind in kinds)

        @functools.wraps(function)
        def accepting(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, value in zip(names, args[most:], strict=False):
                warn(f"{name} by position", f"{name}={value!r}")
                kwargs[name] = value
            return function(*args[:most], **kwargs)  # type: ignore[arg-type]

        return accepting

    return decorate


def renamed_fields(**names: str) -> Callable[[C], C]:
    """A dataclass whose fields are accepted, and read, by their old names, too: `renamed_fields(old="new")`."""

    def decorate(kind: C) -> C:
        kind.__init__ = renamed(**names)(kind.__init__)  # type: ignore[misc]
        for old, new in names.items():
            setattr(kind, old, property(functools.partial(_read, old, new)))
        return kind

    return decorate


def _read(old: str, new: str, value: object) -> object:
    warn(f"attribute {old!r}", repr(new))
    return cast("object", getattr(value, new))
