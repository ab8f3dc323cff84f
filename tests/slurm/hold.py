"""Stops jobs at the moment before they write a file; see hook/sitecustomize.py."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from tests.slurm.cluster import LONG, until


class Hold:
    """Jobs that are submitted from now on look at these files."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        self.folder = folder
        monkeypatch.setenv("FRACGEN_TEST_HOLD", str(folder))
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "hook"))

    def at(self, name: str) -> None:
        (self.folder / f"{name}.hold").touch()

    def release(self, name: str) -> None:
        (self.folder / f"{name}.hold").unlink()

    def process(self, name: str) -> int:
        """Wait for the process that is stopped there; its number."""
        file = self.folder / f"{name}.at"
        until(lambda: file.exists() and file.read_text(), f"a job is stopped at {name}", LONG)
        return int(file.read_text())

    def until_told(self, name: str) -> None:
        """Wait until the process that is stopped there has heard a signal to stop."""
        until((self.folder / f"{name}.told").exists, f"the job that is stopped at {name} is told to stop", LONG)

    def written(self) -> collections.Counter[str]:
        """How often every file has been written."""
        return collections.Counter((self.folder / "written").read_text().split())
