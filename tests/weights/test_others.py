"""Networks that others trained on fractals, in files as they publish them, become rows as docs/weights.md says."""

from __future__ import annotations

import argparse
import re
import runpy
import sys
from pathlib import Path

import pytest
import timm
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.backbones import Weights, WeightsSpec, build_backbone, load_weights
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "weights.md").read_text()


def fresh(model: str) -> dict[str, torch.Tensor]:
    """The tensors of a network with a classifier of 10 classes."""
    torch.manual_seed(3)
    made: dict[str, torch.Tensor] = timm.create_model(model, num_classes=10).state_dict()
    return made


def check(weights: Weights, state: dict[str, torch.Tensor]) -> None:
    """They are the network's tensors, and the network's own has them."""
    assert weights.head is not None
    built = build_backbone(weights).state_dict() | weights.head
    assert all(torch.equal(built[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("model", ["resnet50", "deit_tiny_patch16_224"])
def test_fdsml(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"| `{model}` |" in PAGE
    monkeypatch.chdir(tmp_path)
    state = fresh(model)
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    torch.save({"model": wrapped, "epoch": 90, "args": argparse.Namespace(lr=0.1)}, "published.pth")
    with pytest.raises(EvaluationError) as refused:
        load_weights(WeightsSpec.parse("fdsml=published.pth"), model)
    exec(str(refused.value).split('python -c "')[1].removesuffix('"'), {})
    check(load_weights(WeightsSpec.parse("fdsml=tensors.pth"), model), state)
    torch.save(torch.load("tensors.pth") | {"module.projector.weight": torch.ones(3)}, "projected.pth")
    with pytest.raises(EvaluationError, match=r"1 extra: projector\.weight"):
        load_weights(WeightsSpec.parse("fdsml=projected.pth"), model)


THEIRS = {
    "patch_embed.proj": "swin.embeddings.patch_embeddings.projection", "patch_embed.norm": "swin.embeddings.norm",
    "norm": "swin.layernorm", "head.fc": "classifier", "norm1": "layernorm_before", "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense", "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
    "attn": "attention.self",
}  # fmt: skip
"""Transformers' names of the modules of a Swin, by timm's."""


def as_transformers(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's Swin as Transformers' SwinForImageClassification names it: three tensors for one, and what merges patches
    at the end of a stage rather than at the beginning of the next."""
    found = {}
    for name, tensor in state.items():
        found_in = re.fullmatch(r"layers\.(\d)\.(?:blocks\.(\d+)|downsample)\.(.+)", name)
        module, _, kind = (found_in[3] if found_in else name).rpartition(".")
        if found_in is None:
            found[f"{THEIRS[module]}.{kind}"] = tensor
        elif found_in[2] is None:
            found[f"swin.encoder.layers.{int(found_in[1]) - 1}.downsample.{module}.{kind}"] = tensor
        else:
            block = f"swin.encoder.layers.{found_in[1]}.blocks.{found_in[2]}."
            if module == "attn.qkv":
                parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
                found |= {f"{block}attention.self.{part}.{kind}": one.clone() for part, one in parts}
            else:
                found[f"{block}{THEIRS[module]}.{kind}"] = tensor
    return found | {"swin.encoder.layers.0.blocks.0.attention.self.relative_position_index": torch.zeros(49, 49).long()}


def test_mitsua(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    state = fresh("swin_tiny_patch4_window7_224")
    save_file(as_transformers(state), "model.safetensors")
    monkeypatch.setattr(sys, "argv", ["swin_names.py", "model.safetensors", "swin.safetensors"])
    runpy.run_path(str(ROOT / "examples" / "swin_names.py"))
    check(load_weights(WeightsSpec.parse("mitsua=swin.safetensors"), "swin_tiny_patch4_window7_224"), state)
