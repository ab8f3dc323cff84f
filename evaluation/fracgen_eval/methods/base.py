"""What a method is to the grid: fit on normal images, then a score per image and a map per pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.images import Geometry
from fracgen_eval.weights.backbones import Weights

PREDICT_BATCH = 16


@dataclass(frozen=True)
class Prediction:
    """What a method says about N images; higher is more anomalous, units are the method's own."""

    scores: NDArray[np.float32]
    """[N]."""
    maps: NDArray[np.float32] | None = None
    """[N, side, side]; None from methods that judge whole images."""
    beside: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """Scores [N] of variants to be reported beside the method, by name."""


@dataclass(frozen=True)
class Watch:
    """Test images to look at after each epoch: the `paper` protocol's early stopping, which is leakage."""

    images: Any
    """uint8 [N, 3, side, side]."""
    score: Callable[[Prediction], float]
    """The number to be made large, such as pixel AUROC."""


class Method(Protocol):
    """An anomaly detection method with a backbone of known weights."""

    geometry: Geometry
    weights: Weights

    def fit(self, images: Any, watch: Watch | None = None) -> dict[str, Any]:
        """Fit on normal images, uint8 [N, 3, side, side]; returns facts to record, such as epochs run."""

    def predict(self, images: Any, batch: int = PREDICT_BATCH) -> Prediction:
        """Judge images, uint8 [N, 3, side, side]."""

    def frozen(self) -> dict[str, Any]:
        """The pre-trained tensors in use that fitting never changes, with the weights file's names."""

    def state(self) -> dict[str, Any]:
        """Every tensor that `restore` needs to judge alike, on the CPU."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a fitted state."""


def batches(images: Any, size: int) -> Iterator[Any]:
    """Consecutive parts of at most `size` images."""
    for start in range(0, len(images), size):
        yield images[start : start + size]


def normalised(images: Any, weights: Weights, device: str) -> Any:
    """float32 [B, 3, H, W] on the device, as the backbone saw its training images."""
    import torch

    mean = torch.tensor(weights.normalisation.mean, device=device)[:, None, None]
    std = torch.tensor(weights.normalisation.std, device=device)[:, None, None]
    return (images.to(device).float() / 255 - mean) / std


def on_cpu(tensors: dict[str, Any]) -> dict[str, Any]:
    """Copies of tensors on the CPU."""
    return {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
