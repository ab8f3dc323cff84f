"""PANDA against a direct computation, and what its variants may and may not change."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
import torch
from fracgen_eval.methods import build_method, settings_for
from fracgen_eval.weights.backbones import WeightsSpec, load_weights
from torchvision.models import get_model


@pytest.fixture(scope="module")
def weights() -> Any:
    return load_weights(WeightsSpec.parse("random"), "resnet18")


def pictures(number: Any, seed: int = 0) -> Any:
    return torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def settings(**changes: Any) -> Any:
    return settings_for("panda", overrides={"resize": 32, "crop": 32} | changes)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_scores_equal_a_direct_computation(weights: Any, k: Any) -> None:
    method: Any = build_method("panda", weights, settings(k=k))
    train, test = pictures(9), pictures(5, seed=1)
    method.fit(train)
    network = get_model("resnet18", weights=None)
    network.load_state_dict(weights.tensors, strict=False)
    network.fc = torch.nn.Identity()
    network.eval()

    def features(images: Any) -> Any:
        mean, std = (np.float32(values).reshape(3, 1, 1) for values in astuple(weights.normalisation))
        x = (images.numpy().astype(np.float32) / 255 - mean) / std
        with torch.no_grad():
            return network(torch.from_numpy(x)).numpy().astype(np.float64)

    bank, judged = features(train), features(test)
    squared = ((judged[:, None] - bank[None]) ** 2).sum(2)
    expected = np.sort(squared, axis=1)[:, :k].sum(1)
    assert method.predict(test).scores == pytest.approx(expected, rel=1e-5)
    assert method.predict(test).maps is None


def test_a_training_image_has_its_neighbour_as_only_distance(weights: Any) -> None:
    method: Any = build_method("panda", weights, settings(k=1))
    method.fit(pictures(6))
    assert method.predict(pictures(6), batch=6).scores == pytest.approx(np.zeros(6), abs=1e-6)


def test_early_changes_the_last_two_stages_alone_and_never_the_running_statistics(weights: Any) -> None:
    method: Any = build_method("panda", weights, settings(variant="early", max_steps=3, lr=100.0))
    facts = method.fit(pictures(9))
    assert facts["steps"] == 3
    changed = {k for k, v in method.network.state_dict().items() if not torch.equal(v, weights.tensors[k])}
    assert changed
    assert all(k.startswith(("layer3.", "layer4.")) for k in changed)
    assert not any("running" in k for k in changed)
    assert not any(k.startswith(("layer3.", "layer4.")) for k in method.frozen())


def test_early_makes_normal_features_more_compact(weights: Any) -> None:
    def spread(method: Any) -> Any:
        features = method._features(pictures(12), 12)
        return ((features - features.mean(0)) ** 2).mean().item()

    plain = build_method("panda", weights, settings())
    early = build_method("panda", weights, settings(variant="early", max_steps=6, clip=100.0))
    early.fit(pictures(12))
    assert spread(early) < 0.9 * spread(plain)
