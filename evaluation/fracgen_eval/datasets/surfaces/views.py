"""What varies between two pictures of one surface, good or bad: the view of it and the camera.

Both are drawn anew for every picture, so that a picture which differs from the training pictures in
light, colour or sharpness alone is a normal one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from fracgen_eval.datasets.surfaces.photographs import PHOTOGRAPHS, Box, read_photograph

SIDE = 128
"""Side of a picture in pixels."""
ROTATION = 8.0
"""Greatest rotation in degrees, either way."""
SCALE, GAIN, SLOPE, GAMMA, TINT = 0.08, 0.15, 0.25, 0.15, 0.04
"""Greatest natural logarithm, either way, of scale, brightness, its change across the picture, gamma and the
gain of a colour channel."""
BLUR = 0.6
"""Greatest standard deviation in pixels."""
NOISE = (1.0, 4.0)
"""Least and greatest standard deviation in grey levels."""


def view(category: str, boxes: tuple[Box, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """A turned, scaled and perhaps mirrored window of a photograph, all of it inside one of the boxes.

    Returns:
        float64 [SIDE, SIDE, 3] in [0, 255].
    """
    area = np.array([(bottom - top) * (right - left) for top, left, bottom, right in boxes], np.float64)
    pixels = _part(category, boxes[int(rng.choice(len(boxes), p=area / area.sum()))])
    angle = np.deg2rad(rng.uniform(-ROTATION, ROTATION))
    size = PHOTOGRAPHS[category].window * np.exp(rng.uniform(-SCALE, SCALE))
    reach = (abs(np.cos(angle)) + abs(np.sin(angle))) * size / 2
    cy, cx = (rng.uniform(reach, extent - 1 - reach) for extent in pixels.shape[:2])
    steps = ((np.arange(SIDE) + 0.5) / SIDE - 0.5) * size
    y, x = np.meshgrid(*(steps * sign for sign in rng.choice([1, -1], 2)), indexing="ij")
    at = [cy + y * np.cos(angle) - x * np.sin(angle), cx + y * np.sin(angle) + x * np.cos(angle)]
    return np.stack([scipy.ndimage.map_coordinates(pixels[..., c], at, order=1, mode="nearest") for c in range(3)], -1)


@cache
def _part(category: str, box: Box) -> NDArray[np.float64]:
    """A box of a photograph, smoothed where a picture has fewer pixels than its window."""
    top, left, bottom, right = box
    pixels = read_photograph(category)[top:bottom, left:right]
    if (shrink := PHOTOGRAPHS[category].window / SIDE) > 1.2:
        pixels = scipy.ndimage.gaussian_filter(pixels, (0.4 * shrink, 0.4 * shrink, 0))
    return pixels


@dataclass(frozen=True)
class Camera:
    """Light, gamma, tint, blur and noise of one exposure: the same surface always gives the same picture."""

    light: NDArray[np.float64]
    """Gain [SIDE, SIDE, 1], a slope in a random direction."""
    gamma: float
    tint: NDArray[np.float64]
    """Gain of each channel [3]."""
    blur: float
    """Standard deviation in pixels."""
    noise: NDArray[np.float64]
    """Grey levels [SIDE, SIDE, 3]."""

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Camera:
        """A camera, by the generator."""
        angle, across = rng.uniform(0, 2 * np.pi), np.linspace(-0.5, 0.5, SIDE)
        slope = across[:, None] * np.sin(angle) + across * np.cos(angle)
        return cls(
            light=np.exp(rng.uniform(-GAIN, GAIN) + rng.uniform(0, SLOPE) * slope)[..., None],
            gamma=float(np.exp(rng.uniform(-GAMMA, GAMMA))),
            tint=np.exp(rng.uniform(-TINT, TINT, 3)),
            blur=rng.uniform(0, BLUR),
            noise=rng.uniform(*NOISE) * rng.standard_normal((SIDE, SIDE, 3)),
        )

    def shoot(self, surface: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The picture, uint8 [SIDE, SIDE, 3], of a surface in [0, 255]."""
        lit = 255 * (np.clip(surface, 0, 255) / 255) ** self.gamma * self.light * self.tint
        seen = scipy.ndimage.gaussian_filter(lit, (self.blur, self.blur, 0)) + self.noise
        picture: NDArray[np.uint8] = np.clip(np.rint(seen), 0, 255).astype(np.uint8)
        return picture
