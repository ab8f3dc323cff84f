"""A grid in processes of its own: survives being killed, shards without a race, computes no cell twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import pytest
from fracgen_eval.grid.result import DONE, FAILED

from tests.evaluation.grid_process import Fork, race, run
from tests.evaluation.grids import files_of, numbers, request

TWO = ("gravel", "grass")


def test_killed_and_run_again_equals_never_killed(surfaces: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    grid = {"methods": ("panda", "cutpaste"), "categories": TWO}
    process = Fork(run, request(out, surfaces, **grid))
    started = 0
    while started < 3:  # of four
        started += process.receive()[0] == "started"
    time.sleep(0.1)
    process.process.kill()
    assert process.end()[0] == -signal.SIGKILL
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.json")}
    assert len(before) == 2
    code, sent = Fork(run, request(out, surfaces, **grid)).end()
    assert code == 0
    assert [what for what, _ in sent].count(DONE) == 4 - len(before)
    assert all(p.stat().st_mtime_ns == when for p, when in before.items())
    assert Fork(run, request(whole, surfaces, **grid)).end()[0] == 0
    assert numbers(out) == numbers(whole)
    assert len(numbers(out)) == 4
    assert not list(out.rglob("*.part"))


def test_two_shards_into_one_folder_give_the_union(surfaces: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    grid = {"categories": TWO, "seeds": (0, 1)}
    processes = [Fork(run, request(out, surfaces, shard=(i, 2), **grid)) for i in range(2)]
    for process in processes:
        code, sent = process.end()
        assert code == 0
        assert [what for what, _ in sent].count(DONE) == 2
    assert Fork(run, request(whole, surfaces, **grid)).end()[0] == 0
    assert numbers(out) == numbers(whole)


def test_two_processes_with_the_same_cells_compute_each_once(surfaces: Path, tmp_path: Path) -> None:
    """Both have planned all four cells before either begins."""
    meet = tmp_path / "meet"
    meet.mkdir()
    wanted = request(tmp_path / "out", surfaces, categories=TWO, seeds=(0, 1))
    ends = [process.end() for process in [Fork(race, wanted, meet) for _ in range(2)]]
    assert [code for code, _ in ends] == [0, 0]
    computed = [path for _, sent in ends for what, path in sent if what == "computed"]
    assert len(numbers(tmp_path / "out")) == 4
    assert len(set(computed)) == 4
    assert sorted(computed) == sorted(set(computed)), "a cell was computed twice"
    for _, sent in ends:  # whoever comes second finds a cell taken, or done already
        said = [what for what, _ in sent]
        assert said.count(DONE) + said.count("elsewhere") == said.count("started") == 4


def test_processes_end_with_a_grid_that_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the grid would wait until their cells are finished."""
    from fracgen_eval.grid import run as grid

    class Stopping:
        def started(self, cell: object) -> None:
            if cell == "second":
                raise KeyboardInterrupt

        def ended(self, cell: object, result: object) -> None:
            raise AssertionError("no cell is finished")

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(grid, "run_cell", time.sleep)
    monkeypatch.setattr(grid, "_begin", int)
    work = SimpleNamespace(plan=SimpleNamespace(pending=["first", "second"]), elsewhere=lambda cell: (600,))
    started: list[BaseProcess] = []

    def children() -> list[BaseProcess]:
        started.extend(active_children())
        return active_children()

    monkeypatch.setattr(grid, "active_children", children)
    with pytest.raises(KeyboardInterrupt):
        list(grid._side_by_side(work, Stopping(), 2))  # type: ignore[arg-type]
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [-signal.SIGTERM] * len(started)
    assert started


DYING = """
import os, signal
from pathlib import Path
from fracgen_eval.methods.panda import Panda
from tests.evaluation.grids import request, run
fit = Panda.fit
def dying(self, images, watch=None):
    if self.seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(self, images, watch)
Panda.fit = dying
if __name__ == "__main__":
    raise SystemExit(run(request(Path({out!r}), Path({surfaces!r}), seeds=(0, 1)), jobs=2)[1])
"""


@pytest.mark.study
def test_a_process_that_dies_costs_its_own_cell_only(surfaces: Path, tmp_path: Path) -> None:
    """With several jobs; the method's process kills itself in one of two cells."""
    out, script, root = tmp_path / "out", tmp_path / "dying.py", Path(__file__).parents[2]
    script.write_text(DYING.format(out=str(out), surfaces=str(surfaces)))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'evaluation'}"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = {r["cell"]["seed"]: r for r in files_of(out)}
    assert {seed: r["status"] for seed, r in found.items()} == {0: DONE, 1: FAILED}
    assert "its process was killed" in found[1]["error"]["message"]


@pytest.mark.study
def test_processes_of_a_killed_grid_do_not_live_on(surfaces: Path, tmp_path: Path) -> None:
    process = Fork(run, request(tmp_path, surfaces, seeds=(0, 1, 2)), 2)
    while process.receive()[0] != DONE:
        pass
    pid = process.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    process.process.kill()
    process.end()
    assert len(children) >= 2
    ends = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < ends
        time.sleep(0.2)
