"""The host runner of the kernels, for the tests beside this file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # makes `host` importable under importlib mode


@pytest.fixture(scope="session")
def build_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kernels are built, once a session."""
    return tmp_path_factory.mktemp("kernels")
