"""Objectives: the loss and the score of a network's outputs and feature maps.

`damage` is PatchCore (Roth et al., CVPR 2022) with one picture in its memory, and a gradient: a damaged shot's patches
must be far from all patches of a sound one, where it is damaged. A patch is the features of the two middle maps
together, each averaged over its neighbours, and its score is the distance to the nearest patch of the sound shot. Each
map must do it alone as well, for methods that look at others. Only the order of a pair's scores counts: nothing is
gained by scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fracgen.training.config import Config

PAIR_OUTPUTS = 128
"""Dimensions of the embedding in which pairs are compared; the network's last layer makes it."""
PAIR_TEMPERATURE = 0.1
STRIDES = (4, 8, 16, 32)
"""Pixels a cell, along a side: of the feature maps that `damage` looks at."""
MIDDLE = (1, 2)
"""Which of them are PatchCore's."""
ALONE = 0.25
"""Weight of each map by itself; the middle ones together have 1."""
TEMPERATURE = 0.5
"""Of differences of logarithms of squared distances."""
FLOOR = 0.05
"""Added to squared distances, as a share of a pair's mean over sound cells."""
HARD = 2
"""Power of its squared distance by which a sound cell counts."""
SOUND, DAMAGED = 0.02, 0.15
"""A cell is sound below the first share of damage, and damaged above the second; between them it does not count."""
MOST_CELLS = 16
"""Along a side, of the grid on which cells are compared, each with each; finer ones are averaged."""
COVERED = 3.0
"""A cell counts as wholly damaged when a third of it is: a scratch never covers more."""

Judge = Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]
"""A function of outputs [N, outputs], feature maps [N, C, h, w] and a target; for pairs and twins N is 2 B, first
views first."""


@dataclass(frozen=True)
class Objective:
    """What a network is trained to tell."""

    name: str
    outputs: int
    """Width of the network's last layer."""
    loss: Judge
    """A scalar."""
    score: Judge
    """bool [B]: whether each image was classified correctly; or float32 [B], to what share."""
    measure: str
    """Name of the mean score, in words."""
    _: KW_ONLY
    target: int = 1
    """Which of a batch's tensors is the target: its labels, or (2) where its pictures are damaged."""
    strides: tuple[int, ...] = ()
    """Of the feature maps that loss and score look at in place of the outputs, in pixels a cell."""


def objective_of(config: Config, classes: int) -> Objective:
    """The objective of a configuration, for a bank of so many classes."""
    if config.task == "damage":
        return Objective(
            "damage", PAIR_OUTPUTS, damage_loss, damage_score,
            "how often a damaged place differs more between two shots than a sound one", target=2, strides=STRIDES,
        )  # fmt: skip
    if config.task == "pairs":
        return Objective("pairs", PAIR_OUTPUTS, pair_loss, pair_score, "nearest neighbour in the batch is the pair")
    if config.task == "several":
        return Objective(
            "several classes", classes, lambda logits, _, present: F.binary_cross_entropy_with_logits(logits, present),
            lambda logits, _, present: present.gather(1, logits.argmax(1, keepdim=True))[:, 0] > 0,
            "top-1 is one of the classes present",
        )  # fmt: skip
    return Objective(
        "one class", classes,
        lambda logits, _, labels: F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing),
        lambda logits, _, labels: logits.argmax(1) == labels, "top-1",
    )  # fmt: skip


def images_of_pairs(images: Tensor) -> Tensor:
    """Pairs [B, 2, 3, H, W] as images [2 B, 3, H, W], first views first; anything else as it is."""
    return images if images.dim() == 4 else torch.cat((images[:, 0], images[:, 1]))


def pair_loss(embedding: Tensor, maps: Sequence[Tensor], labels: Tensor) -> Tensor:
    """NT-Xent (Chen et al., "A simple framework for contrastive learning", 2020, equation 1) over this
    process's pairs: of all other images, an image's pair should be the most similar."""
    similarity, pair = _similarity(embedding.float())
    return F.cross_entropy(similarity / PAIR_TEMPERATURE, pair)


