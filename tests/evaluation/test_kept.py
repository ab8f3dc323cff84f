"""Features of a frozen network are computed once, and are those of the network."""

from __future__ import annotations

import pytest
import torch
from fracgen_eval.methods.engine import AnomalibMethod
from fracgen_eval.methods.kept import KEPT_BYTES, kept_features
from fracgen_eval.weights.network import create

from tests.evaluation.methods import SMALL, made, random_weights
from tests.evaluation.methods import pictures as bytes_of

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
    small = SMALL[name] | {"epochs": 2, "batch": 3} | ({"fiber_batch": 48} if name == "cflow" else {})
    images = bytes_of(6)
    scores, pictures_run = [], []
    for limit in (KEPT_BYTES, 0):
        monkeypatch.setattr("fracgen_eval.methods.engine.kept_features", lambda net, n=limit: kept_features(net, n))
        method = made(AnomalibMethod, name, random_weights(), small, seed=3)
        seen: list[int] = []
        method.network.get_submodule("conv1").register_forward_pre_hook(lambda _, i, seen=seen: seen.append(len(i[0])))
        method.fit(images)
        pictures_run.append(sum(seen))
        scores.append(torch.from_numpy(method.predict(images[:2]).scores))
    assert pictures_run == [6, 12]
    torch.testing.assert_close(*scores, rtol=1e-3, atol=0)
