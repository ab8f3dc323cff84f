"""How the tests are spread over processes, by file, and what these share."""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from fracgen.support.files import PACKAGE

settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")  # the same examples everywhere, and nothing that depends on how busy a machine is

MOST_WORKERS = 8
"""Each takes about 1.5 GB, and files of tests are too few to keep more at work."""
TOGETHER = ("tests/slurm/",)
"""Folders whose tests run in one process, as they share a cluster."""
LONGEST = ("tests/slurm/", "tests/training/test_killed_runs.py")
"""Folders and files that begin first, so that processes end together."""


class _ByFile(LoadFileScheduling):  # type: ignore[misc]
    """Tests of a file run in one process, which makes their fixtures once; so do those of a folder in `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def pytest_xdist_auto_num_workers() -> int:
    """A worker for each processor that this process may use."""
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    places = {item: next((k for k, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))
              for item in items}  # fmt: skip
    items.sort(key=lambda item: places[item])


def pytest_configure(config: pytest.Config) -> None:
    """What workers, and processes that tests start, find in their environment."""
    config.option.loadscopereorder = False  # else files of many tests would begin first
    workers = config.getoption("numprocesses") or 1
    # They share the processors; read when torch is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // workers)))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Where no bytecode may lie beside the sources, as in containers, every process would compile all that it imports,
    # which takes up to fifteen seconds: it is kept in pytest's own cache.
    if "PYTHONDONTWRITEBYTECODE" in os.environ and hasattr(config, "cache"):
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(config.cache.mkdir("bytecode"))


def pytest_unconfigure() -> None:
    """What `frozen_imports` froze ends in order: libraries report what is left at the end of a process."""
    gc.unfreeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling | None:
    """With the default `--dist loadfile`, group by file and folder."""
    return _ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this session that all its processes see; what is made in it is made under a `FileLock`."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def _compiled() -> bool:
    """Whether binaries of the CPU renderer's stages lie beside the sources, newer than all of them."""
    sources = [path.stat().st_mtime for name in ("formulas", "rendering") for path in (PACKAGE / name).rglob("*.py")]
    binaries = [path.stat().st_mtime for path in PACKAGE.rglob("__pycache__/*.nbi")]
    return max(binaries, default=0) > max(sources)


@pytest.fixture(scope="session", autouse=True)
def compiled_stages(shared_folder: Path) -> None:
    """In a fresh clone one process compiles all stages for the others, which wait for it."""
    if "PYTEST_XDIST_WORKER" in os.environ and not _compiled():
        from fracgen import make_bank, make_renderer, preset

        with FileLock(shared_folder / "stages.lock"):
            for name in ("paper", "multi-mandelbulb"):
                recipe = dataclasses.replace(preset(name).recipe.at_size(16), background="noise", points=1000)
                make_renderer(make_bank(preset(name).bank.few(2)), recipe, "cpu").render([0])


@pytest.fixture(scope="module", autouse=True)
def frozen_imports() -> None:
    """Garbage is looked for, as before every cell of a grid, in what a file of tests made: not in all that is imported,
    which takes a third of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def surfaces(shared_folder: Path) -> Path:
    """The demo dataset, as the command line writes it."""
    from fracgen.cli import run

    folder = shared_folder / "surfaces"
    with FileLock(shared_folder / "surfaces.lock"):
        assert run(["eval", "data", "surfaces", "-o", str(folder)]) == 0
    return folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the files of a report's charts empty, as matplotlib takes most of a small report's time."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)


@pytest.fixture
def few_surfaces(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the demo dataset be two categories of so few pictures of each kind, where it is written."""

    def few(pictures: int) -> None:
        from fracgen_eval.datasets import surfaces

        two = {name: surfaces.PHOTOGRAPHS[name] for name in ("brick", "coins")}
        monkeypatch.setattr(surfaces, "PHOTOGRAPHS", two)
        for name in ("TRAIN_PICTURES", "GOOD_PICTURES", "PICTURES_PER_DEFECT"):
            monkeypatch.setattr(surfaces, name, pictures)

    return few