def pair_score(embedding: Tensor, maps: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Whether the most similar other image of a first view is its second: bool [B]."""
    similarity, pair = _similarity(embedding.float())
    return (similarity.argmax(1) == pair)[: len(labels)]


def damage_loss(outputs: Tensor, maps: Sequence[Tensor], damage: Tensor) -> Tensor:
    """Loss of feature maps of STRIDES, for damage float32 [B, H, W] in the second shots. Outputs do not count."""
    maps = [x.float() for x in maps]
    together, *alone = (order_loss(distances(x), damage) for x in (_middle(maps), *maps))
    return together + ALONE * torch.stack(alone).sum()


def damage_score(outputs: Tensor, maps: Sequence[Tensor], damage: Tensor) -> Tensor:
    """Share of a pair's (sound, damaged) cells in the right order, by the middle maps together: float32 [B].

    It is 0 for a pair whose damage cannot be seen.
    """
    distance = distances(_middle([x.float() for x in maps]))
    sound, damaged = sound_and_damaged(damage, *distance.shape[1:])
    distance = distance.flatten(1)
    right = (distance[:, :, None] < distance[:, None, :]).float()
    return _weighted(right, sound, damaged)


def neighbourhoods(maps: Sequence[Tensor]) -> Tensor:
    """PatchCore's patches: maps [N, C, h, w] averaged over 3 x 3 cells, brought to the first one's size and stacked."""
    smooth = [F.avg_pool2d(x, 3, 1, 1) for x in maps]
    shape = smooth[0].shape[-2:]
    return torch.cat([smooth[0], *(F.interpolate(x, size=shape, mode="bilinear") for x in smooth[1:])], 1)


def distances(maps: Tensor) -> Tensor:
    """Squared distance [B, h, w] of every cell of the second shots to the nearest cell of the first.

    Args:
        maps: [2 B, C, H, W], first shots first; averaged until at most MOST_CELLS are left along a side.
    """
    maps = F.avg_pool2d(maps, -(-maps.shape[-1] // MOST_CELLS))
    first, second = maps.flatten(2).transpose(1, 2).chunk(2)
    squared = second.square().sum(2)[:, :, None] + first.square().sum(2)[:, None] - 2 * second @ first.transpose(1, 2)
    return squared.amin(2).clamp_min(0).reshape(-1, *maps.shape[2:])


def order_loss(distance: Tensor, damage: Tensor) -> Tensor:
    """Mean of softplus((log sound - log damaged) / T) over a pair's cells, then over pairs, of distances [B, h, w].

    Sound cells count by HARD, as what is furthest from the memory decides on a picture.
    """
    sound, damaged = sound_and_damaged(damage, *distance.shape[1:])
    distance = distance.flatten(1)
    usual = (distance * sound).sum(1, keepdim=True) / sound.sum(1, keepdim=True).clamp_min(1)
    score = torch.log(distance + FLOOR * usual + torch.finfo(torch.float32).tiny)
    wrong = F.softplus((score[:, :, None] - score[:, None, :]) / TEMPERATURE)
    hard = sound * distance.detach() ** HARD
    hard = hard / hard.mean(1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return _weighted(wrong, hard, damaged).mean()


def sound_and_damaged(damage: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Weights [B, height width] of the sound and of the damaged cells of a grid, for damage [B, H, W]."""
    share = F.adaptive_avg_pool2d(damage[:, None], (height, width)).flatten(1)
    covered = (COVERED * share).clamp(max=1)
    return (covered < SOUND).float(), covered * (covered > DAMAGED)


def _middle(maps: Sequence[Tensor]) -> Tensor:
    return neighbourhoods([maps[i] for i in MIDDLE])


def _similarity(embedding: Tensor) -> tuple[Tensor, Tensor]:
    z = F.normalize(embedding, dim=1)
    count = len(z)
    same = torch.eye(count, dtype=torch.bool, device=z.device)
    pair = torch.arange(count, device=z.device).roll(count // 2)
    return (z @ z.T).masked_fill(same, -torch.inf), pair


def _weighted(values: Tensor, sound: Tensor, damaged: Tensor) -> Tensor:
    """Means [B] of values [B, n, n] (sound, damaged); 0 where a pair has none."""
    weight = sound[:, :, None] * damaged[:, None, :]
    return (values * weight).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-3)
