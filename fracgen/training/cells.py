"""The dense part of an objective: the class that covers each cell of two middle feature maps.

Anomaly detection methods look at patches, through a network's middle layers. So these are trained to
tell, at every place, which class's attractor covers it, or that none does. Mixed images
(`fracgen.loading.augment`) show attractors of two classes, each where its map says.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (8, 16)
"""Pixels a cell, along a side: of the feature maps that are asked."""


class CellClassifier(nn.Module):
    """One linear classifier for each of a network's feature maps of 8 and of 16 pixels a cell.

    It listens to the network: after a forward pass in training, `loss` asks about that pass's features.

    Args:
        model: the network, [B, 3, size, size] to outputs.
        classes: how many there are; class 0 of a cell is "no attractor".
        size: side of the images, in pixels.
        seed: decides the first weights.

    Raises:
        ValueError: the network has no such feature maps.
    """

    def __init__(self, model: nn.Module, classes: int, size: int, seed: int) -> None:
        super().__init__()
        stages = feature_maps(model, size, STRIDES)
        torch.manual_seed(seed)
        self.heads = nn.ModuleList(nn.Conv2d(channels, classes + 1, 1) for _, channels in stages)
        self._features: list[Tensor | None] = [None] * len(stages)
        for number, (name, _) in enumerate(stages):
            model.get_submodule(name).register_forward_hook(self._listener(number))

    def loss(self, maps: Tensor) -> Tensor:
        """Mean cross-entropy over cells and feature maps, of the class at each cell's centre: maps int64 [B, H, W]."""
        total = torch.zeros((), device=maps.device)
        for number, (head, features) in enumerate(zip(self.heads, self._features, strict=True)):
            assert features is not None, "the network has not been run"
            with torch.autocast(features.device.type, features.dtype, enabled=features.dtype != torch.float32):
                logits = head(features)
            total = total + F.cross_entropy(logits.float(), at_centres(maps, logits.shape[-2:]))
            self._features[number] = None
        return total / len(self.heads)

    def _listener(self, number: int) -> Any:
        def listen(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            if torch.is_grad_enabled():
                self._features[number] = output

        return listen


def at_centres(maps: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Maps [B, H, W] at the centres of a grid of cells: [B, *shape]."""
    rows, columns = (
        ((torch.arange(cells, device=maps.device) * 2 + 1) * pixels) // (2 * cells)
        for cells, pixels in zip(shape, maps.shape[1:], strict=True)
    )
    return maps[:, rows[:, None], columns]


def feature_maps(model: nn.Module, size: int, strides: tuple[int, ...]) -> list[tuple[str, int]]:
    """Name and channels of the last stages whose outputs have so many pixels a cell.

    timm's networks say what their stages are; of others it is the last module with such an output.

    Raises:
        ValueError: there is none.
    """
    stages = {entry["reduction"]: (entry["module"], entry["num_chs"]) for entry in getattr(model, "feature_info", [])}
    if set(strides) <= set(stages):
        return [stages[stride] for stride in strides]
    parts: dict[int, tuple[str, int]] = {}
    twin: Any = copy.deepcopy(model).to("meta").eval()
    for name, part in twin.named_modules():

        def note(_module: nn.Module, _inputs: Any, output: Any, name: str = name) -> None:
            if torch.is_tensor(output) and output.dim() == 4 and output.shape[2] == output.shape[3]:
                for stride in strides:
                    if output.shape[2] == -(-size // stride):
                        parts[stride] = (name, int(output.shape[1]))

        part.register_forward_hook(note)
    with torch.no_grad():
        twin(torch.empty(2, 3, size, size, device="meta"))
    if set(parts) != set(strides):
        raise ValueError(
            f"objectives dense and damage ask feature maps of {', '.join(map(str, strides))} pixels a cell, and this "
            "network has none of some: use a convolutional network, or another objective"
        )
    return [parts[stride] for stride in strides]
