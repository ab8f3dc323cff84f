"""Where the model keeps what it compiled and disassembled."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """A folder of the user's cache, made if need be."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    own = os.environ.get("FRACGEN_CACHE_DIR")
    path = (Path(own) if own else base / "fracgen") / "model"
    path.mkdir(parents=True, exist_ok=True)
    return path
