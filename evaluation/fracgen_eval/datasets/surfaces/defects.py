"""Faint defects of a surface, drawn before the camera looks at it.

Every kind takes a generator, the surface (float64 [S, S, 3] in [0, 255]), a piece of another
surface of the same shape, and a strength (0: invisible, 1: as calibrated). It returns the damaged
surface and an opacity [S, S] in [0, 1], zero wherever nothing was changed. Lengths are shares of the
side. A defect's contrast follows that of the ground below it, so that it is as faint on rough
gravel as on smooth paper; that it be found must not depend on brightness alone.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

Surface: TypeAlias = NDArray[np.float64]
Opacity: TypeAlias = NDArray[np.float64]
Generator: TypeAlias = np.random.Generator


def scratch(rng: Generator, surface: Surface, other: Surface, strength: float) -> tuple[Surface, Opacity]:
    """A thin, slightly bent line, brighter or darker than what it crosses."""
    side = len(surface)
    along, across = _axes(rng, side)
    length = rng.uniform(0.35, 0.6) * side
    bent = across - rng.uniform(-0.1, 0.1) * side * (2 * along / length) ** 2
    opacity = _inside(side * rng.uniform(0.010, 0.016) - np.abs(bent)) * _inside(length / 2 - np.abs(along))
    return _shifted(rng, surface, opacity, 1.0 * strength), opacity


def crack(rng: Generator, surface: Surface, other: Surface, strength: float) -> tuple[Surface, Opacity]:
    """A dark jagged line with a branch."""
    side = len(surface)
    start, heading = rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0, 2 * np.pi)
    main = _walk(rng, start, heading, side, 11)
    fork = _walk(rng, main[rng.integers(3, 7)], heading + rng.choice([-1, 1]) * rng.uniform(0.6, 1.1), side, 6)
    width = side * rng.uniform(0.010, 0.016)
    opacity = np.maximum(_stroke(main, side, width), _stroke(fork, side, width))
    return _shifted(rng, surface, opacity, -1.0 * strength), opacity


def thread(rng: Generator, surface: Surface, other: Surface, strength: float) -> tuple[Surface, Opacity]:
    """A hair or fibre: a long smooth curl."""
    side = len(surface)
    turn = np.cumsum(rng.normal(0, 0.25, 36)) + rng.uniform(0, 2 * np.pi) + rng.uniform(-0.1, 0.1) * np.arange(36)
    steps = 0.025 * side * np.stack([np.sin(turn), np.cos(turn)], 1)
    path = np.cumsum(steps, 0)
    path += rng.uniform(0.35, 0.65, 2) * side - path.mean(0)
    opacity = _stroke(path, side, side * rng.uniform(0.008, 0.013))
    return _shifted(rng, surface, opacity, 1.0 * strength), opacity


def stain(rng: Generator, surface: Surface, other: Surface, strength: float) -> tuple[Surface, Opacity]:
    """A dried blot: a little darker, with a darker rim."""
    depth = _blob(rng, len(surface), 0.10, 0.18)
    opacity = _inside(depth)
    rim = np.exp(-((depth / (0.02 * len(surface)) - 1) ** 2))
    shade = (0.12 + 0.28 * rim) * strength
    return surface * (1 - np.minimum(shade, 0.95) * opacity)[..., None], opacity


def tint(rng: Generator, surface: Surface, other: Surface, strength: float) -> tuple[Surface, Opacity]:
    """A spot of foreign colour; light and shade stay."""
    opacity = _inside(_blob(rng, len(surface), 0.10, 0.18))
    hue = rng.uniform(0, 2 * np.pi) + np.array([0, 2, 4]) * np.pi / 3
    return surface * (1 + 0.3 * strength * opacity[..., None] * np.cos(hue)), opacity


def drop(rng: Generator, surface: Surface, other: Surface, strength: float) -> tuple[Surface, Opacity]:
    """A clear drop: the ground magnified, shaded on one side and lit on the other."""
    side = len(surface)
    depth = _blob(rng, side, 0.08, 0.14)
    opacity = _inside(depth)
    rise = np.clip(depth / (0.08 * side), 0, 1)
    slope = np.stack(np.gradient(scipy.ndimage.gaussian_filter(rise * (2 - rise), 0.012 * side)), -1) * side * 0.06
    angle = rng.uniform(0, 2 * np.pi)
    light = slope @ np.array([np.sin(angle), np.cos(angle)])
    y, x = np.mgrid[:side, :side].astype(np.float64)
    lens = _sampled(surface, y + slope[..., 0] * 0.03 * side * strength, x + slope[..., 1] * 0.03 * side * strength)
    return _blended(surface, lens + 0.8 * strength * _contrast(surface, opacity) * light[..., None], opacity), opacity


def foreign(rng: Generator, surface: Surface, other: Surface, strength: float) -> tuple[Surface, Opacity]:
    """A piece of another surface, of the same mean colour and the same contrast."""
    opacity = _inside(_blob(rng, len(surface), 0.12, 0.2))
    spot = opacity > 0
    ours, theirs = surface[spot], other[spot]
    piece = (other - theirs.mean(0)) * ((ours.std() + 4) / (theirs.std() + 4)) + ours.mean(0)
    return _blended(surface, piece, opacity * min(1.0, 0.8 * strength)), opacity


Defect: TypeAlias = Callable[[Generator, Surface, Surface, float], tuple[Surface, Opacity]]
DEFECTS: dict[str, Defect] = {
    "crack": crack, "drop": drop, "foreign": foreign, "scratch": scratch, "stain": stain, "thread": thread,
    "tint": tint,
}  # fmt: skip


def _inside(depth: NDArray[np.float64]) -> Opacity:
    """Opacity of a shape from the depth in pixels below its edge, two pixels soft."""
    return np.clip(0.5 + depth / 2, 0.0, 1.0)


def _axes(rng: Generator, side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates [S, S] along and across a random direction, from a random point near the middle."""
    y, x = np.mgrid[:side, :side].astype(np.float64)
    angle, (cy, cx) = rng.uniform(0, np.pi), rng.uniform(0.3, 0.7, 2) * side
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    return along, (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)


