"""Augmentation of rendered pictures on their device: a pure function of (seed, epoch, position).

Every picture of a batch has its own random numbers, drawn by counter for its position in the epoch.
So an augmented batch is the same after a resumption, and for any number of processes. Each picture
goes through these steps, in this order:

1. resample: random crop, stretch, rotation and flips, as one bilinear lookup;
2. tone curve, solarisation, then brightness, contrast, saturation, hue and inversion as one colour matrix;
3. Gaussian blur;
4. random erasing;
5. mixing with its partner, by a weight for every pixel: a constant (MixUp), a box (CutMix), or the
   mask of a third picture's attractors (blend). The label is mixed by the mean weight.

The partner of position p of a global batch of n is p + n div 2, the third p + n div 4, counted
modulo n. Where the number of processes divides both, a process already holds all it needs; where it
does not, the loader renders the others as well.

The operations are written here because libraries of them (kornia, torchvision) draw from torch's global
generator, a batch or a picture at a time; a dozen short ones are less than it takes to hand them their numbers.

Sources: random resized crop, Szegedy et al. 2015; erasing, Zhong et al. 2017; MixUp, Zhang et al.
2017; CutMix, Yun et al. 2019; blending by masks, Baradad et al. 2022 (and arXiv 2508.11697).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Purpose, philox4x32, seed_key
from fracgen.support.decode import KEY, Table
from fracgen.support.errors import renamed_fields
from fracgen.support.options import Within

if TYPE_CHECKING:
    import torch

Range = tuple[float, float]
Floats = NDArray[np.float64]
Probability: TypeAlias = Annotated[float, Within(0.0, 1.0)]


@renamed_fields(grey="gray", solarise="solarize")
@dataclass(frozen=True)
class Augmentation(Table):
    """What may happen to a picture. Ranges are those of uniform distributions; probabilities are per picture.

    Raises:
        ValueError: a number is out of range, or the probabilities of mixing add up to more than one.
    """

    what = "augmentation"
    crop: Annotated[Range, Within(0.01, 1.0)] = (1.0, 1.0)
    """Area of the crop, as a share of the picture's; it is resized to the whole picture."""
    _: KW_ONLY
    aspect: Annotated[Range, Within(0.1, 10.0)] = (1.0, 1.0)
    """Width of the crop over its height, uniform in the logarithm."""
    rotation: Annotated[float, Within(0.0, 180.0)] = 0.0
    """Largest angle, in degrees, either way; what lies outside of the picture is its mirror image."""
    flip: Probability = 0.0
    """Probability of a horizontal flip."""
    flip_vertical: Probability = 0.0
    brightness: Probability = 0.0
    """The picture is multiplied by 1 +- this."""
    contrast: Probability = 0.0
    """Differences from mid-grey are multiplied by 1 +- this."""
    saturation: Probability = 0.0
    """Differences from grey are multiplied by 1 +- this."""
    hue: Annotated[float, Within(0.0, 0.5)] = 0.0
    """Largest rotation about the grey axis, in turns, at most 0.5."""
    gray: Probability = field(default=0.0, metadata={KEY: "grey"})
    """Probability of no color at all; `grey` in files."""
    invert: Probability = 0.0
    """Probability of the negative."""
    tone: Probability = 0.0
    """x becomes x + t x (1 - x), with t within +- this, at most 1: a gamma without a power."""
    solarize: Probability = field(default=0.0, metadata={KEY: "solarise"})
    """Probability that values above a random threshold are inverted; `solarise` in files."""
    blur: Probability = 0.0
    """Probability of a Gaussian blur of five taps."""
    blur_sigma: Annotated[Range, Within(0.1, 2.0)] = (0.3, 1.2)
    """Its standard deviation, in pixels."""
    erase: Probability = 0.0
    """Probability that a box is replaced by one colour."""
    erase_area: Annotated[Range, Within(0.0, 1.0)] = (0.02, 0.25)
    """The box's area, as a share of the picture's."""
    mixup: Probability = 0.0
    cutmix: Probability = 0.0
    blend: Probability = 0.0
    """Probabilities of the three ways of mixing; a picture is mixed in one way at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mixes > 1:
            raise ValueError(
                f"augmentation: mixup {self.mixup:g}, cutmix {self.cutmix:g} and blend {self.blend:g} add up to more "
                "than 1: a picture is mixed in one way at most"
            )

    @property
    def mixes(self) -> float:
        """Probability that a picture is mixed with another."""
        return self.mixup + self.cutmix + self.blend

    @property
    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of all fields."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "crop": Augmentation(crop=(0.08, 1.0), aspect=(3 / 4, 4 / 3), flip=0.5),
    "full": Augmentation(
        crop=(0.08, 1.0), aspect=(3 / 4, 4 / 3), rotation=20.0, flip=0.5, flip_vertical=0.5, brightness=0.4,
        contrast=0.4, saturation=0.4, hue=0.1, gray=0.1, invert=0.1, tone=0.6, solarize=0.1, blur=0.3, erase=0.5,
        mixup=0.25, cutmix=0.3, blend=0.25,
    ),
}  # fmt: skip
AUGMENTATIONS["unmixed"] = dataclasses.replace(AUGMENTATIONS["full"], mixup=0.0, cutmix=0.0, blend=0.0)
"""By name. `full` keeps to the strengths of a published recipe for 1,000 fractal images (random resized crop,
flip, AutoAugment, erasing with probability 0.5, MixUp or CutMix in 80 % of cases) with blends beside its mixes;
`unmixed` is the same for pairs, which are not mixed."""


def augmentation(name: str) -> Augmentation:
    """The augmentation of that name. Raises ValueError with the list where there is none."""
    if name not in AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {name!r}: use one of {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]


@dataclass(frozen=True)
class Partners:
    """Which positions of an epoch a process needs for its share of a global batch.

    `needed` holds them in ascending order; the others say where in `needed` the share's own pictures,
    their partners and the third pictures stand: int64 [B] each.
    """

    needed: NDArray[np.int64]
    own: NDArray[np.int64]
    partner: NDArray[np.int64]
    third: NDArray[np.int64]

    @classmethod
    def of(cls, share: NDArray[np.int64], first: int, count: int, *, mixes: bool) -> Partners:
        """For the positions `share` of the global batch of `count` positions from `first` on."""
        partner = first + (share - first + count // 2) % count if mixes else share
        third = first + (share - first + count // 4) % count if mixes else share
        needed, rows = np.unique(np.concatenate([share, partner, third]), return_inverse=True)
        own, other, mask = rows.reshape(3, -1)
        return cls(needed, own, other, mask)


UNIFORMS = 32
"""Random numbers of one picture: 30 are used, four come of a counter."""


def drawn(
    count: int, purpose: int, positions: NDArray[np.int64], seed: int, epoch: int
) -> Floats:
    """Random numbers in [0, 1) of the pictures at these positions of an epoch: [B, count].

    Args:
        count: a multiple of four.
        purpose: word 1 of the counter: purpose, view and stream; see `fracgen.draws`.
    """
    number = np.arange(count // 4, dtype=np.uint64)
    words = philox4x32((number, purpose, positions.astype(np.uint64)[:, None], epoch), seed_key(seed))
    return np.stack(words, -1).reshape(len(positions), count) / 2.0**32


def uniforms(positions: NDArray[np.int64], seed: int, epoch: int, stream: int, view: int = 0) -> Floats:
    """Random numbers in [0, 1) of the pictures at these positions of an epoch: [B, UNIFORMS]."""
    return drawn(UNIFORMS, Purpose.AUGMENT | view << 16 | int(stream) << 24, positions, seed, epoch)


class Columns:
    """Hands out columns [B] of random numbers [B, count], each once."""

    def __init__(self, u: Floats) -> None:
        self.next = iter(u.T).__next__

    def between(self, low: float, high: float) -> Floats:
        return np.asarray(low + (high - low) * self.next())

    def several(self, count: int, low: float = 0.0, high: float = 1.0) -> Floats:
        """[B, count]."""
        return np.stack([self.between(low, high) for _ in range(count)], 1)

    def spread(self, low: float, high: float) -> Floats:
        """Uniform in the logarithm."""
        return np.exp(self.between(math.log(low), math.log(high)))

    def one_in(self, probability: float) -> NDArray[np.bool_]:
        return np.asarray(self.next() < probability)

    def whole(self, count: int) -> NDArray[np.int64]:
        return np.asarray(self.next() * count, np.int64)


@dataclass(frozen=True, kw_only=True)
class Alterations:
    """What happens to each picture of a batch, as numbers: the random part, worked out on the host."""

    affine: Floats
    """[B, 2, 3]: where a pixel of the result comes from, in coordinates that are -1 and 1 at the edges."""
    tone: Floats
    """[B]."""
    solarise: Floats
    """[B]: the threshold, above 1 for none."""
    colour: Floats
    """[B, 3, 4]: the colour matrix and its offset."""
    blur: Floats
    """[B, 5]: the taps; (0, 0, 1, 0, 0) for none."""
    erase: Floats
    """[B, 4]: left, top, right, bottom of the box in [0, 1]; empty for none."""
    erase_colour: Floats
    """[B, 3]."""
    mix: Floats
    """[B]: 0 for none, 1 MixUp, 2 CutMix, 3 blend."""
    mix_weight: Floats
    """[B]: MixUp's constant."""
    mix_box: Floats
    """[B, 4]: CutMix's box, in which the partner shows."""


