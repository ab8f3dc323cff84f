"""One picture of `surfaces`, normal or with a defect and its mask; each a pure function of a key."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.datasets.surfaces.defects import DEFECTS
from fracgen_eval.datasets.surfaces.photographs import PHOTOGRAPHS, Box
from fracgen_eval.datasets.surfaces.views import Camera, view


def normal_picture(category: str, boxes: tuple[Box, ...], key: Sequence[int]) -> NDArray[np.uint8]:
    """A normal picture, uint8 [S, S, 3], from the boxes of a category's photograph."""
    rng = np.random.default_rng(key)
    surface = view(category, boxes, rng)
    return Camera.drawn(rng).shoot(surface)


def damaged_picture(
    category: str, defect: str, key: Sequence[int], strength: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A test picture with a defect, uint8 [S, S, 3], and its mask, bool [S, S].

    The defect is part of the surface, so that light, blur and noise lie over it too. Outside the mask no
    value differs from the picture that the same key gives without a defect (strength 0).
    """
    rng = np.random.default_rng(key)
    photograph = PHOTOGRAPHS[category]
    surface = view(category, photograph.test, rng)
    camera = Camera.drawn(rng)
    others = [name for name in PHOTOGRAPHS if name != category]
    other = others[int(rng.integers(len(others)))]
    piece = view(other, PHOTOGRAPHS[other].test, rng)
    damaged, opacity = DEFECTS[defect](rng, surface, piece, strength * photograph.contrast)
    mask = opacity > 0
    return np.where(mask[..., None], camera.shoot(damaged), camera.shoot(surface)), mask
