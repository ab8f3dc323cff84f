"""What a recipe's images are trained to tell: one class, several classes, which two show the same code, or damage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from fracgen.training.config import Config
from fracgen.training.damage import DamageJudge

PAIR_OUTPUTS = 128
"""Dimensions of the embedding in which pairs are compared; the model's last layer makes it."""
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Objective:
    """A loss and a score for outputs [B, outputs] (pairs and twins: [2 B, outputs], first views first)."""

    name: str
    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    correct: Callable[[Tensor, Tensor], Tensor]
    """bool [B]: whether each image was classified correctly; or float32 [B], to what share."""
    measure: str
    """What the share of correct ones is called, in words."""
    _: KW_ONLY
    target: int = 1
    """Which of a batch's tensors the outputs are judged by: its labels, or (2) where its pictures are damaged."""
    listen_to: Callable[[torch.nn.Module, int], None] | None = None
    """Takes the network and the side of its images, where loss and score look at its middle as well."""


def objective_of(config: Config, classes: int) -> Objective:
    """The objective of a configuration, for a bank of so many classes."""
    if config.task == "damage":
        judge = DamageJudge()
        # The outputs take part with a weight of 0, so that every parameter has a gradient for the processes to share.
        return Objective(
            "damage", PAIR_OUTPUTS, lambda outputs, damage: judge.loss(damage) + 0 * outputs.mean(),
            lambda outputs, damage: judge.ordered(damage),
            "how often a damaged place differs more between two shots than a sound one",
            target=2, listen_to=judge.listen_to,
        )  # fmt: skip
    if config.task in ("pairs", "contrastive"):
        loss = pair_loss if config.task == "pairs" else contrastive_loss
        return Objective(config.task, PAIR_OUTPUTS, loss, pair_correct, "nearest neighbour in the batch is the pair")
    if config.task == "several":
        return Objective(
            "several classes", classes, F.binary_cross_entropy_with_logits,
            lambda logits, present: present.gather(1, logits.argmax(1, keepdim=True))[:, 0] > 0,
            "top-1 is one of the classes present",
        )  # fmt: skip
    name = "one class" if config.task == "class" else "one class, of images and of their cells"
    return Objective(
        name, classes, partial(F.cross_entropy, label_smoothing=config.label_smoothing),
        lambda logits, labels: logits.argmax(1) == labels, "top-1",
    )  # fmt: skip


def images_of_pairs(images: Tensor) -> Tensor:
    """Pairs [B, 2, 3, H, W] as images [2 B, 3, H, W], first views first; anything else as it is."""
    return images if images.dim() == 4 else torch.cat((images[:, 0], images[:, 1]))


def pair_loss(embedding: Tensor, labels: Tensor) -> Tensor:
    """NT-Xent (Chen et al., "A simple framework for contrastive learning", 2020, equation 1) over this
    process's pairs: of all other images, an image's pair should be the most similar."""
    similarity, pair = _similarity(embedding.float())
    return F.cross_entropy(similarity / TEMPERATURE, pair)


def contrastive_loss(embedding: Tensor, labels: Tensor) -> Tensor:
    """Supervised contrastive loss (Khosla et al., 2020, equation 2) over this process's pairs: of all other
    images, those of an image's class should be the most similar."""
    similarity, _ = _similarity(embedding.float())
    both = torch.cat((labels, labels))
    same = (both[:, None] == both[None]).fill_diagonal_(False)
    logs = F.log_softmax(similarity / TEMPERATURE, 1).masked_fill(~same, 0.0)
    return -(logs.sum(1) / same.sum(1)).mean()


def pair_correct(embedding: Tensor, labels: Tensor) -> Tensor:
    """Whether the most similar other image of a first view is its second."""
    similarity, pair = _similarity(embedding.float())
    return (similarity.argmax(1) == pair)[: len(labels)]


def _similarity(embedding: Tensor) -> tuple[Tensor, Tensor]:
    z = F.normalize(embedding, dim=1)
    count = len(z)
    same = torch.eye(count, dtype=torch.bool, device=z.device)
    pair = torch.arange(count, device=z.device).roll(count // 2)
    return (z @ z.T).masked_fill(same, -torch.inf), pair
