"""What a grid consists of, how long it will take, and what is refused before work begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.plan import make_plan
from fracgen_eval.weights.backbones import WeightsSpec
from safetensors.torch import save_file
from torchvision.models import get_model

from tests.evaluation.grids import QUICK, request, run
from tests.evaluation.results import files_of


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
    options = {"methods": ("panda", "padim"), "seeds": (0, 1, 2), "categories": None}
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


BAD: dict[str, tuple[dict[str, Any], str]] = {
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
    "gone variant": ({"overrides": {"panda": {"variant": "ewc"}}}, "is gone: use 'early' or 'dn2'"),
    "no such stage": ({"methods": ("patchcore",), "model": "levit_128s"}, "levit_128s has no layer 'layer2'"),
    "not its size": ({"methods": ("panda",), "model": "beit_base_patch16_224"}, "of 64 x 64 px .* set 224 px with"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_requests_are_one_line_before_work_begins(case: Any, surfaces: Path, tmp_path: Path) -> None:
    changes, message = BAD[case]
    with pytest.raises(EvaluationError, match=message) as caught:
        make_plan(request(tmp_path / "out", surfaces, **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_damaged_data_is_found_before_work_begins(surfaces: Path, tmp_path: Path) -> None:
    shutil.copytree(surfaces, tmp_path / "data")
    path = tmp_path / "data" / "gravel" / "train" / "good" / "002.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(EvaluationError, match=r"002\.png: cannot be read as an image"):
        make_plan(request(tmp_path / "out", tmp_path / "data"))
