"""Defects drawn on a picture, each with its exact mask: what lies outside the mask is untouched.

Every function takes a generator and an image, uint8 [S, S, 3], and returns the damaged image and a
mask, bool [S, S]. Lengths are shares of the side, so a defect looks alike at every size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Generator = np.random.Generator


def scratch(rng: Generator, image: Image) -> tuple[Image, Mask]:
    """A thin bent line, much brighter or darker than what it crosses."""
    side = len(image)
    y, x = _grid(side)
    length, angle = rng.uniform(0.3, 0.7) * side, rng.uniform(0, np.pi)
    cy, cx = rng.uniform(0.3, 0.7, 2) * side
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    bend = rng.uniform(-0.1, 0.1) * side * (2 * along / length) ** 2
    mask = (np.abs(along) < length / 2) & (np.abs(across - bend) < max(1.0, side * rng.uniform(0.01, 0.018)))
    return _painted(image, mask, _contrasting(image, mask, rng, 110)), mask


def stain(rng: Generator, image: Image) -> tuple[Image, Mask]:
    """A blot through which the ground still shows, darker and less contrasted."""
    mask = _blob(rng, len(image), 0.1, 0.2)
    mean = image[mask].mean(0)
    return _painted(image, mask, mean * 0.45 + 0.25 * (image - mean)), mask


def hole(rng: Generator, image: Image) -> tuple[Image, Mask]:
    """A black opening."""
    mask = _blob(rng, len(image), 0.06, 0.13)
    return _painted(image, mask, rng.uniform(2, 14, image.shape)), mask


def scar(rng: Generator, image: Image) -> tuple[Image, Mask]:
    """A narrow strip of the picture itself, pasted at another angle and much brighter or darker."""
    side = len(image)
    y, x = _grid(side)
    angle = rng.uniform(0, np.pi)
    cy, cx = rng.uniform(0.25, 0.75, 2) * side
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
    half_length, half_width = rng.uniform(0.12, 0.22) * side, rng.uniform(0.02, 0.04) * side
    mask = (np.abs(along) < half_length) & (np.abs(across) < half_width)
    strip = image[np.rint(along).astype(int) % side, np.rint(across).astype(int) % side]
    return _painted(image, mask, strip + rng.choice([-75, 75])), mask


def misplaced(rng: Generator, image: Image) -> tuple[Image, Mask]:
    """A rectangle of the picture, turned by a right angle, where it does not belong."""
    side = len(image)
    height, width = (rng.uniform(0.2, 0.35, 2) * side).astype(int)
    top, left = rng.integers(0, side - height), rng.integers(0, side - width)
    from_top, from_left = rng.integers(0, side - width), rng.integers(0, side - height)
    mask = np.zeros((side, side), bool)
    mask[top : top + height, left : left + width] = True
    result = image.copy()
    patch = np.rot90(image[from_top : from_top + width, from_left : from_left + height])
    result[mask] = patch.reshape(-1, 3)
    return result, mask


def colour(rng: Generator, image: Image) -> tuple[Image, Mask]:
    """A spot of foreign colour that keeps the ground's light and shade."""
    mask = _blob(rng, len(image), 0.08, 0.16)
    tint = np.array([(1.5, 0.55, 0.5), (0.5, 1.4, 0.6), (0.5, 0.7, 1.6), (1.5, 1.3, 0.3)])[rng.integers(4)]
    return _painted(image, mask, (image + 20.0) * tint), mask


DEFECTS: dict[str, Callable[[Generator, Image], tuple[Image, Mask]]] = {
    "colour": colour, "hole": hole, "misplaced": misplaced, "scar": scar, "scratch": scratch, "stain": stain,
}  # fmt: skip


def _grid(side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, x = np.mgrid[:side, :side].astype(np.float64)
    return y, x


def _blob(rng: Generator, side: int, low: float, high: float) -> Mask:
    """A wavy disc of radius U(low, high) of the side."""
    y, x = _grid(side)
    cy, cx = rng.uniform(0.2, 0.8, 2) * side
    angle = np.arctan2(y - cy, x - cx)
    radius = np.full_like(angle, rng.uniform(low, high) * side)
    for wave in (2, 3, 5):
        radius *= 1 + rng.uniform(0, 0.2) * np.sin(wave * angle + rng.uniform(0, 2 * np.pi))
    mask: Mask = np.hypot(y - cy, x - cx) < radius
    return mask


def _contrasting(image: Image, mask: Mask, rng: Generator, step: float) -> NDArray[np.float64]:
    mean = image[mask].mean()
    return np.full(image.shape, mean + step if mean < 128 else mean - step) + rng.uniform(-8, 8, image.shape)


def _painted(image: Image, mask: Mask, paint: NDArray[np.float64]) -> Image:
    result = image.copy()
    result[mask] = np.clip(np.rint(paint[mask]), 0, 255).astype(np.uint8)
    return result
