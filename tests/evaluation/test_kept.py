"""Features of a frozen network are computed once, and are those of the network."""

from __future__ import annotations

import pytest
import torch
from fracgen_eval.methods import build_method, settings_for
from fracgen_eval.methods.engine import AnomalibMethod
from fracgen_eval.methods.kept import KEPT_BYTES, kept_features
from fracgen_eval.weights.backbones import WeightsSpec, load_weights
from fracgen_eval.weights.network import create

MAP_BYTES = 4 * (64 * 8 * 8 + 128 * 4 * 4)  # of an image of 32 px, in the two stages that are taken


def pictures(number: int) -> torch.Tensor:
    return torch.rand(number, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network() -> tuple[torch.nn.Module, list[int]]:
    """A network, and the sizes of the batches in which it ran."""
    net: torch.nn.Module = create("resnet18", features_only=True, out_indices=(1, 2)).requires_grad_(False).eval()
    sizes: list[int] = []
    net.get_submodule("conv1").register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return net, sizes


def test_each_picture_runs_once_and_in_its_place(network: tuple[torch.nn.Module, list[int]]) -> None:
    net, sizes = network
    images = pictures(6)
    expected = net(images)
    sizes.clear()
    with kept_features(net):
        for order in ([0, 1, 2, 3], [3, 0, 2, 1], [5, 1, 4, 0], [2, 2, 5, 5]):
            for found, wanted in zip(net(images[order]), expected, strict=True):
                torch.testing.assert_close(found, wanted[order])
    assert sizes == [4, 2]
    net(images)
    assert sizes == [4, 2, 6]  # nothing is kept afterwards


def test_a_limit_keeps_some(network: tuple[torch.nn.Module, list[int]]) -> None:
    net, sizes = network
    images = pictures(5)
    with kept_features(net, limit=3 * MAP_BYTES + 1):
        first = net(images)
        for found, wanted in zip(net(images), first, strict=True):
            torch.testing.assert_close(found, wanted)
    assert sizes == [5, 2]


def test_a_network_that_trains_runs_each_time(network: tuple[torch.nn.Module, list[int]]) -> None:
    net, sizes = network
    with kept_features(net.train()):
        net(pictures(2))
        net(pictures(2))
    assert sizes == [2, 2]


@pytest.mark.parametrize("name", ["stfpm", "rd", "fastflow", "cflow"])
def test_training_for_epochs_ends_as_without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = load_weights(WeightsSpec.parse("random"), "resnet18")
    small = {"image_size": 64, "epochs": 2, "batch": 3} | ({"fiber_batch": 48, "blocks": 1} if name == "cflow" else {})
    images = torch.randint(0, 256, (6, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scores, pictures_run = [], []
    for limit in (KEPT_BYTES, 0):
        monkeypatch.setattr("fracgen_eval.methods.engine.kept_features", lambda net, n=limit: kept_features(net, n))
        method = build_method(name, weights, settings_for(name, overrides=small), seed=3)
        assert isinstance(method, AnomalibMethod)
        seen: list[int] = []
        method.network.get_submodule("conv1").register_forward_pre_hook(lambda _, i, seen=seen: seen.append(len(i[0])))
        method.fit(images)
        pictures_run.append(sum(seen))
        scores.append(torch.from_numpy(method.predict(images[:2]).scores))
    assert pictures_run == [6, 12]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=0)
