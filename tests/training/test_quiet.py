"""What people can do nothing about is not said."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from fracgen.training.config import Machine
from fracgen.training.folder import RunFolder
from fracgen.training.run import build_fabric


def test_lightning_gives_no_hint_where_a_cluster_has_srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        build_fabric(Machine(device="cpu"), RunFolder(tmp_path / "run"))
    assert not [str(w.message) for w in said if "srun" in str(w.message)]
