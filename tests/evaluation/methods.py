"""What tests of methods share: settings that take a moment, pictures, weights, and methods of a known class."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TypeVar

import torch
from fracgen_eval.methods import Method, build_method
from fracgen_eval.methods.base import Layers, Table
from fracgen_eval.weights.backbones import Weights, WeightsSpec, load_weights

M = TypeVar("M")
SMALL: dict[str, Table] = {
    "fastflow": {"image_size": 64, "epochs": 2, "flow_steps": 2},
    "cflow": {"image_size": 64, "epochs": 1, "fiber_batch": 256, "blocks": 2},
    "patchcore": {"image_size": 64},
    "padim": {"image_size": 64, "features": 20},
    "rd": {"image_size": 64, "epochs": 2},
    "stfpm": {"image_size": 64, "epochs": 2},
    "panda": {"resize": 64, "crop": 64},
    "cutpaste": {"image_size": 64, "steps": 2, "frozen_steps": 1, "batch": 4},
    "anomalib:cfa": {"image_size": 64, "epochs": 2, "batch": 4},
    "anomalib:dfm": {"image_size": 64, "pooling_kernel_size": 2},
    "anomalib:dfkde": {"image_size": 64, "n_pca_components": 3},
}
"""The eight, and those of Anomalib's others that are held to the same tests."""


def pictures(number: int, seed: int = 0, side: int = 64) -> torch.Tensor:
    """Noise on a ramp, uint8 [number, 3, side, side]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (number, 3, side, side), dtype=torch.uint8, generator=generator)
    return noise // 2 + torch.arange(side).to(torch.uint8)


@functools.cache
def random_weights(model: str = "resnet18") -> Weights:
    """A random network's weights, drawn once."""
    return load_weights(WeightsSpec("random"), model)


def made(
    kind: type[M], name: str, weights: Weights, settings: Mapping[str, object], *, layers: Layers | None = None,
    protocol: str = "honest", seed: int = 0,
) -> M:  # fmt: skip
    """A method of the class that it is known to have."""
    method = build_method(name, weights, settings, layers=layers, protocol=protocol, seed=seed)
    assert isinstance(method, kind)
    return method


def check_frozen(method: Method, weights: Weights, number: int, side: int = 64) -> Table:
    """Fit on so many pictures: before and after, the frozen network holds exactly the file's tensors.

    Returns:
        The facts of the fit.
    """
    before = method.frozen()
    facts = method.fit(pictures(number, side=side))
    after = method.frozen()
    assert set(before) == set(after)
    assert weights.network.first in after
    for key, tensor in before.items():
        assert torch.equal(tensor, weights.tensors[key]), key
        assert torch.equal(after[key], weights.tensors[key]), key
    judged = method.predict(pictures(2, seed=1, side=side))
    assert judged.scores.std() > 0
    if judged.maps is not None:
        assert judged.maps.shape == (2, side, side)
        assert judged.maps.std() > 0
    return facts
