"""The device part of twins: shots of every picture, as the random numbers of `fracgen.loading.twins` describe them.

As in `fracgen.loading.augment_pictures`, every operation works picture by picture, so that on a CPU a
ground's bits do not depend on the others in its batch.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fracgen.loading.augment import Partners, on_device
from fracgen.loading.augment_pictures import Maker, blur, chosen_rows, parts_of, recolour, resample
from fracgen.loading.twins import (
    DUST,
    FOREIGN,
    LINES,
    SPOT,
    TINT,
    WARP,
    Damage,
    Grains,
    Scatter,
    Shot,
    TwinDraws,
    normal_tile,
    twin_draws,
    uniforms,
)

if TYPE_CHECKING:
    from fracgen.recipes.recipe import Recipe

EDGE = 0.5
"""Opacity rises from 0 to 1 within one pixel across the edge of a shape."""
VISIBLE = 0.02
"""A change of a channel that counts as wholly visible; noise is as strong as 0.016."""


class TwinMaker(Maker):
    """Makes twins of the batches of one stream of pictures.

    Args: see `Maker`; `grains` is the share of grounds that are grains, `shots` how many there are of each.

    Raises:
        ValueError: the dtype is uint8, or the recipe has two views already.
    """

    blends = mixes = True

    def __init__(
        self, recipe: Recipe, seed: int, stream: int, *, dtype: torch.dtype, normalize: bool = True,
        channels_last: bool = False, grains: float = 0.0, shots: int = 2,
    ) -> None:  # fmt: skip
        super().__init__("twins", recipe, seed, stream, dtype=dtype, normalize=normalize, channels_last=channels_last)
        if recipe.views == 2:
            raise ValueError(f"recipe {recipe.name!r} has 2 views, and twins are two shots of one: use --views 1")
        self.tile, self.grains, self.shots = torch.from_numpy(normal_tile()), grains, shots

    def __call__(
        self, pictures: Tensor, masks: Tensor | None, labels: Tensor, who: Partners, epoch: int, *, maps: bool = False
    ) -> tuple[Tensor, ...]:
        """See `Augmenter`; `maps` is False, as a twin shows parts of several pictures.

        Returns:
            images: [B, shots, 3, H, W].
            labels: of the own pictures, as given.
            damage: float32 [B, shots, H, W]: how visible it is, 0 to 1.
        """
        assert masks is not None and not maps  # noqa: PT018
        device, count, size = pictures.device, len(who.own), pictures.shape[-2:]
        self.mean, self.std, self.tile = (x.to(device) for x in (self.mean, self.std, self.tile))
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        own, partner, third = (torch.from_numpy(rows).to(device) for rows in (who.own, who.partner, who.third))
        numbers = uniforms(who.needed[who.own], self.seed, epoch, self.stream, self.shots)
        draws = twin_draws(numbers, self.grains)
        images = torch.empty(count * self.shots, 3, *size, dtype=self.dtype, device=device, memory_format=self.layout)
        images = images.view(count, self.shots, 3, *size)
        damaged = torch.empty(count, self.shots, *size, device=device)
        for part in parts_of(own):
            ground, other = (pictures[rows[part]].float().div_(255) for rows in (own, partner))
            mask, dust = ((masks[rows[part]] > 0).float() for rows in (third, partner))
            shots, damaged[part] = shoot(ground, other, mask, dust, draws, part=part, tile=self.tile)
            images[part] = shots.sub_(mean).div_(std).to(self.dtype)
        return images, labels[own], damaged


def shoot(
    own: Tensor, partner: Tensor, mask: Tensor, dust: Tensor, p: TwinDraws, *, part: slice, tile: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """A part of a batch of grounds.

    Args:
        own, partner: float32 [b, 3, S, S] in [0, 1].
        mask, dust: float32 [b, S, S]: masks of the third and of the partner's picture.
        p: the parameters of the whole batch.
        part: which of its grounds these are.
        tile: `normal_tile` on the device.

    Returns:
        Shots, [b, shots, 3, S, S], and how visible their damage is, [b, shots, S, S]: float32 in [0, 1].
    """
    device = own.device
    blended, paints, colour = (value[part] for value in on_device([p.blended, p.paints, p.colour], device))
    ground = torch.lerp(own, partner, mask[:, None] * blended[:, None, None, None])
    for rows in chosen_rows(p.flat, part, device):
        shown = dust[rows][:, None]
        one, two = paints[rows].unbind(1)
        painted = torch.lerp(two[:, :, None, None], one[:, :, None, None], shown)
        ground[rows] = torch.lerp(painted, ground[rows], 0.1)
    grounds = grained(scattered(ground, p.scatter, part, tile), p.grains, part, tile)
    shots, visible = [], []
    for own, shot, its in zip(grounds, p.shots, p.damage, strict=True):
        view = resample(own, on_device([shot.affine], device)[0][part])
        damaged, opacity = damage(view, own, partner, dust, its, part=part, tile=tile)
        sound, damaged = (recolour(surface.clamp_(0, 1), colour) for surface in (view, damaged))
        change = F.avg_pool2d((damaged - sound).abs().amax(1, keepdim=True), 5, 1, 2)[:, 0]
        shots.append(camera(damaged, shot, part, tile))
        visible.append(opacity * (change / VISIBLE).clamp_(max=1))
    return torch.stack(shots, 1), torch.stack(visible, 1)


def scattered(ground: Tensor, p: Scatter, part: slice, tile: Tensor) -> list[Tensor]:
    """Grounds [b, 3, S, S] of the shots: the same one, or pieces of a texture of its spots."""
    size = ground.shape[-1]
    radius, centre = (value[part] for value in on_device([p.radius, p.centre], ground.device))
    density = np.minimum(p.cover[part] / (math.pi * (p.radius[part] * size / 2) ** 2), 0.5)  # spots a pixel
    above = [NormalDist().inv_cdf(1 - share) for share in density]  # a normal number is, with that probability
    grounds = _of_its_own([ground] * len(p.fields), p.chosen[part])
    for row in np.flatnonzero(p.chosen[part]).tolist():
        along, across = _axes(centre[row : row + 1], radius.new_zeros(1, 1, 1), size)
        window = torch.exp(-2 * (along.square() + across.square()) / radius[row] ** 2)
        mean, deviation = _moments(ground[row : row + 1], window[None])
        spot = (ground[row : row + 1] - mean) * window
        spot = (spot - _mean(spot))[0]
        waves = torch.fft.rfft2(spot)
        # The sum of independent spots has this variance, whatever it happens to be in one picture.
        power = float(density[row]) * spot.square().sum((1, 2)).mean()
        gain = deviation / power.sqrt().clamp_min(1e-4)
        for own, corner in zip(grounds, p.fields, strict=True):
            field = _cut(torch.from_numpy(corner[part][row : row + 1]).to(ground.device), size, tile[:1])
            places = (field[0, 0] > above[row]).float()
            texture = torch.fft.irfft2(waves * torch.fft.rfft2(places), s=(size, size))
            own[row] = (mean[0] + gain * texture).clamp_(0, 1)
    return grounds


def grained(grounds: list[Tensor], p: Grains, part: slice, tile: Tensor) -> list[Tensor]:
    """Grounds [b, 3, S, S] of the shots, some as crystals: a piece of the ground in each, lighter or darker."""
    grounds = _of_its_own(grounds, p.chosen[part])
    size, device = grounds[0].shape[-1], grounds[0].device
    at = (torch.arange(size, device=device) * 2 + 1) / size - 1
    place = torch.stack(torch.broadcast_tensors(at, at[:, None]), -1)  # across, down
    axes, irregular, wavy, contrast, shown, border = (
        value[part] for value in on_device([p.axes, p.irregular, p.wavy, p.contrast, p.shown, p.border], device)
    )
    around = torch.tensor([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)], device=device)
    for row in np.flatnonzero(p.chosen[part]).tolist():
        for ground, corner in zip(grounds, p.fields, strict=True):
            start = torch.from_numpy(corner[part][row]).to(device)
            waves = torch.stack([_uneven((start + shift)[None], 8, size, tile)[0] for shift in (40, 90)], -1)
            cell = place @ axes[row].T + wavy[row] * waves
            near = torch.floor(cell).long()[:, :, None] + around  # [S, S, 9, 2]
            numbers = _at(tile, near, start)
            seeds = near + 0.5 + irregular[row] * numbers[..., :2].clamp(-2, 2)
            far, which = (seeds - cell[:, :, None]).norm(dim=3).topk(2, largest=False)
            grain = near.gather(2, which[:, :, :1, None].expand(-1, -1, -1, 2))[:, :, 0]
            its = _at(tile, grain, start + 128)
            moved = (place + its[..., :2])[None]
            piece = F.grid_sample(ground[row : row + 1], moved, padding_mode="reflection", align_corners=False)[0]
            mean = ground[row].mean((1, 2), keepdim=True)
            light = torch.exp(contrast[row] * its[..., 2])
            depth, width = border[row]
            edge = 1 - depth * torch.exp(-((far[..., 1] - far[..., 0]) / width).square())
            ground[row] = (torch.lerp(mean, piece, shown[row]) * light * edge).clamp_(0, 1)
    return grounds


def _of_its_own(grounds: list[Tensor], changed: NDArray[np.bool_]) -> list[Tensor]:
    """A tensor for each shot, where some rows are to change."""
    if not changed.any() or len({id(ground) for ground in grounds}) == len(grounds):
        return grounds
    return [ground.clone() for ground in grounds]


def _at(tile: Tensor, cell: Tensor, corner: Tensor) -> Tensor:
    """Numbers [..., 3] of cells [..., 2] in the periodic tile [3, T, T], counted from a corner."""
    across, down = ((cell[..., axis] + corner[axis]) % tile.shape[-1] for axis in (0, 1))
    return tile[:, down, across].movedim(0, -1)


def damage(
    view: Tensor, ground: Tensor, other: Tensor, dust: Tensor, p: Damage, *, part: slice, tile: Tensor
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Views [b, 3, S, S] with their damage, and its opacity [b, S, S]."""
    device, size = view.device, view.shape[-1]
    strength, alpha, tint, at_dust, at_piece, at_warp, shapes = _on_device(p, part, device)
    opacity = torch.zeros(len(view), size, size, device=device)
    for number, shape in enumerate(shapes):
        for rows in chosen_rows((p.kind == LINES) & (p.count > number), part, device):
            opacity[rows] = torch.maximum(opacity[rows], line(_rows(shape, rows), size, tile))
        for rows in chosen_rows((p.kind != LINES) & (p.count > number), part, device):
            opacity[rows] = torch.maximum(opacity[rows], spot(_rows(shape, rows), size, tile))
    for rows in chosen_rows(p.kind == DUST, part, device):
        opacity[rows] *= resample(dust[rows][:, None], at_dust[rows])[:, 0]
    opacity = torch.where(opacity > 0.02, opacity, 0.0)
    around = F.avg_pool2d(opacity[:, None], 7, 1, 3) + 1e-4
    mean, deviation = _moments(view, around)
    change = torch.zeros_like(view)
    light = (p.kind == LINES) | (p.kind == SPOT) | ((p.kind == DUST) & ~p.foreign)
    for rows in chosen_rows(light, part, device):
        halved = torch.where(torch.from_numpy(p.kind[part] == SPOT).to(device)[rows], 0.5, 1.0)
        change[rows] = (halved * strength[rows] * (0.05 + 0.8 * deviation[rows]))[:, None, None, None].expand(
            -1, 3, size, size
        )
    for rows in chosen_rows((p.kind == FOREIGN) | ((p.kind == DUST) & p.foreign), part, device):
        piece = resample(other[rows], at_piece[rows])
        its_mean, its_deviation = _moments(piece, around[rows])
        gain = ((deviation[rows] + 0.015) / (its_deviation + 0.015)).clamp(0.3, 3.0)[:, None, None, None]
        matched = (piece - its_mean) * gain + mean[rows]
        change[rows] = alpha[rows][:, None, None, None] * (matched - view[rows])
    for rows in chosen_rows(p.kind == TINT, part, device):
        change[rows] = view[rows] * tint[rows][:, :, None, None]
    for rows in chosen_rows(p.kind == WARP, part, device):
        change[rows] = resample(ground[rows], at_warp[rows]) - view[rows]
    return torch.addcmul(view, opacity[:, None], change), opacity


