"""Twins: several shots of every picture, each damaged elsewhere; a pure function of (seed, epoch, position).

What a method of anomaly detection does with features is to compare a patch with patches of sound
pictures. So the shots show one ground, by cameras that differ a little in place, light, tint, sharpness
and noise, and in each of them the ground is damaged somewhere. Features are good where the shots are
alike except there (`fracgen.training.losses`). No photograph is needed:

1. the ground is a rendered picture, in half of the cases blended with its partner by the mask of a
   third picture, or, sometimes, two colours where an attractor does or does not show. In a third of
   the cases it is a texture: a spot of that picture, scattered over the plane at random, and
   scattered anew for every shot, so that they share a look and no place. A share of the grounds are grains (cells
   of seeds on an uneven grid, as in crystals): each shows another piece of the picture, lighter or darker, and every
   shot has other grains;
2. a window of it is looked up, turned and zoomed as the ground has it;
3. the shot is damaged: a piece of another picture of the same mean and contrast, lines, a
   spot lighter or darker, a tint, a piece of the ground itself turned and shifted, or the dust of an
   attractor, light or foreign; each as strong as the contrast of what it lies on, times a factor;
4. all get the ground's colours: channels exchanged, saturation, contrast, inversion;
5. each shot gets its own light, gamma, tint, blur and noise.

Partner and third are those of `fracgen.loading.augment`, so any number of processes sees the same twins.

After: pairs with a known change are how change detection is trained; damage by foreign pieces is CutPaste's
(Li et al., CVPR 2021) and DRAEM's (Zavrtanik et al., ICCV 2021). Blending by masks: Baradad et al. 2022.
Textures are spot noise (van Wijk, SIGGRAPH 1991), grains are cellular noise (Worley, SIGGRAPH 1996).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Purpose, philox4x32, seed_key
from fracgen.loading.augment import GREY, Columns, Floats, affine, drawn, taps

KINDS = ("foreign", "lines", "spot", "tint", "warp", "dust")
"""Of damage, all as likely."""
FOREIGN, LINES, SPOT, TINT, WARP, DUST = range(len(KINDS))
SHAPES = 2
"""Spots, or lines, of one damage: one or two."""
TILE = 256
"""Side of the tile of normal numbers that noise is cut from, periodic."""
MOST_SHOTS = 64
"""Of one ground."""
COMMON, EACH = 40, 60
"""Random numbers of a ground, and of each of its shots; four come of a counter."""
TURN = 2 * math.pi


@dataclass(frozen=True, kw_only=True)
class Shot:
    """What one camera does, for each ground of a batch [B]."""

    affine: Floats
    """[B, 2, 3]: where a pixel comes from, in coordinates of the ground that are -1 and 1 at its edges."""
    gamma: Floats
    light: Floats
    """[B, 3]: logarithm of the gain at the middle, and its change across and down the picture."""
    tint: Floats
    """[B, 3]: gain of each channel."""
    blur: Floats
    """[B, 5]: the taps."""
    noise: Floats
    """[B]: standard deviation."""
    grain: NDArray[np.int64]
    """[B, 2]: corner of the noise in the tile."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Where spots or lines lie, for each ground [B]; lengths are halves of the picture's side."""

    centre: Floats
    """[B, 2]: across, down."""
    angle: Floats
    size: Floats
    """Radius of a spot, half the length of a line."""
    form: Floats
    """Stretch of a spot, bend of a line."""
    width: Floats
    """Of a line."""
    rough: Floats
    """How uneven the edge is."""
    field: NDArray[np.int64]
    """[B, 2]: corner in the tile of the numbers that make it uneven."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What happens to one shot of each ground [B]."""

    kind: NDArray[np.int64]
    shapes: tuple[Shape, ...]
    count: NDArray[np.int64]
    """How many of the shapes count."""
    dust: Floats
    """[B, 2, 3]: where the attractor that makes the dust is looked up."""
    piece: Floats
    """[B, 2, 3]: where the foreign piece is looked up."""
    warp: Floats
    """[B, 2, 3]: where the ground's own piece is looked up."""
    strength: Floats
    """Of lines, spots and dust, as a multiple of the ground's contrast, with its sign."""
    opacity: Floats
    """Of a piece."""
    tint: Floats
    """[B, 3]: change of each channel, as a share."""
    foreign: NDArray[np.bool_]
    """Whether dust is of a foreign piece."""


@dataclass(frozen=True, kw_only=True)
class Scatter:
    """How grounds become textures, for each [B]."""

    chosen: NDArray[np.bool_]
    """Whether they do."""
    cover: Floats
    """How many spots lie on every place, on average."""
    radius: Floats
    """Of a spot, in halves of the picture's side."""
    centre: Floats
    """[B, 2]: where on the picture it is cut out, across and down."""
    fields: tuple[NDArray[np.int64], ...]
    """[B, 2] for each shot: corner in the tile of the numbers that say where its spots lie."""


