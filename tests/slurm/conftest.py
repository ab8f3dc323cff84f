"""The cluster that these tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import Command, command_line
from tests.slurm.cluster import Cluster, cluster, missing


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A SLURM; the tests are skipped where its programs are missing, and fail there in CI, which installs them."""
    if absent := missing():
        if os.environ.get("CI"):
            pytest.fail(absent)
        pytest.skip(absent)
    with cluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made


@pytest.fixture
def slurm(running_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, for commands that start here in an empty folder; no job is left of another test."""
    for name, value in running_cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("fracgen.slurm.queue.ASK_S", (0.5, 1.0))  # on a busy cluster half a minute would be polite
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # sums may not be split differently in a job
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield running_cluster
    running_cluster.cancel_all()


@pytest.fixture
def fracgen(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line here."""

    return command_line(capsys)
