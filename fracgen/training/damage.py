"""The objective `damage`: a damaged shot's patches must be far from all patches of a sound one, where it is damaged.

This is PatchCore (Roth et al., CVPR 2022) with one picture in its memory, and a gradient: a patch is the features of
the two middle maps together, each averaged over its neighbours, and its score is the distance to the nearest patch
of the sound shot. Each map must do it alone as well, for methods that look at others. Only the order of a pair's
scores counts: nothing is gained by scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fracgen.training.cells import feature_maps

STRIDES = (4, 8, 16, 32)
"""Pixels a cell, along a side: of the feature maps that are asked."""
MIDDLE = (1, 2)
"""Which of them are PatchCore's."""
ALONE = 0.25
"""Weight of each map by itself; the middle ones together have 1."""
TEMPERATURE = 0.5
"""Of differences of logarithms of squared distances."""
FLOOR = 0.05
"""Added to squared distances, as a share of a pair's mean over sound cells."""
SOUND, DAMAGED = 0.02, 0.15
"""A cell is sound below the first share of damage, and damaged above the second; between them it does not count."""
MOST_CELLS = 16
"""Along a side, of the grid on which cells are compared, each with each; finer ones are averaged."""
COVERED = 3.0
"""A cell counts as wholly damaged when a third of it is: a scratch never covers more."""


class DamageJudge:
    """Listens to a network, and judges the features of its last forward pass."""

    def __init__(self) -> None:
        self._features: list[Tensor] = [torch.empty(0)] * len(STRIDES)

    def listen_to(self, model: nn.Module, size: int) -> None:
        """Hear of every forward pass of a network, [2 B, 3, size, size] to outputs, first shots first.

        Raises:
            ValueError: the network has no feature maps of 4, 8, 16 and 32 pixels a cell.
        """
        for number, (name, _) in enumerate(feature_maps(model, size, STRIDES)):
            model.get_submodule(name).register_forward_hook(self._listener(number))

    def loss(self, damage: Tensor) -> Tensor:
        """The loss of the last pass, for damage float32 [B, H, W] in the second shots. It is forgotten then."""
        together, *alone = (order_loss(scores(maps), damage) for maps in self._views())
        self._features = [torch.empty(0)] * len(STRIDES)
        return together + ALONE * torch.stack(alone).sum()

    def ordered(self, damage: Tensor) -> Tensor:
        """Share of a pair's (sound, damaged) cells in the right order, by the middle maps together: float32 [B].

        It is 0 for a pair whose damage cannot be seen.
        """
        distance = scores(next(iter(self._views())))
        sound, damaged = sound_and_damaged(damage, *distance.shape[1:])
        distance = distance.flatten(1)
        right = (distance[:, :, None] < distance[:, None, :]).float()
        return _weighted(right, sound, damaged)

    def _views(self) -> list[Tensor]:
        maps = [features.float() for features in self._features]
        assert all(x.dim() == 4 for x in maps), "the network has not been run"
        return [neighbourhoods([maps[i] for i in MIDDLE]), *maps]

    def _listener(self, number: int) -> Any:
        def listen(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self._features[number] = output

        return listen


def neighbourhoods(maps: Sequence[Tensor]) -> Tensor:
    """PatchCore's patches: maps [N, C, h, w] averaged over 3 x 3 cells, brought to the first one's size and stacked."""
    smooth = [F.avg_pool2d(x, 3, 1, 1) for x in maps]
    shape = smooth[0].shape[-2:]
    return torch.cat([smooth[0], *(F.interpolate(x, size=shape, mode="bilinear") for x in smooth[1:])], 1)


def scores(maps: Tensor) -> Tensor:
    """Squared distance [B, h, w] of every cell of the second shots to the nearest cell of the first.

    Args:
        maps: [2 B, C, H, W], first shots first; averaged until at most MOST_CELLS are left along a side.
    """
    maps = F.avg_pool2d(maps, -(-maps.shape[-1] // MOST_CELLS))
    first, second = maps.flatten(2).transpose(1, 2).chunk(2)
    squared = second.square().sum(2)[:, :, None] + first.square().sum(2)[:, None] - 2 * second @ first.transpose(1, 2)
    return squared.amin(2).clamp_min(0).reshape(-1, *maps.shape[2:])


def order_loss(distance: Tensor, damage: Tensor) -> Tensor:
    """Mean of softplus((log sound - log damaged) / T) over a pair's cells, then over pairs, of scores [B, h, w]."""
    sound, damaged = sound_and_damaged(damage, *distance.shape[1:])
    distance = distance.flatten(1)
    usual = (distance * sound).sum(1, keepdim=True) / sound.sum(1, keepdim=True).clamp_min(1)
    score = torch.log(distance + FLOOR * usual + torch.finfo(torch.float32).tiny)
    wrong = F.softplus((score[:, :, None] - score[:, None, :]) / TEMPERATURE)
    return _weighted(wrong, sound, damaged).mean()


def sound_and_damaged(damage: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Weights [B, height width] of the sound and of the damaged cells of a grid, for damage [B, H, W]."""
    share = F.adaptive_avg_pool2d(damage[:, None], (height, width)).flatten(1)
    covered = (COVERED * share).clamp(max=1)
    return (covered < SOUND).float(), covered * (covered > DAMAGED)


def _weighted(values: Tensor, sound: Tensor, damaged: Tensor) -> Tensor:
    """Means [B] of values [B, n, n] (sound, damaged); 0 where a pair has none."""
    weight = sound[:, :, None] * damaged[:, None, :]
    return (values * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-3)
