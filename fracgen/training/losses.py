"""Objectives: the loss and the score of a network's outputs and feature maps.

`damage` is PatchCore (Roth et al., CVPR 2022) with a gradient. Each shot of a ground is judged in turn, and the
sound patches of the others are the memory: where the shot is damaged its patches must be far from all of these. A
patch is the features of the two middle maps together, each averaged over its neighbours, and its score is the distance
to the nearest one in the memory. Each map must do it alone as well, for methods that look at others. Only the order of
a shot's scores counts: nothing is gained by scale.

`codes` knows the fractals: how far two pictures' features lie apart is to follow how far their codes do, as in
parameter-aware triplet losses (FDSML, arXiv 2610.39423). Of three pictures the one with the nearer code must lie
nearer, the more so the more the codes differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fracgen.formulas.files import Bank
from fracgen.formulas.ifs.bank import CodeBank
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

MARGIN = 0.5
"""By which features must lie further apart for each unit of codes, whose mean distance is 1."""

Judge = Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]
"""A function of outputs [N, outputs], feature maps [N, C, h, w] and a target; for pairs N is 2 B, first views first;
for twins B times the shots, all first ones first."""


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
    """Of the feature maps that loss and score look at, in pixels a cell."""
    reads_outputs: bool = True
    """Whether they look at the outputs as well."""


def objective_of(config: Config, bank: Bank) -> Objective:
    """The objective of a configuration, for its bank."""
    classes = bank.classes
    if config.task == "codes" or config.code_weight:
        return _of_codes(config, torch.from_numpy(coordinates(bank)))
    if config.task == "damage":
        return Objective(
            "damage", PAIR_OUTPUTS, damage_loss, damage_score,
            "how often a damaged place differs more from the other shots than a sound one", target=2, strides=STRIDES,
            reads_outputs=False,
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


def _of_codes(config: Config, codes: Tensor) -> Objective:
    """The objective `codes`, or the class with it beside."""
    weight = config.code_weight

    def loss(logits: Tensor, maps: Sequence[Tensor], labels: Tensor) -> Tensor:
        apart = code_loss(pooled(maps), codes.to(labels.device)[labels])
        if not weight:
            return apart
        return F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing) + weight * apart

    if weight:
        return Objective("one class, and codes", len(codes), loss, lambda logits, _, labels: logits.argmax(1) == labels,
                         "top-1", strides=STRIDES[-1:])  # fmt: skip
    return Objective(
        "codes", len(codes), loss, lambda _, maps, labels: code_score(pooled(maps), codes.to(labels.device)[labels]),
        "how often the nearer of two codes has the nearer features", strides=STRIDES[-1:], reads_outputs=False,
    )  # fmt: skip


def coordinates(bank: Bank) -> NDArray[np.float32]:
    """Where codes lie, float32 [codes, 48]: a code's maps, the likeliest first and zero beyond the last, scaled so that
    two codes are 1 apart in the mean.

    Raises:
        ValueError: the bank's codes are not IFS codes, or a class has several.
    """
    if not isinstance(bank, CodeBank) or bank.per_class > 1:
        raise ValueError(f"objective codes needs IFS codes, one a class, and got {len(bank)} {bank.formula} codes in "
                         f"{bank.classes} classes: use fracgen sample, as many classes as codes")  # fmt: skip
    order = np.argsort(-bank.probabilities, 1, kind="stable")
    at = np.take_along_axis(bank.maps, order[:, :, None, None], 1).reshape(len(bank), -1)
    some = torch.from_numpy(at[:: max(1, len(at) // 1000)])
    scaled: NDArray[np.float32] = at / float(torch.pdist(some).mean()) if len(some) > 1 else at
    return scaled


def pooled(maps: Sequence[Tensor]) -> Tensor:
    """The last map's mean over its cells: [N, C]."""
    return maps[-1].float().mean((2, 3))


def code_loss(features: Tensor, codes: Tensor) -> Tensor:
    """Mean over triplets that are in the wrong order, or too near it, of by how much: features [N, C], codes [N, D]."""
    far, apart = _triplets(features, codes)
    wrong = F.relu(far + MARGIN * apart) * (apart > 0)
    return wrong.sum() / (wrong > 0).sum().clamp_min(1)


def code_score(features: Tensor, codes: Tensor) -> Tensor:
    """For each picture, the share of pairs of others of which the one with the nearer code is nearer: float32 [N]."""
    far, apart = _triplets(features, codes)
    return ((far < 0) & (apart > 0)).float().sum((1, 2)) / (apart > 0).float().sum((1, 2)).clamp_min(1)