@dataclass(frozen=True, kw_only=True)
class Grains:
    """How grounds become crystals, for each [B]: other ones in each shot, of one kind."""

    chosen: NDArray[np.bool_]
    """Whether they do."""
    axes: Floats
    """[B, 2, 2]: from places, -1 to 1 along a side, to cells."""
    irregular: Floats
    """How far seeds lie from the middle of their cells."""
    wavy: Floats
    """How uneven borders are, in cells."""
    contrast: Floats
    """Standard deviation of the logarithm of a grain's brightness."""
    shown: Floats
    """How much of the ground is seen in a grain, from 0 to 1."""
    border: Floats
    """[B, 2]: how much darker borders are, and how wide, in cells."""
    fields: tuple[NDArray[np.int64], ...]
    """[B, 2] for each shot: corner in the tile of the numbers that say where seeds lie and what grains show."""


@dataclass(frozen=True, kw_only=True)
class TwinDraws:
    """Everything random about the grounds of a batch and their shots."""

    blended: Floats
    """[B]: 1 where the ground is blended with the partner, else 0."""
    flat: NDArray[np.bool_]
    """Whether the ground is of two colours."""
    paints: Floats
    """[B, 2, 3]: the two."""
    scatter: Scatter
    grains: Grains
    colour: Floats
    """[B, 3, 4]: the ground's colour matrix and its offset."""
    shots: tuple[Shot, ...]
    damage: tuple[Damage, ...]
    """Of each shot."""


def uniforms(positions: NDArray[np.int64], seed: int, epoch: int, stream: int, shots: int) -> Floats:
    """Random numbers in [0, 1) of the grounds at these positions of an epoch, and of their shots: [B, numbers]."""
    return drawn(COMMON + shots * EACH, Purpose.TWINS | int(stream) << 24, positions, seed, epoch)