def alterations(a: Augmentation, u: Floats) -> Alterations:
    """What the random numbers u [B, UNIFORMS] mean."""
    c = Columns(u)
    affine = _affine(a, c)
    tone, solarise = c.between(-a.tone, a.tone), np.where(c.one_in(a.solarize), c.between(0.3, 1.0), 2.0)
    colour = _colour(a, c)
    blur = taps(np.where(c.one_in(a.blur), c.between(*a.blur_sigma), 0.0))
    erased, area = c.one_in(a.erase), c.between(*a.erase_area)
    erase = _box(np.where(erased, area, 0.0), c.between(-1, 1), c.next(), c.next())
    erase_colour = c.several(3)
    way, weight = c.next(), c.next()
    mix = np.searchsorted(np.cumsum([a.mixup, a.cutmix, a.blend]), way, side="right")
    mix = np.array([1.0, 2.0, 3.0, 0.0])[mix]
    # Half and half is as strong as mixing gets: the own picture keeps the larger part, its label the larger weight.
    box = _box(weight / 2, np.zeros(len(u)), c.next(), c.next())
    return Alterations(
        affine=affine, tone=tone, solarise=solarise, colour=colour, blur=blur, erase=erase,
        erase_colour=erase_colour, mix=mix, mix_weight=1 - weight / 2, mix_box=box,
    )  # fmt: skip


