"""A result folder's files as they lie on the disk, read without the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def files_of(out: Path) -> Any:
    """Every cell's table, with the path of its file below the folder, by name."""
    paths = sorted((out / "cells").rglob("*.json"))
    return [json.loads(path.read_text()) | {"path": str(path.relative_to(out))} for path in paths]
