"""The numbers of Mandelbulb variations that both renderers share; lengths are in units of the formula.

Camera, lamp, shares of light and thresholds are those of Chiche et al.'s generator
(RistoranteRist/MandelbulbVariationsGenerator); limits on steps and the overstepping are ours.
"""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np

from fracgen.formulas.mandelbulb import MAX_POWER

CAMERA = 2.5
"""Distance of the camera from the origin, at which it looks; what is one unit before it and one wide fills the
picture."""
LAMP = (-10.0, 10.0, 10.0)
AMBIENT = 0.3
DIFFUSE = 0.9
LIT = 0.2
"""Light of all points, most light of a point by its orientation, and light of points that see the lamp."""

BAIL_OUT = 16.0
MARCH_BAIL_OUT = 2.0
"""Squares of the radii at which an orbit has escaped: for light and colour, and where it only tells how far to
march."""
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


CHAINS = tuple(chain(power // 2 if power % 2 == 0 else power) for power in range(MAX_POWER + 1))
"""By power: from the number on, or from its square where the power is even."""

INVERSE_ROOT = (2.18910241, -2.19102859, 1.31474924, -0.31282368)
"""1 / sqrt(t) on [0.9324, 1.0691], by powers of t: through Chebyshev's points, off by 9e-7."""
LOGARITHM = (
    1.00000096, -0.50001145, 0.33314674, -0.24908289, 0.2049176, -0.18680751, 0.11931054
)  # fmt: skip
"""ln(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1], by powers of f: Chebyshev's series, off by 4e-7."""

ABOUT = math.log(2) / 4 / (1 << 23)
"""ln(r) / 2 for each step of the bits of r^2, about."""
REACH = 3.0
"""A step of a march is as long as the distance, or, where the last step has told how fast the distance falls, up to
this many times that; up to half the power times, if that is less: thin parts of low powers would be stepped over.
Cones around tiles, whose misses would show, take no such steps."""
LANDING, DEEP = 0.8, 0.35
"""Share of the way to half the threshold that a step is to go; a place as near as this many thresholds was stepped to
by mistake."""
THRESHOLD, RAY_STRIDE = 0.004, 0.0005
"""Distance at which rays from the camera have hit, and their least step."""
SURFACE, SURFACE_SLOPE, SURFACE_BACK = 0.001, 5.0, -0.01
"""The surface is at this distance: on from a hit as the distance falls, at most so much way for each distance, and no
further back than that."""
UNKNOWN_THRESHOLD = 0.002
"""In the place of the threshold where no step has told yet how fast the distance falls."""
FRAIL, FRAIL_THRESHOLD = 3, 0.00175
"""Up to this power the surface is where the published distance, not that by the derivative, is so small."""
GRADIENT_STEP = 0.006
"""Width of the difference that a point's orientation is taken from."""
MARCH_STEPS = 128
"""A ray from the camera that has taken so many steps has hit where it is."""
SHADOW_THRESHOLD, SHADOW_START, SHADOW_STRIDE, SHADOW_GROWTH = 0.0005, 0.004, 0.003, 0.1
"""Distance at which rays to the lamp have hit, where they begin, and their least step, there and by how much more
further on."""
SHADOW_STEPS = 64
"""A ray to the lamp that has taken so many steps is let through."""
SHADOW_STEEP = 0.245 / SHADOW_THRESHOLD
"""Within the bail-out radius of the march, the distance of an orbit spread so far apart is at most that threshold."""

TILE = 4
"""Pixels a side of a tile. Cones around tiles are marched as far as they have room, then cones around their pixels from
there, then the rays of these."""
TILE_CONE, PIXEL_CONE = 3.0, 0.7
"""Radii of the cones in pixels, where these are one unit from the camera."""
NEAR = 1.0
"""A cone ends where the room around it is no wider than this many radii of it, at one unit."""
WIDER = 4.0
"""By how many radii of a cone the sphere that it is marched in is larger than that of the class."""
CONE_SLOPE, CONE_NEAREST, CONE_STEEP = 0.245, 1.2, 4.0
"""An orbit of a cone ends where it is spread so far apart that the distance, at most CONE_SLOPE / dr, is that of the
cone's end, CONE_NEAREST from the camera; and CONE_STEEP apart at least."""


class ViewField(IntEnum):
    """A view is float32 [18]: three axes of the camera and three colours, each in three components."""

    FORWARD = 0
    UP = 3
    SIDE = 6
    COLOURS = 9


VIEW_FIELDS = 18


CONSTANTS = {
    "CAMERA": CAMERA, "LAMP_X": LAMP[0], "LAMP_Y": LAMP[1], "LAMP_Z": LAMP[2], "AMBIENT": AMBIENT, "DIFFUSE": DIFFUSE,
    "LIT": LIT, "BAIL_OUT": BAIL_OUT, "MARCH_BAIL_OUT": MARCH_BAIL_OUT, "ITERATIONS": ITERATIONS, "STEEP": STEEP,
    "ABOUT": ABOUT, "REACH": REACH, "LANDING": LANDING, "DEEP": DEEP, "FRAIL": FRAIL,
    "FRAIL_THRESHOLD": FRAIL_THRESHOLD, "SURFACE": SURFACE, "SURFACE_SLOPE": SURFACE_SLOPE,
    "SURFACE_BACK": SURFACE_BACK, "UNKNOWN_THRESHOLD": UNKNOWN_THRESHOLD,
    "THRESHOLD": THRESHOLD, "RAY_STRIDE": RAY_STRIDE, "MARCH_STEPS": MARCH_STEPS, "GRADIENT_STEP": GRADIENT_STEP,
    "SHADOW_THRESHOLD": SHADOW_THRESHOLD, "SHADOW_START": SHADOW_START, "SHADOW_STRIDE": SHADOW_STRIDE,
    "SHADOW_GROWTH": SHADOW_GROWTH, "SHADOW_STEPS": SHADOW_STEPS, "SHADOW_STEEP": SHADOW_STEEP, "TILE": TILE,
    "TILE_CONE": TILE_CONE, "PIXEL_CONE": PIXEL_CONE, "NEAR": NEAR, "WIDER": WIDER, "CONE_SLOPE": CONE_SLOPE,
    "CONE_NEAREST": CONE_NEAREST, "CONE_STEEP": CONE_STEEP, "VIEW_FIELDS": VIEW_FIELDS,
    **{f"VIEW_{field.name}": field.value for field in ViewField},
    **{f"LOGARITHM_{k}": float(np.float32(value)) for k, value in enumerate(LOGARITHM)},
    **{f"INVERSE_ROOT_{k}": float(np.float32(value)) for k, value in enumerate(INVERSE_ROOT)},
}  # fmt: skip
CONSTANTS = {name: float(np.float32(value)) if isinstance(value, float) else value for name, value in CONSTANTS.items()}
"""What the kernels know by the same names."""