def affine(angle: Floats, across: Floats, down: Floats, centre: Floats) -> Floats:
    """Affine maps [B, 2, 3]: a window as wide as `across` and as high as `down`, turned, around a centre [B, 2]."""
    cos, sin = np.cos(angle), np.sin(angle)
    rows = [
        np.stack([cos * across, -sin * down, centre[:, 0]], 1),
        np.stack([sin * across, cos * down, centre[:, 1]], 1),
    ]
    return np.stack(rows, 1)


def _affine(a: Augmentation, c: Columns) -> Floats:
    area, aspect = c.between(*a.crop), c.spread(*a.aspect)
    width, height = np.minimum(np.sqrt(area * aspect), 1.0), np.minimum(np.sqrt(area / aspect), 1.0)
    centre = np.stack([c.between(-1, 1) * (1 - width), c.between(-1, 1) * (1 - height)], 1)
    angle = np.radians(c.between(-a.rotation, a.rotation))
    width, height = np.where(c.one_in(a.flip), -width, width), np.where(c.one_in(a.flip_vertical), -height, height)
    return affine(angle, width, height, centre)


GREY = np.array([0.299, 0.587, 0.114])
"""Luminance of red, green and blue."""


def _colour(a: Augmentation, c: Columns) -> Floats:
    """One matrix: hue rotation and saturation about the grey axis, then contrast, brightness and inversion."""
    brightness, contrast, saturation = (c.between(1 - by, 1 + by) for by in (a.brightness, a.contrast, a.saturation))
    turn = 2 * np.pi * c.between(-a.hue, a.hue)
    saturation = np.where(c.one_in(a.gray), 0.0, saturation)
    luminance = np.tile(GREY, (3, 1))
    # Rodrigues' rotation about (1, 1, 1) / sqrt(3), applied to what differs from the luminance.
    axis = np.full((3, 3), 1 / 3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    hue = cos * np.eye(3) + sin * cross + (1 - cos) * axis
    matrix = luminance + saturation[:, None, None] * (hue @ (np.eye(3) - luminance))
    matrix = matrix * (contrast * brightness)[:, None, None]
    offset = 0.5 * (1 - contrast) * brightness
    sign = np.where(c.one_in(a.invert), -1.0, 1.0)
    offset = np.where(sign < 0, 1 - offset, offset)
    return np.concatenate([matrix * sign[:, None, None], np.repeat(offset[:, None, None], 3, 1)], 2)


def taps(sigma: Floats) -> Floats:
    """Weights of five taps of a Gaussian; a standard deviation of 0 leaves the picture as it is."""
    distance = np.arange(-2.0, 3.0)
    taps = np.exp(-0.5 * (distance / np.maximum(sigma, 1e-3)[:, None]) ** 2)
    return np.asarray(taps / taps.sum(1, keepdims=True))


def _box(area: Floats, shape: Floats, x: Floats, y: Floats) -> Floats:
    """Boxes of an area, anywhere inside: left, top, right, bottom [B, 4]. `shape` in [-1, 1]: 1 : 3.3 to 3.3 : 1."""
    aspect = 3.3**shape
    width, height = np.minimum(np.sqrt(area * aspect), 1.0), np.minimum(np.sqrt(area / aspect), 1.0)
    left, top = x * (1 - width), y * (1 - height)
    return np.stack([left, top, left + width, top + height], 1)


def on_device(values: Sequence[Floats], device: torch.device) -> list[torch.Tensor]:
    """Host arrays as float32 tensors on a device, in one transfer."""
    import torch

    flat = torch.from_numpy(np.concatenate([v.ravel() for v in values]).astype(np.float32)).to(
        device, non_blocking=True
    )
    parts = flat.split_with_sizes([v.size for v in values])
    return [part.reshape(v.shape) for part, v in zip(parts, values, strict=True)]
