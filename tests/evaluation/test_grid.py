"""The grid: survives being killed, never redoes a finished cell, shards without a race, refuses bad input at once."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.estimate import estimate
from fracgen_eval.grid.plan import Request, make_plan
from fracgen_eval.grid.result import DONE, FAILED, METRICS
from fracgen_eval.grid.results import read_results
from fracgen_eval.grid.run import run_plan
from fracgen_eval.weights.backbones import WeightsSpec
from safetensors.torch import save_file
from torchvision.models import get_model

from tests.evaluation.reporter import Silent
from tests.evaluation.results import files_of

QUICK = {
    "panda": {"resize": 64, "crop": 64},
    "cutpaste": {"image_size": 64, "steps": 2, "frozen_steps": 1, "batch": 4},
    "patchcore": {"image_size": 64},
    "padim": {"image_size": 64, "features": 20},
    "stfpm": {"image_size": 64, "epochs": 2},
}


def request(out, surfaces, **changes):
    options = {
        "out": out, "methods": ("panda",), "dataset": "surfaces", "root": surfaces,
        "weights": (WeightsSpec.parse("random"),), "categories": ("gravel",), "model": "resnet18", "limit": "12",
        "overrides": QUICK,
    }  # fmt: skip
    return Request(**(options | changes))


def run(wanted, **options):
    reporter = Silent()
    failed = run_plan(make_plan(wanted), reporter, **options)
    return reporter.ends, failed


def numbers(out):
    """What must not depend on when or where a cell was run."""
    found = {}
    for result in files_of(out):
        parts = ("status", "metrics", "by_defect", "beside", "images", "fit", "mask_threshold")
        found[result["path"]] = {k: result[k] for k in parts}
    return found


def test_a_result_holds_what_it_should(surfaces, tmp_path):
    wanted = request(tmp_path, surfaces, methods=("padim", "cutpaste"))
    assert run(wanted, keep_maps=True) == ([DONE, DONE], 0)
    padim, cutpaste = sorted(files_of(tmp_path), key=lambda r: r["cell"]["method"] != "padim")
    everywhere = set(METRICS) - {"au_spro", "seg_f1"}  # these are of MVTec LOCO AD and MVTec AD 2
    assert set(padim["metrics"]) == everywhere == set(padim["replicates"])
    assert set(padim["by_defect"]) == {"crack", "drop", "foreign", "scratch", "stain", "thread"}
    assert padim["weights"]["digest"] == padim["cell"]["weights_digest"]
    assert padim["cell"]["protocol"] == "honest"
    assert padim["cell"]["settings"]["features"] == 20
    assert (padim["train_images"], padim["held_out_images"]) == (11, 1)
    assert len(padim["images"]) == 12
    assert padim["wall_s"] > 0
    assert padim["peak_memory_mb"] > 100
    assert {"torch", "anomalib", "fracgen"} <= set(padim["versions"])
    assert padim["mask_threshold"]["rule"] == "held-out normal images"
    assert "official MVTec" in padim["aupro_definition"]
    with np.load(tmp_path / padim["maps"]) as kept:
        assert kept["maps"].shape == kept["masks"].shape == (12, 64, 64)
    assert set(cutpaste["metrics"]) == {"image_auroc", "image_ap", "image_f1_max"}
    assert set(cutpaste["beside"]) == {"steps=0"}
    assert cutpaste["maps"] is None


def test_metrics_are_those_of_the_kept_maps_and_scores(surfaces, tmp_path):
    from fracgen_eval.metrics import aupro
    from sklearn.metrics import roc_auc_score

    run(request(tmp_path, surfaces, methods=("patchcore",)), keep_maps=True)
    (result,) = files_of(tmp_path)
    labels = [image["defect"] != "good" for image in result["images"]]
    assert result["metrics"]["image_auroc"] == roc_auc_score(labels, [image["score"] for image in result["images"]])
    with np.load(tmp_path / result["maps"]) as kept:  # half precision: ties appear, so not to the last digit
        maps, masks = kept["maps"].astype(np.float32), kept["masks"]
    assert result["metrics"]["aupro"] == pytest.approx(aupro(maps, masks), abs=5e-3)
    assert result["metrics"]["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=2e-3)


def test_finished_cells_are_not_run_again(surfaces, tmp_path):
    wanted = request(tmp_path, surfaces, seeds=(0, 1))
    assert run(wanted) == ([DONE, DONE], 0)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    assert run(wanted) == ([], 0)
    assert run(request(tmp_path, surfaces, seeds=(0, 1, 2))) == ([DONE], 0)
    assert all(p.stat().st_mtime_ns == when for p, when in files.items())
    run(request(tmp_path, surfaces, seeds=(0,), rerun=True))
    assert sum(p.stat().st_mtime_ns != when for p, when in files.items()) == 1


def test_other_weights_settings_or_data_are_other_cells(surfaces, tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(get_model("resnet18", weights=None).state_dict(), path)
    named = (WeightsSpec("mine", path),)
    first = make_plan(request(tmp_path / "out", surfaces, weights=named)).pending[0]
    torch.manual_seed(1)
    save_file(get_model("resnet18", weights=None).state_dict(), path)
    second = make_plan(request(tmp_path / "out", surfaces, weights=named)).pending[0]
    other = {"panda": QUICK["panda"] | {"k": 3}}
    third = make_plan(request(tmp_path / "out", surfaces, weights=named, overrides=other)).pending[0]
    copy = tmp_path / "copy"
    shutil.copytree(surfaces, copy)
    (copy / "gravel" / "test" / "good" / "017.png").unlink()
    fourth = make_plan(request(tmp_path / "out", copy, weights=named)).pending[0]
    assert len({cell.path for cell in (first, second, third, fourth)}) == 4


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


def test_a_grid_loads_and_hashes_each_of_its_weights_once(surfaces, tmp_path, monkeypatch):
    from fracgen_eval.grid import plan as planning
    from fracgen_eval.grid import run as running
    from fracgen_eval.weights import backbones

    counted = []
    for module, name in ((planning, "load_weights"), (running, "load_weights"), (backbones, "digest_of")):
        done = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, n=name, f=done: counted.append(n) or f(*a))
    assert run(request(tmp_path, surfaces, seeds=(0, 1)))[0] == [DONE, DONE]
    assert sorted(counted) == ["digest_of", "load_weights"]


def test_only_the_paper_protocol_looks_at_test_images_while_it_fits(surfaces, tmp_path, monkeypatch):
    import fracgen_eval.grid.measure as measure

    def watch(*_):
        raise RuntimeError("looked")

    monkeypatch.setattr(measure, "Watch", watch)
    assert run(request(tmp_path, surfaces))[0] == [DONE]
    assert run(request(tmp_path, surfaces, protocol="paper"))[0] == [FAILED]


def test_a_failed_cell_is_recorded_and_the_grid_goes_on(surfaces, tmp_path, monkeypatch):
    import fracgen_eval.methods.panda as panda

    fit = panda.Panda.fit

    def sometimes(self, images, watch=None):
        if self.seed == 0:
            raise RuntimeError("out of luck\nsecond line")
        return fit(self, images, watch)

    monkeypatch.setattr(panda.Panda, "fit", sometimes)
    ends, failed = run(request(tmp_path, surfaces, seeds=(0, 1)))
    assert (ends, failed) == ([FAILED, DONE], 1)
    (bad,) = (r for r in files_of(tmp_path) if r["status"] == FAILED)
    assert bad["error"]["message"] == "out of luck"
    assert "in sometimes" in bad["error"]["traceback"]
    monkeypatch.setattr(panda.Panda, "fit", fit)
    assert run(request(tmp_path, surfaces, seeds=(0, 1))) == ([DONE], 0)  # a failed one is tried again


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


def test_layers_make_cells_for_two_methods_only(surfaces, tmp_path):
    sets = (("layer1", "layer2"), ("layer2", "layer3"))
    plan = make_plan(request(tmp_path, surfaces, methods=("patchcore", "padim", "panda"), layers=sets))
    assert [(c.method.name, c.method.layers) for c in plan.pending] == [
        ("patchcore", sets[0]), ("patchcore", None), ("padim", sets[0]), ("padim", sets[1]), ("panda", None),
    ]  # fmt: skip
    usual = make_plan(request(tmp_path, surfaces, methods=("patchcore",)))
    assert usual.pending[0].path == plan.pending[1].path  # layers 2 and 3 are PatchCore's own: the same cell


def test_shards_are_disjoint_and_complete(surfaces, tmp_path):
    options = {"methods": ("panda", "padim"), "seeds": (0, 1, 2), "categories": None}
    whole = {c.path for c in make_plan(request(tmp_path, surfaces, **options)).pending}
    shards = [make_plan(request(tmp_path, surfaces, shard=(i, 5), **options)).pending for i in range(5)]
    parts = [{cell.path for cell in shard} for shard in shards]
    assert len(whole) == 60
    assert set.union(*parts) == whole
    assert sum(map(len, parts)) == 60


def test_the_estimate_learns_from_finished_cells(surfaces, tmp_path):
    wanted = request(tmp_path, surfaces, seeds=(0, 1))
    plan = make_plan(wanted)
    assert estimate(plan, 1, "cpu", False).measured == 0
    run(request(tmp_path, surfaces, seeds=(0,)))
    (result,) = files_of(tmp_path)
    after = estimate(make_plan(wanted), 1, "cpu", False)
    assert after.measured == 1
    assert after.seconds == pytest.approx(result["wall_s"])


def test_original_size_maps_are_measured_at_the_files_size(surfaces, tmp_path):
    run(request(tmp_path, surfaces, methods=("padim",)))
    run(request(tmp_path, surfaces, methods=("padim",), map_size="original"))
    small, large = (r["metrics"] for r in sorted(files_of(tmp_path), key=lambda r: r["cell"]["map_size"]))
    assert small["image_auroc"] == large["image_auroc"]
    assert small["pixel_auroc"] != large["pixel_auroc"]
    assert small["pixel_auroc"] == pytest.approx(large["pixel_auroc"], abs=0.05)


BAD = {
    "unknown method": ({"methods": ("patchcor",)}, "unknown method 'patchcor'"),
    "unknown layer": ({"methods": ("padim",), "layers": (("layer7",),)}, "resnet18 has no layer 'layer7': use some of"),
    "layers for none": ({"layers": (("layer1",),)}, "which --method does not name"),
    "unknown category": ({"categories": ("gravle",)}, "unknown category of surfaces 'gravle'"),
    "unknown dataset": ({"dataset": "mvtek"}, "unknown dataset 'mvtek'"),
    "no root": ({"dataset": "mvtec", "root": None}, "give its folder with --root"),
    "absent root": ({"root": Path("nowhere")}, "nowhere: no such folder"),
    "unknown protocol": ({"protocol": "papre"}, "unknown protocol"),
    "too many shots": ({"shots": 13}, "use 1 to 12"),
    "no such shard": ({"shard": (2, 2)}, "shard 2/2 does not exist"),
    "bad limit": ({"limit": "tiny"}, "use small, or a number"),
    "weights twice": ({"weights": (WeightsSpec("random"), WeightsSpec("random"))}, "given twice"),
    "absent weights": ({"weights": (WeightsSpec("mine", Path("w.safetensors")),)}, "no such weights file"),
    "ewc without its task": ({"overrides": {"panda": {"variant": "ewc"}}}, "'ewc' needs the pre-training task"),
    "no stages": ({"methods": ("fastflow",), "model": "mixer_s16_224"}, "mixer_s16_224 has no layer 'layer1'"),
    "not its size": ({"methods": ("panda",), "model": "vit_tiny_patch16_384"}, "takes no images of 64 x 64 px"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_requests_are_one_line_before_work_begins(case, surfaces, tmp_path):
    changes, message = BAD[case]
    with pytest.raises(EvaluationError, match=message) as caught:
        make_plan(request(tmp_path / "out", surfaces, **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_damaged_data_is_found_before_work_begins(surfaces, tmp_path):
    shutil.copytree(surfaces, tmp_path / "data")
    path = tmp_path / "data" / "gravel" / "train" / "good" / "002.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(EvaluationError, match=r"002\.png: cannot be read as an image"):
        make_plan(request(tmp_path / "out", tmp_path / "data"))


def test_damaged_and_foreign_results_are_told_apart(surfaces, tmp_path):
    run(request(tmp_path, surfaces))
    (path,) = (tmp_path / "cells").rglob("*.json")
    path.write_text(path.read_text()[:100])
    (tmp_path / "cells" / "notes.json").write_text(json.dumps({"hello": 1}))
    assert sorted(type(r).__name__ for _, r in read_results(tmp_path)) == ["EvaluationError", "EvaluationError"]
    assert run(request(tmp_path, surfaces)) == ([DONE], 0)  # a damaged result is no result
