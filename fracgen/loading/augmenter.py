"""Augmented batches: pictures are altered one by one, then mixed with their partners, and so are their labels."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fracgen.loading.augment import Alterations, Augmentation, Floats, Partners, alterations, uniforms
from fracgen.loading.augment_pictures import alter, mix, resample

if TYPE_CHECKING:
    from fracgen.recipes.recipe import Recipe


class Augmenter:
    """Augments the batches of one stream of pictures.

    Args:
        augmentation: what may happen.
        recipe: of the pictures: normalisation and number of views.
        classes: of the labels.
        seed, stream: of the random numbers.
        dtype: of the results: float32, float16 or bfloat16.
        normalize: (x - mean) / std with the recipe's numbers; False leaves x in [0, 1].
        channels_last: of the results.

    Raises:
        ValueError: bytes are asked for, or pairs are to be mixed.
    """

    def __init__(
        self, augmentation: Augmentation, recipe: Recipe, classes: int, seed: int, stream: int, *,
        dtype: torch.dtype, normalize: bool = True, channels_last: bool = False,
    ) -> None:  # fmt: skip
        if not dtype.is_floating_point:
            raise ValueError(f"augmented pictures are numbers, not {dtype}: use float32, float16 or bfloat16")
        if recipe.views == 2 and augmentation.mixes:
            raise ValueError(
                f"recipe {recipe.name!r} has 2 views, and pairs are not mixed: use an augmentation with mixup, cutmix "
                "and blend 0 (`unmixed`), or a recipe with 1 view"
            )
        self.augmentation, self.classes, self.seed, self.stream = augmentation, classes, seed, stream
        self.views, self.dtype, self.channels_last = recipe.views, dtype, channels_last
        mean, std = (recipe.mean, recipe.std) if normalize else ((0.0,) * 3, (1.0,) * 3)
        self._mean, self._std = torch.tensor(mean), torch.tensor(std)

    @property
    def blends(self) -> bool:
        """Whether masks of attractors are needed."""
        return self.augmentation.blend > 0

    def partners(self, share: NDArray[np.int64], first: int, count: int) -> Partners:
        """Which positions have to be rendered for a share of the global batch of `count` from `first` on."""
        return Partners.of(share, first, count, mixes=self.augmentation.mixes > 0)

    def __call__(
        self, pictures: Tensor, masks: Tensor | None, labels: Tensor, who: Partners, epoch: int, *, maps: bool = False
    ) -> tuple[Tensor, ...]:
        """One share of a batch.

        Args:
            pictures: uint8 [N, 3, H, W] of the needed positions, or [N, 2, 3, H, W].
            masks: uint8 [N, H, W], where pictures are blended or maps asked for.
            labels: int64 [N] classes, or float32 [N, classes].
            who: the needed positions and the share's own.
            epoch: whose random numbers.
            maps: return the class that covers each pixel as well.

        Returns:
            images: [B, 3, H, W], or [B, 2, 3, H, W].
            labels: as given where nothing is mixed; else float32 [B, classes], each class by its weight.
            maps, if asked for: int64 [B, H, W], 0 where no attractor shows, else 1 + the class.
        """
        self._mean, self._std = self._mean.to(pictures.device), self._std.to(pictures.device)
        if self.views == 2:
            return self._pairs(pictures, who, epoch), labels
        p = self._parameters(who.needed, epoch)
        altered = alter(pictures, p, self._mean, self._std)
        images, weights, shown = mix(
            altered, masks if self.blends else None, who, _rows(p, who.own), dtype=self.dtype,
            channels_last=self.channels_last,
        )  # fmt: skip
        own, partner = (torch.from_numpy(rows).to(labels.device) for rows in (who.own, who.partner))
        mixed = labels[own]
        if self.augmentation.mixes:
            vectors = labels if labels.is_floating_point() else F.one_hot(labels, self.classes).float()
            mixed = torch.lerp(vectors[partner], vectors[own], weights[:, None])
        if not maps:
            return images, mixed
        assert masks is not None
        affine = torch.from_numpy(p.affine).float().to(masks.device)
        covered = resample(masks[:, None].float(), affine, "nearest")[:, 0] > 0
        classes = torch.where(covered, labels[:, None, None] + 1, 0)
        return images, mixed, torch.where(shown[:, 0] >= 0.5, classes[own], classes[partner])

    def _pairs(self, pairs: Tensor, who: Partners, epoch: int) -> Tensor:
        both = []
        for view in (0, 1):
            p = self._parameters(who.needed, epoch, view)
            altered = alter(pairs[:, view], p, self._mean, self._std).to(self.dtype)
            both.append(altered.contiguous(memory_format=torch.channels_last) if self.channels_last else altered)
        return torch.stack(both, 1)

    def _parameters(self, positions: NDArray[np.int64], epoch: int, view: int = 0) -> Alterations:
        return alterations(self.augmentation, uniforms(positions, self.seed, epoch, self.stream, view))


def _rows(p: Alterations, rows: NDArray[np.int64]) -> Alterations:
    chosen: dict[str, Floats] = {field.name: getattr(p, field.name)[rows] for field in dataclasses.fields(p)}
    return Alterations(**chosen)
