"""The numbers of Mandelbulb variations that both renderers share; lengths are in units of the formula.

Camera, lamp, shares of light and thresholds are those of Chiche et al.'s generator
(RistoranteRist/MandelbulbVariationsGenerator); limits on steps and the overstepping are ours.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fracgen.recipes.variations import MAX_POWER

CAMERA = 2.5
"""Distance of the camera from the origin, at which it looks; what is one unit before it and one wide fills the
picture."""
LAMP = (-10.0, 10.0, 10.0)
AMBIENT = 0.3
DIFFUSE = 0.9
LIT = 0.2
"""Light of all points, most light of a point by its orientation, and light of points that see the lamp."""

BAIL_OUT = 16.0
"""Square of the radius at which an orbit has escaped."""
ITERATIONS = 32
"""Orbits that are still inside after so many steps belong to the set."""
STEEP = float(1 << 20)
"""An orbit spread so far apart (dr) within the bail-out radius is nearer to the set than any threshold: its
distance is at most log(4) / 2 / dr."""


def chain(power: int) -> int:
    """How a complex number is raised to a power: squares (2), cubes (3) and products with the number itself (1), two
    bits each, the first one lowest."""
    kinds = []
    while power > 1:
        kind = 2 if power % 2 == 0 else 3 if power % 3 == 0 else 1
        kinds.append(kind)
        power = power - 1 if kind == 1 else power // kind
    return sum(kind << 2 * k for k, kind in enumerate(reversed(kinds)))


CHAINS = tuple(chain(power) for power in range(MAX_POWER + 1))
"""By power."""

LOGARITHM = (
    1.00000096, -0.50001145, 0.33314674, -0.24908289, 0.2049176, -0.18680751, 0.11931054
)  # fmt: skip
"""ln(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1], by powers of f: Chebyshev's series, off by 4e-7."""

OVERSTEP = 1.5
"""March that many times the distance, and back where two spheres turn out not to meet."""
THRESHOLD = 1e-3
SHADOW_THRESHOLD = 1e-4
"""Distances at which rays from the camera and rays to the lamp have hit."""
GRADIENT_STEP = 1e-3
"""Width of the difference that a point's orientation is taken from."""
MARCH_STEPS = 128
"""A ray from the camera that has taken so many steps has hit where it is."""
SHADOW_STEPS = 64
"""A ray to the lamp that has taken so many steps is let through."""
SHADOW_STRIDE = 1e-3
"""Least step of a ray to the lamp."""

TILE = 4
"""Rays a side of a tile, which are marched as one cone for as long as it has room."""
CONE = 2.0
"""Radius of that cone in steps between rays, where these are one unit from the camera: half of a tile's side. The
corners are beyond it by half, which the estimate is short of by more."""


class ViewField(IntEnum):
    """A view is float32 [18]: three axes of the camera and three colours, each in three components."""

    FORWARD = 0
    UP = 3
    SIDE = 6
    COLOURS = 9


VIEW_FIELDS = 18


class VariationCodes(NamedTuple):
    """A bank of K variations as the CPU stages read it."""

    powers: NDArray[np.int32]
    """int32 [K]."""
    rules: NDArray[np.int32]
    """int32 [K]."""
    radii: NDArray[np.float32]
    """float32 [K]: of the spheres that hold them."""
    classes: int
    per_class: int


class Solids(NamedTuple):
    """The drawn variations of n samples, and what is behind them."""

    views: NDArray[np.float32]
    """float32 [n, views, max_objects, VIEW_FIELDS]."""
    textures: NDArray[np.uint8]
    """uint8 [n, views, max_objects, canvas^2, 4]: red, green and blue, times coverage, and coverage."""
    backdrops: NDArray[np.int32]
    """int32 [n, views, SCENE_FIELDS]: the scenes without objects or blur."""


CONSTANTS = {
    "CAMERA": CAMERA, "LAMP_X": LAMP[0], "LAMP_Y": LAMP[1], "LAMP_Z": LAMP[2], "AMBIENT": AMBIENT, "DIFFUSE": DIFFUSE,
    "LIT": LIT, "BAIL_OUT": BAIL_OUT, "ITERATIONS": ITERATIONS, "STEEP": STEEP, "OVERSTEP": OVERSTEP,
    "THRESHOLD": THRESHOLD, "SHADOW_THRESHOLD": SHADOW_THRESHOLD, "MARCH_STEPS": MARCH_STEPS,
    "GRADIENT_STEP": GRADIENT_STEP, "SHADOW_STEPS": SHADOW_STEPS, "SHADOW_STRIDE": SHADOW_STRIDE, "TILE": TILE,
    "CONE": CONE, "VIEW_FIELDS": VIEW_FIELDS, **{f"VIEW_{field.name}": field.value for field in ViewField},
    **{f"LOGARITHM_{k}": float(np.float32(value)) for k, value in enumerate(LOGARITHM)},
}  # fmt: skip
"""What the kernels know by the same names."""
