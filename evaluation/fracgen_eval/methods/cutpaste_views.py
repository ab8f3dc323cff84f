"""CutPaste's damaged views (Li et al., CVPR 2021, section 2.1), a whole batch at a time.

Where things are cut and pasted is drawn first, by NumPy, as plain arrays that a test can check; the
pictures are then made by one gather per batch on whatever device they are on. Lengths are pixels,
pictures float32 [B, 3, S, S] in [0, 1].
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

AREA = (0.02, 0.15)
ASPECT_TALL, ASPECT_WIDE = (0.3, 1.0), (1.0, 3.3)
SCAR_WIDTH, SCAR_LENGTH = (2, 16), (10, 25)
SCAR_ANGLE = 45.0


@dataclass(frozen=True)
class Patches:
    """Axis-aligned rectangles: cut at one place, pasted at another of the same picture; all arrays [B]."""

    height: Ints
    width: Ints
    cut_top: Ints
    cut_left: Ints
    top: Ints
    left: Ints


@dataclass(frozen=True)
class Scars:
    """Narrow rectangles, turned about their middle; all arrays [B]."""

    length: Ints
    width: Ints
    angle: Floats
    """Degrees."""
    _: KW_ONLY
    cut_top: Ints
    cut_left: Ints
    y: Floats
    """Row of the pasted scar's middle."""
    x: Floats


def draw_patches(rng: np.random.Generator, batch: int, side: int) -> Patches:
    """Area ratio U(0.02, 0.15); aspect (width to height) U(0.3, 1) or U(1, 3.3), either with probability 1/2."""
    area = rng.uniform(*AREA, batch) * side * side
    aspect = np.where(rng.random(batch) < 0.5, rng.uniform(*ASPECT_TALL, batch), rng.uniform(*ASPECT_WIDE, batch))
    height = np.clip(np.rint(np.sqrt(area / aspect)), 1, side).astype(np.int64)
    width = np.clip(np.rint(np.sqrt(area * aspect)), 1, side).astype(np.int64)
    cut_top, top = (rng.integers(0, side - height + 1) for _ in range(2))
    cut_left, left = (rng.integers(0, side - width + 1) for _ in range(2))
    return Patches(height, width, cut_top, cut_left, top, left)


def draw_scars(rng: np.random.Generator, batch: int, side: int) -> Scars:
    """Width 2 to 16, length 10 to 25, turned by U(-45, 45) degrees; the turned scar lies inside the picture."""
    width, length = (rng.integers(low, high + 1, batch) for low, high in (SCAR_WIDTH, SCAR_LENGTH))
    angle = rng.uniform(-SCAR_ANGLE, SCAR_ANGLE, batch)
    cosine, sine = np.cos(np.radians(angle)), np.abs(np.sin(np.radians(angle)))
    half_y, half_x = (length * cosine + width * sine) / 2, (width * cosine + length * sine) / 2
    y, x = rng.uniform(half_y, side - half_y), rng.uniform(half_x, side - half_x)
    cut_top, cut_left = rng.integers(0, side - length + 1), rng.integers(0, side - width + 1)
    return Scars(length, width, angle, cut_top=cut_top, cut_left=cut_left, y=y, x=x)


def paste_patches(images: Tensor, patches: Patches, jitter: Floats | None = None) -> tuple[Tensor, Tensor]:
    """The pictures with their patches pasted, and the masks, bool [B, S, S], of where.

    Args:
        images: float32 [B, 3, S, S].
        patches: where.
        jitter: colour factors from `draw_jitter` for the patch alone.
    """
    y, x = _grid(images)
    p = _columns(patches, images)
    mask = (y >= p["top"]) & (y < p["top"] + p["height"]) & (x >= p["left"]) & (x < p["left"] + p["width"])
    source = _gathered(images, y - p["top"] + p["cut_top"], x - p["left"] + p["cut_left"])
    return _composed(images, source, mask, jitter), mask


def paste_scars(images: Tensor, scars: Scars, jitter: Floats | None = None) -> tuple[Tensor, Tensor]:
    """The pictures with their scars pasted, and the masks, bool [B, S, S], of where."""
    import torch

    y, x = _grid(images)
    s = _columns(scars, images)
    angle = torch.deg2rad(s["angle"].float())
    down, right = y + 0.5 - s["y"], x + 0.5 - s["x"]
    along = (down * angle.cos() + right * angle.sin() + s["length"] / 2).floor().long()
    across = (right * angle.cos() - down * angle.sin() + s["width"] / 2).floor().long()
    mask = (along >= 0) & (along < s["length"]) & (across >= 0) & (across < s["width"])
    source = _gathered(images, along + s["cut_top"], across + s["cut_left"])
    return _composed(images, source, mask, jitter), mask


def draw_jitter(rng: np.random.Generator, batch: int, strength: float) -> Floats:
    """Colour factors [B, 4]: brightness, contrast, saturation in [1 - s, 1 + s], hue in [-s, s] turns."""
    factors = rng.uniform(-strength, strength, (batch, 4))
    factors[:, :3] += 1
    return factors


def colour_jitter(images: Tensor, factors: Floats, mask: Tensor | None = None) -> Tensor:
    """Brightness, contrast about the mean grey (of the mask, where given), saturation, hue, in that order."""
    import torch

    f = torch.as_tensor(factors, dtype=images.dtype, device=images.device)[:, :, None, None, None].unbind(1)
    images = (images * f[0]).clamp(0, 1)
    weight = torch.ones_like(images[:, :1]) if mask is None else mask[:, None].to(images.dtype)
    mean = (_grey(images) * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp_min(1)
    images = (mean + (images - mean) * f[1]).clamp(0, 1)
    grey = _grey(images)
    images = (grey + (images - grey) * f[2]).clamp(0, 1)
    return _turned_hue(images, f[3])


def _turned_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Hue turned by `turns` in HSV: the hexagon of hues, walked at constant value and chroma."""
    import torch

    value = images.amax(1, keepdim=True)
    chroma = value - images.amin(1, keepdim=True)
    r, g, b = images.unbind(1)
    safe = chroma[:, 0].clamp_min(1e-12)
    green_or_blue = torch.where(g == value[:, 0], 2 + (b - r) / safe, 4 + (r - g) / safe)
    hue = torch.where(r == value[:, 0], (g - b) / safe, green_or_blue)
    hue = hue / 6 + turns[:, 0]
    channels = []
    for offset in (5.0, 3.0, 1.0):
        k = (offset + hue * 6) % 6
        channels.append(value[:, 0] - chroma[:, 0] * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)


def _grey(images: Tensor) -> Tensor:
    import torch

    weights = torch.tensor([0.2989, 0.587, 0.114], dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


def _composed(images: Tensor, source: Tensor, mask: Tensor, jitter: Floats | None) -> Tensor:
    if jitter is not None:
        source = colour_jitter(source, jitter, mask)
    return source.where(mask[:, None], images)


def _gathered(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """images[b, :, y[b], x[b]], whatever the coordinates outside the image."""
    side = images.shape[-1]
    index = y.clamp(0, side - 1) * side + x.clamp(0, side - 1)
    flat = index.reshape(len(images), 1, -1).expand(-1, 3, -1)
    return images.flatten(2).gather(2, flat).reshape(images.shape)


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    import torch

    steps = torch.arange(images.shape[-1], device=images.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return y[None], x[None]


def _columns(where: Patches | Scars, images: Tensor) -> dict[str, Tensor]:
    """Every field as a tensor [B, 1, 1]."""
    import torch

    return {k: torch.as_tensor(v, device=images.device)[:, None, None] for k, v in vars(where).items()}