def spot(s: dict[str, Tensor], size: int, tile: Tensor) -> Tensor:
    """Opacity [b, S, S] of wavy ellipses."""
    along, across = _axes(s["centre"], s["angle"], size)
    far = torch.hypot(along * s["form"], across / s["form"])
    return _inside(s["size"] * (1 + s["rough"] * _uneven(s["field"], 6, size, tile)) - far, size)


def line(s: dict[str, Tensor], size: int, tile: Tensor) -> Tensor:
    """Opacity [b, S, S] of bent, uneven lines."""
    along, across = _axes(s["centre"], s["angle"], size)
    off = (across + s["form"] * along * along + s["rough"] * _uneven(s["field"], 16, size, tile)).abs()
    return _inside(s["width"] - off, size) * _inside(s["size"] - along.abs(), size)


def camera(x: Tensor, shot: Shot, part: slice, tile: Tensor) -> Tensor:
    """Surfaces [b, 3, S, S] in [0, 1] as a camera sees them: gamma, light, tint, blur, noise; cut off at 0 and 1."""
    device, size = x.device, x.shape[-1]
    gamma, light, tint, kernel, noise = (
        value[part] for value in on_device([shot.gamma, shot.light, shot.tint, shot.blur, shot.noise], device)
    )
    at = (torch.arange(size, device=device) + 0.5) / size - 0.5
    middle, across, down = light[:, :, None, None].unbind(1)
    gain = torch.exp(middle + across * at + down * at[:, None])[:, None] * tint[:, :, None, None]
    x = x.clamp_(1e-3, 1) ** gamma[:, None, None, None] * gain
    for rows in chosen_rows(shot.blur[:, 2] < 1, part, device):
        x[rows] = blur(x[rows], kernel[rows])
    grain = _cut(torch.from_numpy(shot.grain[part]).to(device), size, tile)
    return x.addcmul_(grain, noise[:, None, None, None]).clamp_(0, 1)