@cache
def normal_tile() -> NDArray[np.float32]:
    """Normal numbers [3, TILE, TILE], always the same; shots are cut from them at random corners."""
    number = np.arange(3 * TILE * TILE // 2, dtype=np.uint64)
    words = philox4x32((number, int(Purpose.TWINS), 0, 2**32 - 1), seed_key(0))
    u, v = ((word + 0.5) / 2.0**32 for word in words[:2])
    radius = np.sqrt(-2 * np.log(u))  # Box and Muller
    pairs = np.stack([radius * np.cos(TURN * v), radius * np.sin(TURN * v)], -1)
    return pairs.reshape(3, TILE, TILE).astype(np.float32)


def _corner(c: Columns) -> NDArray[np.int64]:
    """A corner [B, 2] in the tile."""
    return np.stack([c.whole(TILE), c.whole(TILE)], 1)


def twin_draws(u: Floats, share: float = 0.0) -> TwinDraws:
    """What the random numbers u [B, numbers] mean; a share of the grounds are grains."""
    c = Columns(u[:, :COMMON])
    each = [Columns(u[:, first : first + EACH]) for first in range(COMMON, u.shape[1], EACH)]
    blended, flat = c.one_in(0.5), c.one_in(0.15)
    paints = np.stack([c.several(3), c.several(3)], 1)
    scatter, grains = _scatter(c, each), _grains(c, each, share)
    kinds = [shot.whole(len(KINDS)) for shot in each]
    # A texture turned and shifted is the same texture.
    repeats = scatter.chosen | grains.chosen
    kinds = [np.where(repeats & (kind == WARP), FOREIGN, kind) for kind in kinds]
    colour = _colour(c, np.any([kind == TINT for kind in kinds], 0))
    angle, zoom, stretch = c.between(0, TURN), c.spread(0.5, 1.7), c.spread(0.75, 1.35)
    centre = c.several(2, -1, 1)
    # Most shots are nearly aligned: they teach what a camera changes. Those further apart teach what repeats.
    apart, nuisance = c.between(0, 1) ** 2, c.between(0.3, 1.3)
    sharpness, grain = c.between(0.2, 1), c.spread(0.002, 0.016)
    shots = []
    for one in each:
        at = centre + 0.15 * (apart * zoom)[:, None] * one.several(2, -1, 1)
        turned = angle + 0.15 * apart * one.between(-1, 1)
        zoomed = zoom * np.exp(0.1 * apart * one.between(-1, 1))
        slope, direction = 0.25 * nuisance * one.between(0, 1), one.between(0, TURN)
        light = [0.15 * nuisance * one.between(-1, 1), slope * np.cos(direction), slope * np.sin(direction)]
        shots.append(Shot(
            affine=affine(turned, zoomed * stretch, zoomed / stretch, at),
            gamma=np.exp(0.15 * nuisance * one.between(-1, 1)), light=np.stack(light, 1),
            tint=np.exp(0.04 * nuisance[:, None] * one.several(3, -1, 1)),
            blur=taps(sharpness * one.between(0, 1)), noise=grain * one.between(0.5, 1), grain=_corner(one),
        ))  # fmt: skip
    damage = [_damage(one, kind, angle=angle, zoom=zoom, centre=centre) for one, kind in zip(each, kinds, strict=True)]
    return TwinDraws(
        blended=blended.astype(np.float64), flat=flat, paints=paints, scatter=scatter, grains=grains, colour=colour,
        shots=tuple(shots), damage=tuple(damage),
    )  # fmt: skip


def _scatter(c: Columns, each: Sequence[Columns]) -> Scatter:
    chosen, radius = c.one_in(1 / 3), c.spread(0.06, 0.5)
    centre = (1 - radius)[:, None] * c.several(2, -1, 1)
    fields = tuple(_corner(one) for one in each)
    return Scatter(chosen=chosen, cover=c.spread(0.1, 30.0), radius=radius, centre=centre, fields=fields)


def _grains(c: Columns, each: Sequence[Columns], share: float) -> Grains:
    chosen = c.one_in(share)
    angle, cells, stretch = c.between(0, TURN), c.spread(3, 20), c.spread(0.6, 1.7)
    axes = affine(angle, cells / 2 * stretch, cells / 2 / stretch, np.zeros((len(angle), 2)))[:, :, :2]
    return Grains(
        chosen=chosen, axes=axes, irregular=c.between(0.1, 0.4), wavy=c.between(0, 0.5), contrast=c.spread(0.05, 0.6),
        shown=c.between(0.05, 1), border=np.stack([c.between(-0.2, 0.6), c.spread(0.03, 0.2)], 1),
        fields=tuple(_corner(one) for one in each),
    )  # fmt: skip


def _damage(c: Columns, kind: NDArray[np.int64], *, angle: Floats, zoom: Floats, centre: Floats) -> Damage:
    line = kind == LINES
    shapes = []
    for _ in range(SHAPES):
        middle = c.several(2, -0.75, 0.75)
        size = np.where(line, c.between(0.15, 0.6), c.spread(0.08, 0.4))
        form = np.where(line, c.between(-0.6, 0.6), c.spread(0.5, 2.0))
        rough = np.where(line, c.between(0, 0.06), 0.25)
        shapes.append(Shape(
            centre=middle, angle=c.between(0, math.pi), size=size, form=form, width=c.between(0.012, 0.06), rough=rough,
            field=_corner(c),
        ))  # fmt: skip
    count = 1 + c.one_in(0.5).astype(np.int64)
    dust_zoom = c.between(0.15, 0.5)
    dust = affine(c.between(0, TURN), dust_zoom, dust_zoom, c.several(2, -1, 1))
    piece = affine(c.between(0, TURN), zoom, zoom, c.several(2, -1, 1))
    turned, zoomed = angle + c.between(-1.5, 1.5), zoom * c.spread(0.6, 1.65)
    moved = centre + 0.3 * zoom[:, None] * c.several(2, -1, 1)
    strength = c.spread(0.5, 3.0) * np.where(c.one_in(0.5), 1.0, -1.0)
    hue = c.between(0, TURN)[:, None] + np.arange(3) * TURN / 3
    return Damage(
        kind=kind, shapes=tuple(shapes), count=count, dust=dust, piece=piece,
        warp=affine(turned, zoomed, zoomed, moved), strength=strength, opacity=c.between(0.5, 1),
        tint=np.cos(hue) * c.between(0.15, 0.6)[:, None], foreign=c.one_in(0.5),
    )  # fmt: skip


def _colour(c: Columns, tinted: NDArray[np.bool_]) -> Floats:
    """One matrix: channels exchanged, saturation, then contrast above a random black, perhaps inverted.

    Where the damage is a tint, colours are kept: in grey it could not be told from light.
    """
    order = np.argsort(c.several(3), 1)
    exchanged = np.eye(3)[order]
    saturation = np.where(c.one_in(0.25), 0.0, c.between(0.2, 1))
    saturation = np.where(tinted, 0.5 + 0.5 * saturation, saturation)[:, None, None]
    matrix = (saturation * np.eye(3) + (1 - saturation) * np.tile(GREY, (3, 1))) @ exchanged
    contrast, black = c.spread(0.25, 1), c.between(0, 1)
    inverted = c.one_in(0.5)
    sign = np.where(inverted, -1.0, 1.0)
    offset = black * (1 - contrast) + np.where(inverted, contrast, 0.0)
    matrix = matrix * (contrast * sign)[:, None, None]
    return np.concatenate([matrix, np.repeat(offset[:, None, None], 3, 1)], 2)

