"""A grid in processes of its own: survives being killed, shards without a race, computes no cell twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fracgen_eval.grid.result import DONE, FAILED

from tests.evaluation.grids import QUICK, numbers
from tests.evaluation.results import files_of

SCRIPT = """
import sys
sys.path[:0] = {paths!r}
import os
os.environ["OMP_NUM_THREADS"] = "1"
from pathlib import Path
from fracgen_eval.weights.backbones import WeightsSpec
from fracgen_eval.grid.run import run_plan
from fracgen_eval.grid.plan import Request, make_plan
class Say:
    def started(self, cell): print("started", cell.path, flush=True)
    def ended(self, cell, status): print(status, cell.path, flush=True)
if __name__ == "__main__":
    request = Request(out=Path({out!r}), methods={methods!r}, dataset="surfaces", root=Path({root!r}),
        weights=(WeightsSpec.parse("random"),), categories={categories!r}, model="resnet18", limit="12",
        overrides={overrides!r}, shard={shard!r}, seeds={seeds!r})
    raise SystemExit(run_plan(make_plan(request), Say(), jobs={jobs}))
"""


def start(tmp_path, surfaces, out, methods=("panda", "cutpaste"), shard=(0, 1), seeds=(0,), jobs=1, change=("", "")):
    root = Path(__file__).parents[2]
    script = tmp_path / f"grid_{out.name}_{shard[0]}_{shard[1]}.py"
    script.write_text(
        SCRIPT.format(
            paths=[str(root), str(root / "evaluation")], out=str(out), methods=methods, root=str(surfaces),
            overrides=QUICK, shard=shard, seeds=seeds, jobs=jobs, categories=("gravel", "grass"),
        ).replace(*change)
    )  # fmt: skip
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_killed_and_run_again_equals_never_killed(surfaces, tmp_path):
    out = tmp_path / "out"
    process = start(tmp_path, surfaces, out)
    started = 0
    for line in process.stdout:
        started += line.startswith("started")
        if started == 3:  # of four
            time.sleep(0.1)
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.json")}
    assert len(before) == 2
    again = start(tmp_path, surfaces, out)
    text, _ = again.communicate(timeout=300)
    assert again.returncode == 0
    assert text.count("done ") == 4 - len(before)
    assert all(p.stat().st_mtime_ns == when for p, when in before.items())
    whole = tmp_path / "whole"
    other = start(tmp_path, surfaces, whole)
    other.communicate(timeout=300)
    assert numbers(out) == numbers(whole)
    assert len(numbers(out)) == 4
    assert not list(out.rglob("*.part"))


def test_two_shards_into_one_folder_give_the_union(surfaces, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    processes = [start(tmp_path, surfaces, out, ("panda",), (i, 2), (0, 1)) for i in range(2)]
    texts = [p.communicate(timeout=300)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0]
    assert [t.count("done ") for t in texts] == [2, 2]
    other = start(tmp_path, surfaces, whole, ("panda",), (0, 1), (0, 1))
    other.communicate(timeout=300)
    assert numbers(out) == numbers(whole)


RACE = """
import time
import fracgen_eval.grid.run as grid
run_cell, plan_of = grid.run_cell, make_plan
def slow(cell, *rest):
    print("computed", cell.path, flush=True)
    time.sleep(0.5)  # so that the other process comes by
    return run_cell(cell, *rest)
def make_plan(request):
    plan = plan_of(request)
    (Path({meet!r}) / str(os.getpid())).touch()
    while len(os.listdir({meet!r})) < 2:
        time.sleep(0.01)
    return plan
grid.run_cell = slow
if __name__ =="""


def test_two_processes_with_the_same_cells_compute_each_once(surfaces, tmp_path):
    """Both have planned all four cells before either begins."""
    meet = tmp_path / "meet"
    meet.mkdir()
    change = ("if __name__ ==", RACE.format(meet=str(meet)))
    processes = [start(tmp_path, surfaces, tmp_path / "out", ("panda",), seeds=(0, 1), change=change) for _ in range(2)]
    texts = [p.communicate(timeout=300)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0]
    computed = [line for text in texts for line in text.splitlines() if line.startswith("computed")]
    assert len(numbers(tmp_path / "out")) == 4
    assert len(set(computed)) == 4
    assert sorted(computed) == sorted(set(computed)), "a cell was computed twice"
    # Whoever comes second finds a cell taken, or done already.
    assert all(t.count("done ") + t.count("elsewhere ") == t.count("started ") == 4 for t in texts)


@pytest.mark.study
def test_a_process_that_dies_costs_its_own_cell_only(surfaces, tmp_path):
    """With several jobs; the method's process kills itself in one of three cells."""
    out = tmp_path / "out"
    root = Path(__file__).parents[2]
    script = tmp_path / "dying.py"
    body = SCRIPT.format(
        paths=[str(root), str(root / "evaluation")], out=str(out), methods=("panda",), root=str(surfaces),
        overrides=QUICK, shard=(0, 1), seeds=(0, 1), jobs=2, categories=("gravel",),
    )  # fmt: skip
    trap = (
        "import fracgen_eval.methods.panda as p, signal\nfit = p.Panda.fit\n"
        "def dying(self, images, watch=None):\n"
        "    if self.seed == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return fit(self, images, watch)\n"
        "p.Panda.fit = dying\nif __name__ =="
    )
    script.write_text(body.replace("if __name__ ==", trap))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 1, done.stderr
    found = {r["cell"]["seed"]: r for r in files_of(out)}
    assert {seed: r["status"] for seed, r in found.items()} == {0: DONE, 1: FAILED}
    assert "its process was killed" in found[1]["error"]["message"]


@pytest.mark.study
def test_processes_of_a_killed_grid_do_not_live_on(surfaces, tmp_path):
    process = start(tmp_path, surfaces, tmp_path / "out", ("panda",), (0, 1), (0, 1, 2), jobs=2)
    for line in process.stdout:
        if line.startswith("done"):
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(children) >= 2
    ends = time.monotonic() + 60
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < ends
        time.sleep(0.2)
