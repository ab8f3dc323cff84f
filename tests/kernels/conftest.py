"""The host runner of the kernels, for the tests beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # makes `host` importable under importlib mode


@pytest.fixture(scope="session")
def build_folder(shared_folder: Path) -> Path:
    """Where kernels are built, once a session."""
    folder = shared_folder / "kernels"
    folder.mkdir(exist_ok=True)
    return folder