def _blob(rng: Generator, side: int, low: float, high: float) -> NDArray[np.float64]:
    """Depth in pixels below the edge of a wavy ellipse of mean radius U(low, high) of the side."""
    along, across = _axes(rng, side)
    stretch = np.exp(rng.uniform(-0.35, 0.35))
    around, angle = np.hypot(along * stretch, across / stretch), np.arctan2(across / stretch, along * stretch)
    radius = np.full_like(around, rng.uniform(low, high) * side)
    for wave in (2, 3, 5):
        radius *= 1 + rng.uniform(0, 0.15) * np.sin(wave * angle + rng.uniform(0, 2 * np.pi))
    depth: NDArray[np.float64] = radius - around
    return depth


def _walk(rng: Generator, start: NDArray[np.float64], heading: float, side: int, steps: int) -> NDArray[np.float64]:
    turns = heading + rng.uniform(-0.7, 0.7, steps)
    legs = rng.uniform(0.03, 0.06, steps) * side
    ends = start + np.cumsum(np.stack([legs * np.sin(turns), legs * np.cos(turns)], 1), 0)
    return np.concatenate([start[None], ends])


def _stroke(path: NDArray[np.float64], side: int, half_width: float) -> Opacity:
    """Opacity of a polyline [N, 2] (y, x) of that half width in pixels."""
    points = np.moveaxis(np.mgrid[:side, :side], 0, -1).astype(np.float64)
    nearest = np.full((side, side), np.inf)
    for a, b in pairwise(path):
        leg = b - a
        share = np.clip((points - a) @ leg / max(float(leg @ leg), 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - a - share[..., None] * leg, axis=-1))
    return _inside(half_width - nearest)


def _contrast(surface: Surface, opacity: Opacity) -> float:
    """Grey levels by which a calibrated defect differs from its ground: more where the ground is rough."""
    return 14.0 + 1.0 * float(surface[scipy.ndimage.binary_dilation(opacity > 0, iterations=3)].mean(1).std())


def _shifted(rng: Generator, surface: Surface, opacity: Opacity, strength: float) -> Surface:
    sign = rng.choice([-1, 1]) if strength > 0 else 1
    return surface + (sign * strength * _contrast(surface, opacity)) * opacity[..., None]


def _blended(surface: Surface, piece: Surface, opacity: Opacity) -> Surface:
    return surface + opacity[..., None] * (piece - surface)


def _sampled(surface: Surface, y: NDArray[np.float64], x: NDArray[np.float64]) -> Surface:
    """The surface at fractional coordinates, mirrored beyond its edge."""
    channels = [scipy.ndimage.map_coordinates(surface[..., c], [y, x], order=1, mode="mirror") for c in range(3)]
    return np.stack(channels, -1)
