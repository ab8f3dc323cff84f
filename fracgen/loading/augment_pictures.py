"""The device part of augmentation: batches whose pictures are altered one by one, then mixed with their partners.

Only operations that work element by element or picture by picture are used, each picture with its own parameters. So on
a CPU a picture's bits do not depend on the others in its batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fracgen.loading.augment import Alterations, Augmentation, Partners, alterations, on_device, uniforms

if TYPE_CHECKING:
    from fracgen.recipes.recipe import Recipe

CHUNK = 8
"""Pictures that a CPU works on at a time, so that they stay in its cache."""


def alter(pictures: Tensor, p: Alterations, mean: Tensor, std: Tensor) -> Tensor:
    """Everything that happens to a picture by itself, and normalisation.

    Args:
        pictures: uint8 [B, 3, H, W].
        p: their parameters.
        mean, std: [3], as for values in [0, 1].

    Returns:
        float32 [B, 3, H, W], normalised.
    """
    affine, tone, solarise, colour, taps, box, fill = on_device(
        [p.affine, p.tone, p.solarise, p.colour, p.blur, p.erase, p.erase_colour], pictures.device
    )
    mean, std = mean[:, None, None], std[:, None, None]
    result = torch.empty(pictures.shape, device=pictures.device)
    for part in parts_of(pictures):
        x = resample(pictures[part].float().div_(255), affine[part])
        x = recolour(bend(x, tone[part]), colour[part])
        for rows in chosen_rows(p.solarise <= 1, part, x.device):
            own = x[rows]
            x[rows] = torch.where(own > solarise[part][rows, None, None, None], 1 - own, own)
        for rows in chosen_rows(p.blur[:, 2] < 1, part, x.device):
            x[rows] = blur(x[rows], taps[part][rows])
        for rows in chosen_rows(p.erase[:, 2] > p.erase[:, 0], part, x.device):
            x[rows] = torch.where(inside(box[part][rows], x.shape[-2:]), fill[part][rows, :, None, None], x[rows])
        torch.sub(x, mean, out=result[part]).div_(std)
    return result


def resample(x: Tensor, affine: Tensor, mode: str = "bilinear") -> Tensor:
    """Look pictures [B, C, H, W] up at affine maps [B, 2, 3] of their pixels' centres; mirrored outside."""
    height, width = x.shape[-2:]
    across = (torch.arange(width, device=x.device) * 2 + 1) / width - 1
    down = (torch.arange(height, device=x.device)[:, None] * 2 + 1) / height - 1
    m = affine[:, :, :, None, None]
    grid = torch.stack([m[:, i, 0] * across + (m[:, i, 1] * down + m[:, i, 2]) for i in (0, 1)], -1)
    return F.grid_sample(x, grid, mode=mode, padding_mode="reflection", align_corners=False)


def bend(x: Tensor, tone: Tensor) -> Tensor:
    """x + t x (1 - x), with t [B]."""
    t = tone[:, None, None, None]
    return torch.addcmul(1 + t, x, -t).mul_(x)


def recolour(x: Tensor, colour: Tensor) -> Tensor:
    """Colour matrices and offsets [B, 3, 4] applied to pictures [B, 3, H, W], cut off at 0 and 1."""
    m = colour[:, :, :, None, None]
    y = torch.addcmul(m[:, :, 3], m[:, :, 0], x[:, 0:1])
    return y.addcmul_(m[:, :, 1], x[:, 1:2]).addcmul_(m[:, :, 2], x[:, 2:3]).clamp_(0, 1)


def blur(x: Tensor, taps: Tensor) -> Tensor:
    """Pictures [B, C, H, W] under separable filters of five symmetric taps [B, 5]; mirrored outside."""
    height = x.shape[-2]
    far, near, centre = taps[:, :3, None, None, None].unbind(1)
    x = F.pad(x, (2, 2, 2, 2), mode="reflect")
    y = (centre * x[..., 2:-2]).addcmul_(near, x[..., 1:-3] + x[..., 3:-1]).addcmul_(far, x[..., :-4] + x[..., 4:])
    rows = [y[..., k : k + height, :] for k in range(5)]
    return (centre * rows[2]).addcmul_(near, rows[1] + rows[3]).addcmul_(far, rows[0] + rows[4])


