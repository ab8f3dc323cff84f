"""All eight methods on five kinds of network, as `fracgen eval run --limit small` runs them on `surfaces`: each on
exactly the file's tensors, before it is fitted and after. The quickest method on two networks always, the others as a
study; `test_networks.py` fits all methods on these networks without a grid."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fracgen_eval.grid import measure
from fracgen_eval.grid.result import DONE, CellResult
from fracgen_eval.grid.results import read_results
from fracgen_eval.methods import METHODS, Method, build_method
from fracgen_eval.weights.backbones import WeightsSpec
from fracgen_eval.weights.network import network
from safetensors.torch import load_file, save_file

from tests.evaluation.grids import request, run

MODELS = ("resnet18", "tf_efficientnet_lite0", "convnext_atto", "regnety_002", "mobilenetv3_small_050")
QUICK = (("panda", "resnet18"), ("panda", "convnext_atto"))
CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.study) for case in itertools.product(METHODS, MODELS)
]


@pytest.mark.parametrize(("name", "model"), CASES)
def test_a_small_run_holds_exactly_the_files_tensors(
    model: Any, name: str, surfaces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.safetensors"
    built: list[tuple[Method, dict[str, torch.Tensor]]] = []
    torch.manual_seed(11)
    save_file(timm.create_model(model, num_classes=7).state_dict(), path)
    file = load_file(path)

    def build(*arguments: Any, **options: Any) -> Any:
        method = build_method(*arguments, **options)
        built.append((method, {key: tensor.clone() for key, tensor in method.frozen().items()}))
        return method

    monkeypatch.setattr(measure, "build_method", build)
    wanted = request(
        tmp_path / "out", surfaces, methods=(name,), model=model, weights=(WeightsSpec("mine", path),), limit="small",
        overrides={},
    )  # fmt: skip
    assert run(wanted) == ([DONE], 0)
    ((_, result),) = read_results(tmp_path / "out")
    assert isinstance(result, CellResult)
    assert all(math.isfinite(value) for value in result.metrics.values())
    ((method, before),) = built
    after = method.frozen()
    assert set(before) == set(after) <= set(file)
    assert network(model).first in before
    for key in before:
        assert torch.equal(before[key], file[key]), key
        assert torch.equal(after[key], file[key]), key
