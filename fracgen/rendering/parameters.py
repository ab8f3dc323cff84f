"""A recipe as the plain numbers that the renderers read.

The CPU renderer receives a `Plan` as an argument; the CUDA kernels receive the same numbers as
preprocessor definitions (`header`), so that NVRTC can drop what a recipe does not use.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fracgen.draws import Purpose
from fracgen.recipes.recipe import Recipe

ORBITS = 1024
"""Orbits that draw an attractor. Point i is step i // ORBITS of orbit i % ORBITS."""
ROUND_STEPS = 32
"""Steps between looks at the histogram: drawing stops where another round of 32,768 points could
carry a 16-bit counter over, that is when some cell holds 2^15 points or more."""
FULL_CELL = 1 << 15

SCOUTS = 64
"""Orbits that find the extent and hand their points to the drawing orbits as starts."""
SCOUT_STEPS = 512
SCOUT_BURN_IN = 128
SCOUT_STRIDE = (SCOUT_STEPS - SCOUT_BURN_IN) * SCOUTS // ORBITS
"""Every 24th step after the burn-in, all 64 points become starts: 16 * 64 = ORBITS."""

JITTER_TRIES = 4
MAX_LEVELS = 10
"""Levels of the noise lattice at the largest size, 1024 = 2^10."""

(HUE, SATURATION, VALUE, STAMP, FLIPS, SIDE, LEFT, TOP, CODE) = range(9)
LAYER_FIELDS = 12
"""A layer is one attractor in one picture: int32 hue offset, saturation and value 0..255, stamp bits,
flip bits (1 transpose, 2 rows, 4 columns), side and place in pixels, number of its code (-1: unused)."""

(OBJECTS, CROP_LEFT, CROP_TOP, BLUR, HUE_SCALE, HUE_SHIFT, SATURATION_SCALE, SATURATION_SHIFT, VALUE_SCALE,
 VALUE_SHIFT, CORNERS) = range(11)  # fmt: skip
AMPLITUDES = CORNERS + 4
IMAGE_FIELDS = 24
"""An image record: int32 number of attractors, crop in pixels, the blur's outer weight in 256ths (0
for none), the background's colour map (scales with 8 fractional bits, shifts with 20), the noise's
four corners (12 fractional bits) and its amplitude at each level (16)."""

TABLE_ROWS = 7
"""A table is float32 [7, 8]: a, b, c, d, e, f of x' = a x + b y + e, y' = c x + d y + f for each of
eight maps, then the choice table of `rendering.cpu.ifs.code` as int32 bits."""

_LAYER_NAMES = ("HUE", "SATURATION", "VALUE", "STAMP", "FLIPS", "SIDE", "LEFT", "TOP", "CODE")
_IMAGE_NAMES = (
    "OBJECTS", "CROP_LEFT", "CROP_TOP", "BLUR", "HUE_SCALE", "HUE_SHIFT", "SATURATION_SCALE", "SATURATION_SHIFT",
    "VALUE_SCALE", "VALUE_SHIFT", "CORNERS", "AMPLITUDES",
)  # fmt: skip
_CONSTANTS = (
    "ORBITS", "ROUND_STEPS", "SCOUTS", "SCOUT_STEPS", "SCOUT_BURN_IN", "SCOUT_STRIDE", "JITTER_TRIES",
    "LAYER_FIELDS", "IMAGE_FIELDS",
)  # fmt: skip

JITTER = {"none": 0, "scale": 1, "svd": 2, "sval": 3, "fractaldb": 4}
SOURCE = {"own": 0, "class": 1, "bank": 2}


class Plan(NamedTuple):
    """Scalars only: Numba takes it by value, CUDA as definitions. See `Recipe` for the meanings."""

    size: int
    canvas: int
    points: int
    jitter: int
    stamp: int
    flips: int
    grey: int
    noise: int
    levels: int
    """Levels of the noise lattice: the smallest n with 2^n >= size."""
    placed: int
    min_objects: int
    max_objects: int
    source: int
    views: int
    jitter_strength: np.float32
    window_shift: np.float32
    scale_low: np.float32
    scale_high: np.float32
    blur_probability: np.float32
    blur_low: np.float32
    blur_high: np.float32
    side_low: np.float32
    side_high: np.float32

    @classmethod
    def of(cls, recipe: Recipe) -> Plan:
        """The numbers of a recipe."""
        low, high = recipe.objects or (1, 1)
        return cls(
            recipe.size, recipe.canvas, recipe.points, JITTER[recipe.jitter], int(recipe.stamp), int(recipe.flips),
            int(recipe.colour == "grey"), int(recipe.background == "noise"), (recipe.size - 1).bit_length(),
            int(recipe.placed), low, high, SOURCE[recipe.source], recipe.views,
            *(np.float32(x) for x in (
                recipe.jitter_strength, recipe.window_shift, *recipe.window_scale, recipe.blur_probability,
                *recipe.blur_sigma, *recipe.object_size,
            )),
        )  # fmt: skip


def header(plan: Plan, **more: int) -> str:
    """`plan.cuh`: the plan, this module's constants and `more` as C preprocessor definitions.

    Integers are decimal, floats exact hexadecimal.
    """
    names: dict[str, object] = {f"PLAN_{name.upper()}": value for name, value in plan._asdict().items()}
    names |= {f"PURPOSE_{purpose.name}": int(purpose) for purpose in Purpose}
    names |= {f"JITTER_{name.upper()}": number for name, number in JITTER.items()}
    names |= {f"LAYER_{name}": globals()[name] for name in _LAYER_NAMES}
    names |= {f"IMAGE_{name}": globals()[name] for name in _IMAGE_NAMES}
    names |= {name: globals()[name] for name in _CONSTANTS}
    names |= {name.upper(): value for name, value in more.items()}
    lines = (
        f"#define {name} {value if isinstance(value, int) else float(value).hex() + 'f'}"  # type: ignore[arg-type]
        for name, value in names.items()
    )
    return "// Generated from fracgen/rendering/parameters.py.\n#pragma once\n" + "\n".join(lines) + "\n"