def _triplets(features: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """For pictures (i, j, k) how much further j lies from i than k does, and how much further k's code than j's."""
    near, code = _apart(F.normalize(features.float(), dim=1)), _apart(codes)
    far, apart = near[:, :, None] - near[:, None], code[:, None] - code[:, :, None]
    apart.diagonal(dim1=0, dim2=1).zero_()  # every picture is near itself
    return far, apart


def _apart(x: Tensor) -> Tensor:
    """Distances [N, N] of rows, with a finite gradient where they are equal."""
    squares = x.square().sum(1)
    apart: Tensor = (squares[:, None] + squares - 2 * x @ x.T).clamp_min(1e-6).sqrt()
    return apart


def images_of_pairs(images: Tensor) -> Tensor:
    """Pairs or shots [B, S, 3, H, W] as images [S B, 3, H, W], all first ones first; anything else as it is."""
    return images if images.dim() == 4 else torch.cat(images.unbind(1))


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
    """Loss of feature maps of STRIDES, for damage float32 [B, S, H, W] of S shots. Outputs do not count."""
    maps = [x.float() for x in maps]
    together, *alone = (order_loss(distances(x, damage), damage) for x in (_middle(maps), *maps))
    return together + ALONE * torch.stack(alone).sum()


def damage_score(outputs: Tensor, maps: Sequence[Tensor], damage: Tensor) -> Tensor:
    """Share of a ground's (sound, damaged) cells in the right order, by the middle maps together: float32 [B].

    It is 0 for one whose damage cannot be seen.
    """
    distance = distances(_middle([x.float() for x in maps]), damage)
    sound, damaged = sound_and_damaged(damage, *distance.shape[2:])
    distance = distance.flatten(2)
    right = (distance[..., :, None] < distance[..., None, :]).float()
    return _weighted(right, sound, damaged).mean(1)


def neighbourhoods(maps: Sequence[Tensor]) -> Tensor:
    """PatchCore's patches: maps [N, C, h, w] averaged over 3 x 3 cells, brought to the first one's size and stacked."""
    smooth = [F.avg_pool2d(x, 3, 1, 1) for x in maps]
    shape = smooth[0].shape[-2:]
    return torch.cat([smooth[0], *(F.interpolate(x, size=shape, mode="bilinear") for x in smooth[1:])], 1)


def distances(maps: Tensor, damage: Tensor) -> Tensor:
    """Squared distance [B, S, h, w] of every cell of every shot to the nearest sound cell of the others.

    Args:
        maps: [S B, C, H, W], all first shots first; averaged until at most MOST_CELLS are left along a side.
        damage: [B, S, H, W].
    """
    shots = damage.shape[1]
    maps = F.avg_pool2d(maps, -(-maps.shape[-1] // MOST_CELLS))
    grid = maps.shape[2:]
    cells = maps.flatten(2).transpose(1, 2).unflatten(0, (shots, -1)).transpose(0, 1).flatten(1, 2)  # [B, S h w, C]
    with torch.no_grad():
        length = cells.square().sum(2)
        squared = length[:, :, None] + length[:, None] - 2 * cells @ cells.transpose(1, 2)
        sound = sound_and_damaged(damage, *grid)[0].flatten(1)
        shot = torch.arange(shots, device=maps.device).repeat_interleave(grid.numel())
        squared.masked_fill_((sound[:, None] == 0) | (shot[:, None] == shot), torch.inf)
        nearest = squared.argmin(2)
    memory = cells.gather(1, nearest[:, :, None].expand_as(cells))
    nearby: Tensor = (cells - memory).square().sum(2).reshape(-1, shots, *grid)
    return nearby


def order_loss(distance: Tensor, damage: Tensor) -> Tensor:
    """Mean of softplus((log sound - log damaged) / T) over a shot's cells, then over shots, of distances [B, S, h, w].

    Sound cells count by HARD, as what is furthest from the memory decides on a picture.
    """
    sound, damaged = sound_and_damaged(damage, *distance.shape[2:])
    distance = distance.flatten(2)
    usual = (distance * sound).sum(2, keepdim=True) / sound.sum(2, keepdim=True).clamp_min(1)
    score = torch.log(distance + FLOOR * usual + torch.finfo(torch.float32).tiny)
    wrong = F.softplus((score[..., :, None] - score[..., None, :]) / TEMPERATURE)
    hard = sound * distance.detach() ** HARD
    hard = hard / hard.mean(2, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return _weighted(wrong, hard, damaged).mean()


def sound_and_damaged(damage: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Weights [B, S, height width] of the sound and of the damaged cells of a grid, for damage [B, S, H, W]."""
    share = F.adaptive_avg_pool2d(damage, (height, width)).flatten(2)
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
    """Means [B, S] of values [B, S, n, n] (sound, damaged); 0 where a shot has none."""
    weight = sound[..., :, None] * damaged[..., None, :]
    return (values * weight).sum((2, 3)) / weight.sum((2, 3)).clamp_min(1e-3)