_Numbers: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, list[dict[str, Tensor]]]


def _on_device(p: Damage, part: slice, device: torch.device) -> _Numbers:
    values = on_device([p.strength, p.opacity, p.tint, p.dust, p.piece, p.warp], device)
    names = ("centre", "angle", "size", "form", "width", "rough")
    shapes = []
    for shape in p.shapes:
        numbers = on_device([getattr(shape, name) for name in names], device)
        shapes.append({name: value[part] for name, value in zip(names, numbers, strict=True)})
        shapes[-1]["field"] = torch.from_numpy(shape.field[part]).to(device)
    strength, opacity, tint, dust, piece, warp = (value[part] for value in values)
    return strength, opacity, tint, dust, piece, warp, shapes


def _rows(shape: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """A shape's numbers of some rows, those of a picture as [b, 1, 1]."""
    chosen = {name: value[rows] for name, value in shape.items()}
    return {name: value if value.dim() == 2 else value[:, None, None] for name, value in chosen.items()}


def _axes(centre: Tensor, angle: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Coordinates [b, S, S] along and across a direction from a centre, in halves of the side."""
    at = (torch.arange(size, device=centre.device) * 2 + 1) / size - 1
    x, y = at - centre[:, :1, None], at[:, None] - centre[:, 1:, None]
    cos, sin = torch.cos(angle), torch.sin(angle)
    return x * cos + y * sin, y * cos - x * sin


def _inside(depth: Tensor, size: int) -> Tensor:
    """Opacity from the depth below an edge, in halves of the side."""
    return (depth * (size / 2) + EDGE).clamp_(0, 1)


def _uneven(corner: Tensor, cells: int, size: int, tile: Tensor) -> Tensor:
    """A smooth random field [b, S, S] of so many cells along a side."""
    field = _cut(corner, cells, tile[:1])
    return F.interpolate(field, size=(size, size), mode="bicubic", align_corners=False)[:, 0]


def _cut(corner: Tensor, size: int, tile: Tensor) -> Tensor:
    """Windows [b, C, size, size] of the periodic tile [C, T, T] at corners [b, 2]."""
    at = torch.arange(size, device=tile.device)
    down, across = ((corner[:, axis, None] + at) % tile.shape[-1] for axis in (0, 1))
    return tile[:, down[:, :, None], across[:, None, :]].transpose(0, 1)


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [b, 3, 1, 1] and deviation over all channels [b] of pictures, weighted by [b, 1, S, S]."""
    total = _mean(weight)
    mean = _mean(x * weight) / total
    return mean, (_mean((x - mean) ** 2 * weight) / total).mean((1, 2, 3)).sqrt()


def _mean(x: Tensor) -> Tensor:
    """Over a picture's pixels, [b, C, 1, 1]: by pooling, which adds up each picture by itself."""
    return F.avg_pool2d(x, x.shape[-1])
