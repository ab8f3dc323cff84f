"""The cells of a grid: what a result holds, that a finished one is never redone, and what becomes of a failed one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid import measure
from fracgen_eval.grid import plan as planning
from fracgen_eval.grid import run as running
from fracgen_eval.grid.plan import make_plan
from fracgen_eval.grid.result import DONE, FAILED, IMAGE_METRICS, METRICS
from fracgen_eval.grid.results import read_results
from fracgen_eval.methods import Watch, panda
from fracgen_eval.methods.base import Table
from fracgen_eval.metrics import aupro, count_pixels
from fracgen_eval.weights import backbones
from fracgen_eval.weights.backbones import WeightsSpec
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torchvision.models import get_model

from fracgen.support.files import whole_file
from tests.evaluation.grids import QUICK, files_of, request, run
from tests.malformed import one_line


def test_a_result_holds_what_it_should(surfaces: Path, tmp_path: Path) -> None:
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
    above = [i["score"] > padim["image_threshold"]["value"] for i in padim["images"] if i["defect"] == "good"]
    assert padim["metrics"]["false_alarms"] == np.mean(above)
    assert "official MVTec" in padim["aupro_definition"]
    with np.load(tmp_path / padim["maps"]) as kept:
        assert kept["maps"].shape == kept["masks"].shape == (12, 64, 64)
    assert set(cutpaste["metrics"]) == set(IMAGE_METRICS)
    assert set(cutpaste["beside"]) == {"steps=0"}
    assert cutpaste["maps"] is None


def test_metrics_are_those_of_the_kept_maps_and_scores(surfaces: Path, tmp_path: Path) -> None:
    run(request(tmp_path, surfaces, methods=("patchcore",)), keep_maps=True)
    (result,) = files_of(tmp_path)
    labels = [image["defect"] != "good" for image in result["images"]]
    assert result["metrics"]["image_auroc"] == roc_auc_score(labels, [image["score"] for image in result["images"]])
    with np.load(tmp_path / result["maps"]) as kept:  # half precision: ties appear, so not to the last digit
        maps, masks = kept["maps"].astype(np.float32), kept["masks"]
    assert result["metrics"]["aupro"] == pytest.approx(aupro(count_pixels(maps, masks)), abs=5e-3)
    assert result["metrics"]["pixel_auroc"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=2e-3)


def test_finished_cells_are_not_run_again(surfaces: Path, tmp_path: Path) -> None:
    wanted = request(tmp_path, surfaces, seeds=(0, 1))
    assert run(wanted) == ([DONE, DONE], 0)
    files = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.json")}
    path = files_of(tmp_path)[0]["path"].removeprefix("cells/")
    left = [tmp_path / folder / path for folder in ("cells", "maps", "filters")]
    left = [path.parent / f".{path.name}.a_b2c3d4.part" for path in left]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with whole_file(left[1].parent / "other.npz") as live:  # of another process, at work on another cell
        assert run(wanted) == ([], 0)
        live.write(b"maps")
    assert not list(tmp_path.rglob("*.part"))
    assert run(request(tmp_path, surfaces, seeds=(0, 1, 2))) == ([DONE], 0)
    assert all(p.stat().st_mtime_ns == when for p, when in files.items())
    run(request(tmp_path, surfaces, seeds=(0,), rerun=True))
    assert sum(p.stat().st_mtime_ns != when for p, when in files.items()) == 1


def test_a_grid_loads_and_hashes_each_of_its_weights_once(
    surfaces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []

    def counting(name: str, done: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            counted.append(name)
            return done(*arguments)

        return call

    for module, name in ((planning, "load_weights"), (running, "load_weights"), (backbones, "digest_of")):
        monkeypatch.setattr(module, name, counting(name, getattr(module, name)))
    assert run(request(tmp_path, surfaces, seeds=(0, 1)))[0] == [DONE, DONE]
    assert sorted(counted) == ["digest_of", "load_weights"]


def test_only_the_paper_protocol_looks_at_test_images_while_it_fits(
    surfaces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(*_: object) -> None:
        raise RuntimeError("looked")

    monkeypatch.setattr(measure, "Watch", watch)
    assert run(request(tmp_path, surfaces))[0] == [DONE]
    assert run(request(tmp_path, surfaces, protocol="paper"))[0] == [FAILED]


def test_a_failed_cell_is_recorded_and_the_grid_goes_on(
    surfaces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = panda.Panda.fit

    def sometimes(self: panda.Panda, images: torch.Tensor, watch: Watch | None = None) -> Table:
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


def test_original_size_maps_are_measured_at_the_files_size(surfaces: Path, tmp_path: Path) -> None:
    run(request(tmp_path, surfaces, methods=("padim",)))
    run(request(tmp_path, surfaces, methods=("padim",), map_size="original"))
    small, large = (r["metrics"] for r in sorted(files_of(tmp_path), key=lambda r: r["cell"]["map_size"]))
    assert small["image_auroc"] == large["image_auroc"]
    assert small["pixel_auroc"] != large["pixel_auroc"]
    assert small["pixel_auroc"] == pytest.approx(large["pixel_auroc"], abs=0.05)


def test_damaged_and_foreign_results_are_told_apart(surfaces: Path, tmp_path: Path) -> None:
    run(request(tmp_path, surfaces))
    (path,) = (tmp_path / "cells").rglob("*.json")
    path.write_text(path.read_text()[:100])
    (tmp_path / "cells" / "notes.json").write_text(json.dumps({"hello": 1}))
    assert sorted(type(r).__name__ for _, r in read_results(tmp_path)) == ["EvaluationError", "EvaluationError"]
    assert run(request(tmp_path, surfaces)) == ([DONE], 0)  # a damaged result is no result


def test_other_weights_settings_or_data_are_other_cells(surfaces: Path, tmp_path: Path) -> None:
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


def test_layers_make_cells_for_two_methods_only(surfaces: Path, tmp_path: Path) -> None:
    sets = (("layer1", "layer2"), ("layer2", "layer3"))
    plan = make_plan(request(tmp_path, surfaces, methods=("patchcore", "padim", "panda"), layers=sets))
    assert [(c.method.name, c.method.layers) for c in plan.pending] == [
        ("patchcore", sets[0]), ("patchcore", None), ("padim", sets[0]), ("padim", sets[1]), ("panda", None),
    ]  # fmt: skip
    usual = make_plan(request(tmp_path, surfaces, methods=("patchcore",)))
    assert usual.pending[0].path == plan.pending[1].path  # layers 2 and 3 are PatchCore's own: the same cell


def test_shards_are_disjoint_and_complete(surfaces: Path, tmp_path: Path) -> None:
    options: dict[str, object] = {"methods": ("panda", "padim"), "seeds": (0, 1, 2), "categories": None}
    whole = {c.path for c in make_plan(request(tmp_path, surfaces, **options)).pending}
    shards = [make_plan(request(tmp_path, surfaces, shard=(i, 5), **options)).pending for i in range(5)]
    parts = [{cell.path for cell in shard} for shard in shards]
    assert len(whole) == 60
    assert set.union(*parts) == whole
    assert sum(map(len, parts)) == 60


def test_times_come_from_finished_cells(surfaces: Path, tmp_path: Path) -> None:
    wanted = request(tmp_path, surfaces, seeds=(0, 1))
    (cell, _) = make_plan(wanted).pending
    assert make_plan(wanted).seconds(cell, "cpu") is None
    run(request(tmp_path, surfaces, seeds=(0,)))
    (result,) = files_of(tmp_path)
    assert make_plan(wanted).seconds(cell, "cpu") == result["wall_s"]
    assert make_plan(wanted).seconds(cell, "cuda") is None


BAD: dict[str, dict[str, object]] = {
    "unknown category of surfaces 'gravle'": {"categories": ("gravle",)},
    "no such weights file": {"weights": (WeightsSpec("mine", Path("w.safetensors")),)},
    "use 1 to 12": {"shots": 13},
    "shard 2/2 does not exist": {"shard": (2, 2)},
    "use small, or a number": {"limit": "tiny"},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_requests_are_one_line_before_work_begins(message: str, surfaces: Path, tmp_path: Path) -> None:
    with one_line(message, EvaluationError):
        make_plan(request(tmp_path / "out", surfaces, **BAD[message]))
    assert not (tmp_path / "out").exists()


def test_damaged_data_is_found_before_work_begins(surfaces: Path, tmp_path: Path) -> None:
    shutil.copytree(surfaces, tmp_path / "data")
    path = tmp_path / "data" / "gravel" / "train" / "good" / "002.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(EvaluationError, match=r"002\.png: cannot be read as an image"):
        make_plan(request(tmp_path / "out", tmp_path / "data"))
