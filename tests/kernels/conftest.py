"""The host runner of the kernels, for the tests beside this file."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def build_folder(shared_folder: Path) -> Path:
    """Where kernels are built, once a session."""
    folder = shared_folder / "kernels"
    folder.mkdir(exist_ok=True)
    return folder