def inside(box: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Which pixels' centres lie in boxes [B, 4] (left, top, right, bottom, in [0, 1]): bool [B, 1, H, W]."""
    height, width = shape
    x = (torch.arange(width, device=box.device) + 0.5) / width
    y = (torch.arange(height, device=box.device) + 0.5) / height
    left, top, right, bottom = (edge[:, None] for edge in box.unbind(1))
    across, down = (x >= left) & (x < right), (y >= top) & (y < bottom)
    return (down[:, :, None] & across[:, None, :])[:, None]


def mix(
    altered: Tensor, masks: Tensor | None, who: Partners, p: Alterations, *, dtype: torch.dtype, channels_last: bool
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Mix a share's pictures with their partners, and lay them out for a network.

    Args:
        altered: float32 [N, 3, H, W], of the needed positions.
        masks: uint8 [N, H, W] of the same, where any picture is blended.
        who: which of them are the share's own, their partners and thirds: [B] each.
        p: the parameters of the share's own.
        dtype, channels_last: of the result.

    Returns:
        Pictures [B, 3, H, W], the weight of the own one in each: float32 [B], and where it shows: float32 [B, 1, H, W].
    """
    device, shape = altered.device, altered.shape[-2:]
    own, partner, third = (torch.from_numpy(rows).to(device) for rows in (who.own, who.partner, who.third))
    way, constant, box = on_device([p.mix, p.mix_weight, p.mix_box], device)
    way, constant = way[:, None, None, None], constant[:, None, None, None]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    result = torch.empty((len(own), *altered.shape[1:]), dtype=dtype, device=device, memory_format=layout)
    maps = torch.ones(len(own), 1, *shape, device=device)
    for part in parts_of(own):
        result[part] = altered[own[part]]
        for rows in chosen_rows(p.mix > 0, part, device):
            at = rows + part.start
            shown = torch.where(way[at] == 1, constant[at], (~inside(box[at], shape)).float())
            if masks is not None:
                shown = torch.where(way[at] == 3, (masks[third[at], None] > 0).float(), shown)
            maps[at] = shown
            result[at] = torch.lerp(altered[partner[at]], altered[own[at]], shown).to(dtype)
    counted = maps.sum((1, 2, 3)) / (shape[0] * shape[1])  # sums of ones: exact
    return result, torch.where(way[:, 0, 0, 0] == 1, constant[:, 0, 0, 0], counted), maps


def parts_of(rows: Tensor) -> Iterator[slice]:
    step = CHUNK if rows.device.type == "cpu" else max(1, len(rows))
    yield from (slice(first, first + step) for first in range(0, len(rows), step))


def chosen_rows(chosen: NDArray[np.bool_], part: slice, device: torch.device) -> Iterator[Tensor]:
    """The rows of a part for which something is chosen, if there are any."""
    rows = np.flatnonzero(chosen[part])
    if len(rows):
        yield torch.from_numpy(rows).to(device)


class Maker:
    """Base of what makes altered batches of one stream of pictures.

    Args:
        what: the results, in a word, for messages.
        recipe: of the pictures: normalisation and number of views.
        seed, stream: of the random numbers.
        dtype: of the results: float32, float16 or bfloat16.
        normalize: (x - mean) / std with the recipe's numbers; False leaves x in [0, 1].
        channels_last: of the results.

    Raises:
        ValueError: the dtype is uint8.
    """

    blends: bool
    """Whether masks of attractors are needed."""
    mixes: bool
    """Whether partners are needed."""

    def __init__(
        self, what: str, recipe: Recipe, seed: int, stream: int, *, dtype: torch.dtype, normalize: bool = True,
        channels_last: bool = False,
    ) -> None:  # fmt: skip
        if not dtype.is_floating_point:
            raise ValueError(f"{what} are numbers, not {dtype}: use float32, float16 or bfloat16")
        self.recipe, self.seed, self.stream, self.dtype = recipe, seed, stream, dtype
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.mean, self.std = torch.zeros(3), torch.ones(3)
        if normalize:
            self.mean, self.std = torch.tensor(recipe.mean), torch.tensor(recipe.std)

    def partners(self, share: NDArray[np.int64], first: int, count: int) -> Partners:
        """Which positions have to be rendered for a share of the global batch of `count` from `first` on."""
        return Partners.of(share, first, count, mixes=self.mixes)


class Augmenter(Maker):
    """Augments the batches of one stream of pictures.

    Args:
        augmentation: what may happen.
        recipe: see `Maker`, as are the rest.
        classes: of the labels.

    Raises:
        ValueError: the dtype is uint8, or pairs are to be mixed.
    """

    def __init__(
        self, augmentation: Augmentation, recipe: Recipe, classes: int, seed: int, stream: int, *,
        dtype: torch.dtype, normalize: bool = True, channels_last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            "augmented pictures", recipe, seed, stream, dtype=dtype, normalize=normalize, channels_last=channels_last
        )
        self.augmentation, self.classes = augmentation, classes
        self.mixes, self.blends = augmentation.mixes > 0, augmentation.blend > 0
        if recipe.views == 2 and self.mixes:
            raise ValueError(
                f"recipe {recipe.name!r} has 2 views, and pairs are not mixed: use an augmentation with mixup, cutmix "
                "and blend 0 (`unmixed`), or a recipe with 1 view"
            )

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
        self.mean, self.std = self.mean.to(pictures.device), self.std.to(pictures.device)
        if self.recipe.views == 2:
            both = [self._altered(pictures[:, view], who, epoch, view)[0].to(self.dtype) for view in (0, 1)]
            return torch.stack([view.contiguous(memory_format=self.layout) for view in both], 1), labels
        altered, p = self._altered(pictures, who, epoch)
        own_rows = {field.name: getattr(p, field.name)[who.own] for field in dataclasses.fields(p)}
        images, weights, shown = mix(
            altered, masks if self.blends else None, who, Alterations(**own_rows), dtype=self.dtype,
            channels_last=self.layout == torch.channels_last,
        )  # fmt: skip
        own, partner = (torch.from_numpy(rows).to(labels.device) for rows in (who.own, who.partner))
        mixed = labels[own]
        if self.mixes:
            vectors = labels if labels.is_floating_point() else F.one_hot(labels, self.classes).float()
            mixed = torch.lerp(vectors[partner], vectors[own], weights[:, None])
        if not maps:
            return images, mixed
        assert masks is not None
        affine = torch.from_numpy(p.affine).float().to(masks.device)
        covered = resample(masks[:, None].float(), affine, "nearest")[:, 0] > 0
        classes = torch.where(covered, labels[:, None, None] + 1, 0)
        return images, mixed, torch.where(shown[:, 0] >= 0.5, classes[own], classes[partner])

    def _altered(self, pictures: Tensor, who: Partners, epoch: int, view: int = 0) -> tuple[Tensor, Alterations]:
        p = alterations(self.augmentation, uniforms(who.needed, self.seed, epoch, self.stream, view))
        return alter(pictures, p, self.mean, self.std), p
