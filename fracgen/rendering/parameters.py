"""A recipe as the plain numbers that the renderers read.

The CPU renderer receives `Parameters` as an argument; the CUDA kernels receive the same numbers as
preprocessor definitions (`header`), so that NVRTC can drop what a recipe does not use.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from fracgen.draws import Purpose
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.records import DENSITIES, OBJECT_FIELDS, PALETTE, SCENE_FIELDS, ObjectField, SceneField
from fracgen.rendering.variations import CONSTANTS as VARIATION_CONSTANTS

ORBITS = 1024
"""Orbits that draw an attractor. Point i is step i // ORBITS of orbit i % ORBITS."""
ROUND_STEPS = 56
"""Steps between looks at the histogram: where the next round (57,344 points, or those that are left) could carry a
16-bit counter over, because some cell and the round hold more than 65,535 points, counters are emptied into others."""
PAIR_ORDER = (1, 3, 0, 2)
"""Orbits o and o + ORBITS / 2 share their random numbers, so that a look-up of a map serves two points: of every
four maps that the first takes in order, the other takes this one next. No two maps follow each other in both."""

SCOUTS = 64
"""Orbits that find the extent and hand their points to the drawing orbits as starts."""
SCOUT_STEPS = 512
SCOUT_BURN_IN = 128
SCOUT_STRIDE = (SCOUT_STEPS - SCOUT_BURN_IN) * SCOUTS // ORBITS
"""Every 24th step after the burn-in, all 64 points become starts: 16 * 64 = ORBITS."""

JITTER_TRIES = 4
MAX_LEVELS = 10
"""Levels of the noise lattice at the largest size, 1024 = 2^10."""

_CONSTANTS = {
    "ORBITS": ORBITS, "ROUND_STEPS": ROUND_STEPS, "SCOUTS": SCOUTS, "SCOUT_STEPS": SCOUT_STEPS,
    "SCOUT_BURN_IN": SCOUT_BURN_IN, "SCOUT_STRIDE": SCOUT_STRIDE, "JITTER_TRIES": JITTER_TRIES,
    "OBJECT_FIELDS": OBJECT_FIELDS, "SCENE_FIELDS": SCENE_FIELDS, "PALETTE": PALETTE, "DENSITIES": DENSITIES,
}  # fmt: skip
"""What the kernels know by the same names."""


class Jitter(IntEnum):
    """A recipe's `jitter` as a number."""

    NONE = 0
    SCALE = 1
    SVD = 2
    SVAL = 3
    FRACTALDB = 4


class Source(IntEnum):
    """A recipe's `source` as a number."""

    OWN = 0
    CLASS = 1
    BANK = 2


class Parameters(NamedTuple):
    """Scalars only: Numba takes it by value, CUDA as definitions. See `Recipe` for the meanings."""

    size: int
    canvas: int
    scene: int
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
    white: int
    samples: int
    ray_first: np.float32
    """Place of a canvas's first ray across it, which is from -1/2 to 1/2 wide; see `cpu.mandelbulb.surface`."""
    ray_step: np.float32
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
    def of(cls, recipe: Recipe) -> Parameters:
        """Convert a recipe."""
        low, high = recipe.objects or (1, 1)
        real = np.float32
        return cls(
            size=recipe.size,
            canvas=recipe.canvas,
            scene=recipe.scene or recipe.size,
            points=recipe.points,
            jitter=Jitter[recipe.jitter.upper()].value,
            stamp=int(recipe.stamp),
            flips=int(recipe.flips),
            grey=int(recipe.colour == "grey"),
            noise=int(recipe.background == "noise"),
            levels=(recipe.size - 1).bit_length(),
            placed=int(recipe.placed),
            min_objects=low,
            max_objects=high,
            source=Source[recipe.source.upper()].value,
            views=recipe.views,
            white=int(recipe.background == "white"),
            samples=recipe.samples,
            ray_first=real(0.5 / (recipe.canvas * recipe.samples) - 0.5),
            ray_step=real(1 / (recipe.canvas * recipe.samples)),
            jitter_strength=real(recipe.jitter_strength),
            window_shift=real(recipe.window_shift),
            scale_low=real(recipe.window_scale[0]),
            scale_high=real(recipe.window_scale[1]),
            blur_probability=real(recipe.blur_probability),
            blur_low=real(recipe.blur_sigma[0]),
            blur_high=real(recipe.blur_sigma[1]),
            side_low=real(recipe.object_size[0]),
            side_high=real(recipe.object_size[1]),
        )


def header(parameters: Parameters, **more: int) -> str:
    """`parameters.cuh`: the parameters, the constants that both backends share and `more`, as C definitions.

    Integers are decimal, floats exact hexadecimal.
    """
    names: dict[str, Any] = {f"PARAM_{name.upper()}": value for name, value in parameters._asdict().items()}
    for prefix, members in (("PURPOSE", Purpose), ("JITTER", Jitter), ("SOURCE", Source)):
        names |= {f"{prefix}_{member.name}": member.value for member in members}
    for prefix, fields in (("OBJECT", ObjectField), ("SCENE", SceneField)):
        names |= {f"{prefix}_{name}": number for name, number in fields._asdict().items()}
    names |= _CONSTANTS | VARIATION_CONSTANTS
    names |= {name.upper(): value for name, value in more.items()}
    lines = (
        f"#define {name} {value if isinstance(value, int) else float(value).hex() + 'f'}"
        for name, value in names.items()
    )
    return "// Generated from fracgen/rendering/parameters.py.\n#pragma once\n" + "\n".join(lines) + "\n"
