"""Batches of twins: two shots of every picture, the second one damaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fracgen.loading.augment import Partners
from fracgen.loading.augment_pictures import parts_of
from fracgen.loading.twin_pictures import shoot
from fracgen.loading.twins import normal_tile, twin_draws, uniforms

if TYPE_CHECKING:
    from fracgen.recipes.recipe import Recipe


class TwinMaker:
    """Makes twins of the batches of one stream of pictures.

    Args:
        recipe: of the pictures: normalisation and number of views.
        seed, stream: of the random numbers.
        dtype: of the results: float32, float16 or bfloat16.
        normalize: (x - mean) / std with the recipe's numbers; False leaves x in [0, 1].
        channels_last: of the results.

    Raises:
        ValueError: bytes are asked for, or the recipe has two views already.
    """

    blends = True
    """Masks of attractors are needed."""

    def __init__(
        self, recipe: Recipe, seed: int, stream: int, *, dtype: torch.dtype, normalize: bool = True,
        channels_last: bool = False,
    ) -> None:  # fmt: skip
        if not dtype.is_floating_point:
            raise ValueError(f"twins are numbers, not {dtype}: use float32, float16 or bfloat16")
        if recipe.views == 2:
            raise ValueError(f"recipe {recipe.name!r} has 2 views, and twins are two shots of one: use --views 1")
        self.seed, self.stream, self.dtype, self.channels_last = seed, stream, dtype, channels_last
        mean, std = (recipe.mean, recipe.std) if normalize else ((0.0,) * 3, (1.0,) * 3)
        self._mean, self._std = (torch.tensor(values)[:, None, None] for values in (mean, std))
        self._tile = torch.from_numpy(normal_tile())

    def partners(self, share: NDArray[np.int64], first: int, count: int) -> Partners:
        """Which positions have to be rendered for a share of the global batch of `count` from `first` on."""
        return Partners.of(share, first, count, mixes=True)

    def __call__(
        self, pictures: Tensor, masks: Tensor | None, labels: Tensor, who: Partners, epoch: int, *, maps: bool = False
    ) -> tuple[Tensor, ...]:
        """One share of a batch.

        Args:
            pictures: uint8 [N, 3, H, W] of the needed positions.
            masks: uint8 [N, H, W].
            labels: [N] or [N, classes].
            who: the needed positions and the share's own.
            epoch: whose random numbers.
            maps: is False: a twin shows parts of several pictures.

        Returns:
            images: [B, 2, 3, H, W], sound ones first.
            labels: of the own pictures, as given.
            damage: float32 [B, H, W], its opacity in the second shots.
        """
        assert masks is not None
        assert not maps
        device, layout = pictures.device, torch.channels_last if self.channels_last else torch.contiguous_format
        self._mean, self._std, self._tile = (x.to(device) for x in (self._mean, self._std, self._tile))
        own, partner, third = (torch.from_numpy(rows).to(device) for rows in (who.own, who.partner, who.third))
        draws = twin_draws(uniforms(who.needed[who.own], self.seed, epoch, self.stream))
        count, size = len(own), pictures.shape[-2:]
        images = torch.empty(2 * count, 3, *size, dtype=self.dtype, device=device, memory_format=layout)
        images = images.view(count, 2, 3, *size)
        damaged = torch.empty(count, *size, device=device)
        for part in parts_of(own):
            ground, other = (pictures[rows[part]].float().div_(255) for rows in (own, partner))
            shots, damaged[part] = shoot(
                ground, other, (masks[third[part]] > 0).float(), (masks[partner[part]] > 0).float(), draws,
                part=part, tile=self._tile,
            )  # fmt: skip
            images[part] = shots.sub_(self._mean).div_(self._std).to(self.dtype)
        return images, labels[own], damaged
