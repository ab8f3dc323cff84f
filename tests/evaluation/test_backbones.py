"""Weights by name: every key style, strict comparison, the right normalisation, no network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.backbones import (
    InputNorm,
    Weights,
    WeightsSpec,
    build_backbone,
    digest_of,
    load_weights,
)
from fracgen_eval.weights.network import IMAGENET
from safetensors.torch import save_file
from torchvision.models import get_model

from tests.malformed import one_line

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(1)
    state: State = get_model("resnet18", weights=None, num_classes=7).state_dict()
    return state


def load(path: Path, input_norm: InputNorm = "checkpoint") -> Weights:
    return load_weights(WeightsSpec("mine", path), "resnet18", input_norm)


STYLES: dict[str, Callable[[State], dict[str, object]]] = {
    "torchvision": lambda s: {**s},
    "without head": lambda s: {k: v for k, v in s.items() if not k.startswith("fc.")},
    "data parallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "lightning": lambda s: {"state_dict": {f"model.{k}": v for k, v in s.items()}, "epoch": 3},
    "lightning and compiled": lambda s: {"state_dict": {f"model._orig_mod.{k}": v for k, v in s.items()}},
    "training script": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}, "optimizer": {"lr": 0.1}},
    "without counters": lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
}


@pytest.mark.parametrize("style", list(STYLES))
def test_every_key_style_gives_the_same_tensors(state: State, tmp_path: Path, style: str) -> None:
    torch.save(STYLES[style](state), tmp_path / "w.pth")
    weights = load(tmp_path / "w.pth")
    network = build_backbone(weights).state_dict()
    for key, tensor in state.items():
        if not key.startswith("fc."):
            assert torch.equal(network[key], tensor), key
    assert (weights.head is None) == (style == "without head")


def test_timm_and_torchvision_features_agree(state: State, tmp_path: Path) -> None:
    save_file(timm.create_model("resnet18", num_classes=7).state_dict() | state, tmp_path / "w.safetensors")
    weights = load(tmp_path / "w.safetensors")
    other = timm.create_model("resnet18", num_classes=0).eval()
    other.load_state_dict(weights.tensors, strict=True)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(other(x), build_backbone(weights)(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer3.1.conv2.weight"), r"w\.safetensors: .*1 missing: layer3\.1\.conv2\.weight"),
        (lambda s: s.update({"neck.weight": torch.zeros(3)}), r"1 extra: neck\.weight"),
        (lambda s: s.update({"conv1.weight": torch.zeros(64, 3, 1, 1)}), r"conv1\.weight is \[64, 3, 1, 1\] instead"),
        (lambda s: s.pop("fc.bias"), r"1 missing: fc\.bias"),
        (lambda s: s.pop("conv1.weight"), "expected the tensors of one resnet18, found none"),
        (lambda s: s.update({f"student.{k}": v.clone() for k, v in s.items()}), "2 networks"),
    ],
)
def test_tensors_that_do_not_match_are_refused(
    state: State, tmp_path: Path, change: Callable[[State], object], message: str
) -> None:
    changed = dict(state)
    change(changed)
    save_file(changed, tmp_path / "w.safetensors")
    with one_line(message, EvaluationError):
        load(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("fc.bias", lambda t: t * math.nan, "tensor {}: 7 of 7 numbers are NaN or infinite"),
        ("layer1.0.conv1.weight", lambda t: t.int(), "1 not of floats: {} is int32"),
    ],
)
def test_numbers_that_no_network_computes_with_are_refused_by_tensor(
    state: State, tmp_path: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    changed = {k: v.half() if v.dim() == 1 else v for k, v in state.items()}
    save_file(changed | {name: change(changed[name])}, tmp_path / "w.safetensors")
    with pytest.raises(EvaluationError, match=re.escape(message.format(name))):
        load(tmp_path / "w.safetensors")


def test_the_averaged_weights_of_a_checkpoint_are_taken_and_said(state: State, tmp_path: Path) -> None:
    averaged = {f"module.{k}": v + 1 for k, v in state.items()}
    torch.save({"arch": "resnet18", "state_dict": state, "state_dict_ema": averaged}, tmp_path / "last.pth.tar")
    weights = load(tmp_path / "last.pth.tar")
    assert torch.equal(weights.tensors["conv1.weight"], state["conv1.weight"] + 1)
    assert weights.sentence().startswith("mine is state_dict_ema of last.pth.tar, ")
    assert weights.describe()["metadata"] == {"part": "state_dict_ema"}


@pytest.mark.parametrize("model", ["tf_efficientnet_lite0", "timm/tf_efficientnet_lite0"])
def test_another_architecture_with_the_same_tensors_is_refused(model: str, tmp_path: Path) -> None:
    save_file(timm.create_model("efficientnet_lite0").state_dict(), tmp_path / "w.safetensors")
    config = {"architecture": "efficientnet_lite0", "pretrained_cfg": {"tag": "in1k"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    spec = WeightsSpec("mine", tmp_path / "w.safetensors")
    assert load_weights(spec, "efficientnet_lite0").metadata["architecture"] == "efficientnet_lite0"
    with pytest.raises(EvaluationError, match=r"weights of efficientnet_lite0, as config\.json beside it says"):
        load_weights(spec, model)


def test_tensors_of_one_name_under_two_prefixes_are_refused(state: State, tmp_path: Path) -> None:
    torch.save({f"model.{k}": v for k, v in state.items()} | {"bn1.bias": state["bn1.bias"]}, tmp_path / "w.pth")
    with pytest.raises(EvaluationError, match=r"w\.pth: holds model\.bn1\.bias and bn1\.bias"):
        load(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4], "are not those of pixels from 0 to 1 .*: divide"),
        ([0, 0, 0], [255, 255, 255], "are not those of pixels"),
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0], "are not those of pixels"),
        ("[NaN, 0, 0]", [1, 1, 1], "mean|no finite number"),
        ([0.5, 0.5], [1, 1, 1], "mean is .* instead of a list of 3"),
        ([0.5, 0.5, 0.5], {"1": 2, "2": 3, "3": 4}, "std is .* instead of a list"),
        ("half", [1, 1, 1], "input-norm imagenet"),
    ],
)
def test_a_normalisation_that_cannot_be_is_refused(
    state: State, tmp_path: Path, mean: object, std: object, message: str
) -> None:
    save_file(state, tmp_path / "w.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": mean, "std": std}}))
    with pytest.raises(EvaluationError, match=message):
        load(tmp_path / "w.safetensors")
    assert load(tmp_path / "w.safetensors", input_norm="imagenet").normalisation == IMAGENET


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_a_file_may_hold_fewer_bits_than_the_network_computes_in(
    kind: torch.dtype, state: State, tmp_path: Path
) -> None:
    save_file({k: v.to(kind) if v.dim() == 4 else v for k, v in state.items()}, tmp_path / "small.safetensors")
    weights = load(tmp_path / "small.safetensors")
    backbone = build_backbone(weights).state_dict()
    assert len(weights.digest) == 16
    assert {v.dtype for v in backbone.values() if v.is_floating_point()} == {torch.float32}
    assert torch.equal(backbone["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"].to(kind).float())


def test_its_own_normalisation_by_default(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "plain.safetensors")
    half = "[0.5, 0.5, 0.5]"
    save_file(state, tmp_path / "own.safetensors", {"mean": half, "std": half, "recipe": "paper"})
    own = load(tmp_path / "own.safetensors")
    assert (own.normalisation.mean, own.norm, own.metadata["recipe"]) == ((0.5, 0.5, 0.5), "file", "paper")
    assert load(tmp_path / "own.safetensors", input_norm="imagenet").normalisation == IMAGENET
    assert load(tmp_path / "plain.safetensors").norm == "imagenet"
    config = {"architecture": "resnet18", "pretrained_cfg": {"mean": [0.2, 0.2, 0.2], "std": [0.5, 0.5, 0.5]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(tmp_path / "plain.safetensors").normalisation.mean == (0.2, 0.2, 0.2)


def test_random_networks_are_those_of_their_seeds_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (load_weights(WeightsSpec.parse(n), "resnet18") for n in ("random", "random", "random-7"))
    build_backbone(first)
    assert torch.equal(torch.rand(3), expected)
    assert first.digest == again.digest != other.digest
    assert (other.source, other.name) == ("torchvision's initialisation, seed 7", "random-7")


def test_digest_sees_one_changed_number(state: State) -> None:
    changed = {k: v.clone() for k, v in state.items()}
    changed["conv1.weight"][0, 0, 0, 0] += 1
    assert digest_of(changed) != digest_of(state)
    assert digest_of(dict(reversed(state.items()))) == digest_of(state)


def test_imagenet_is_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(EvaluationError, match="IMAGENET1K_V1 is not in torch's cache, and nothing is downloaded"):
        load_weights(WeightsSpec.parse("imagenet"), "wide_resnet50_2")
    with pytest.raises(EvaluationError, match="no IMAGENET1K_V2"):
        load_weights(WeightsSpec.parse("imagenet-v2"), "resnet18")


def test_a_damaged_imagenet_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(state, tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    with pytest.raises(EvaluationError, match=r"begins with .* instead of f37072fd"):
        load_weights(WeightsSpec.parse("imagenet"), "resnet18")


@pytest.mark.parametrize(
    ("text", "message"),
    [*((text, "weights") for text in ("imagnet", "=x", "a/b=x", "a=", "../a=x")),
     *((text, "unknown weights|is a random network") for text in ("random-0", "random-01", "random-x", "random-7=w"))],
)  # fmt: skip
def test_bad_names_are_refused(text: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        WeightsSpec.parse(text)
