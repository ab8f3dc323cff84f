"""Other people's code, which lives in a folder of its own and is never part of this repository."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any


class MissingCodeError(ValueError):
    """The folder does not hold the code that a study compares with, or what that code needs is not installed."""


def load_code(folder: Path, names: tuple[str, ...], source: str) -> list[Any]:
    """Import modules from a folder by the names that they have there; they may import each other.

    Args:
        folder: where the files lie.
        names: of the modules, `name.py` each.
        source: what the code is and where it comes from, for people.

    Raises:
        MissingCodeError: a file is not there, or a package that it imports.
    """
    missing = [f"{name}.py" for name in names if not (folder / f"{name}.py").is_file()]
    if missing:
        raise MissingCodeError(f"{folder} has no {', '.join(missing)}: give the folder of {source}")
    sys.path.insert(0, str(folder.resolve()))
    try:
        return [importlib.import_module(name) for name in names]
    except ModuleNotFoundError as error:
        raise MissingCodeError(f"{folder} needs the package {error.name}: run with `uv run --with PACKAGE`") from None
    finally:
        sys.path.pop(0)
