"""PANDA against a direct computation, and what its variants may and may not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fracgen_eval.methods.base import normalised
from fracgen_eval.methods.panda import Panda
from torchvision.models import get_model

from tests.evaluation.methods import made, random_weights


def panda(**changes: object) -> Panda:
    return made(Panda, "panda", random_weights(), {"resize": 32, "crop": 32} | changes)


def images(number: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_scores_equal_a_direct_computation(k: int) -> None:
    method, train, test = panda(k=k), images(9), images(5, seed=1)
    method.fit(train)
    network = get_model("resnet18", weights=None)
    network.load_state_dict(random_weights().tensors, strict=False)
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        bank, judged = (network.eval()(normalised(x, method.weights, "cpu")).double().numpy() for x in (train, test))
    squared = ((judged[:, None] - bank[None]) ** 2).sum(2)
    expected = np.sort(squared, axis=1)[:, :k].sum(1)
    assert method.predict(test).scores == pytest.approx(expected, rel=1e-5)
    assert method.predict(test).maps is None


def test_early_changes_the_last_two_stages_alone_and_never_the_running_statistics() -> None:
    method, weights = panda(variant="early", max_steps=3, lr=100.0), random_weights()
    assert method.fit(images(9))["steps"] == 3
    changed = {k for k, v in method.network.state_dict().items() if not torch.equal(v, weights.tensors[k])}
    assert changed
    assert all(k.startswith(("layer3.", "layer4.")) for k in changed)
    assert not any("running" in k for k in changed)
    assert not any(k.startswith(("layer3.", "layer4.")) for k in method.frozen())


def test_early_makes_normal_features_more_compact() -> None:
    def spread(method: Panda) -> float:
        features = method._features(images(12), 12)
        return float(((features - features.mean(0)) ** 2).mean())

    early = panda(variant="early", max_steps=6, clip=100.0)
    early.fit(images(12))
    assert spread(early) < 0.9 * spread(panda())
