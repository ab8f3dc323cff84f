"""A recipe as the plain numbers that the renderers read.

The CPU renderer receives `Parameters` as an argument; the CUDA kernels receive the same numbers as
preprocessor definitions (`header`), so that NVRTC can drop what a recipe does not use.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple, get_type_hints

import numpy as np

from fracgen.draws import Purpose
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.records import OBJECT_FIELDS, PALETTE, SCENE_FIELDS, ObjectField, SceneField

MAX_LEVELS = 10
"""Levels of the noise lattice at the largest size, 1024 = 2^10."""

_CONSTANTS = {"OBJECT_FIELDS": OBJECT_FIELDS, "SCENE_FIELDS": SCENE_FIELDS, "PALETTE": PALETTE}
"""What the kernels of all formulas know by the same names."""


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
    gray: int
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
    """Place of a canvas's first ray across it, which is from -1/2 to 1/2 wide; see `formulas.mandelbulb.surface`."""
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
        rays = recipe.canvas * recipe.samples
        own: dict[str, float] = {
            "scene": recipe.scene or recipe.size, "jitter": Jitter[recipe.jitter.upper()],
            "gray": recipe.color == "gray", "noise": recipe.background == "noise",
            "levels": (recipe.size - 1).bit_length(), "min_objects": (recipe.objects or (1, 1))[0],
            "source": Source[recipe.source.upper()], "white": recipe.background == "white",
            "ray_first": 0.5 / rays - 0.5, "ray_step": 1 / rays,
        }  # fmt: skip
        for name, of in (("scale", recipe.window_scale), ("blur", recipe.blur_sigma), ("side", recipe.object_size)):
            own[f"{name}_low"], own[f"{name}_high"] = of
        kinds = get_type_hints(cls)
        return cls(*(kinds[name](own[name] if name in own else getattr(recipe, name)) for name in cls._fields))


def header(parameters: Parameters, more: Mapping[str, float]) -> str:
    """`parameters.cuh`: the parameters, the constants that both backends share and `more`, as C definitions.

    Integers are decimal, floats exact hexadecimal.
    """
    names: dict[str, float] = {f"PARAM_{name.upper()}": value for name, value in parameters._asdict().items()}
    for prefix, members in (("PURPOSE", Purpose), ("JITTER", Jitter), ("SOURCE", Source)):
        names |= {f"{prefix}_{member.name}": member.value for member in members}
    for prefix, fields in (("OBJECT", ObjectField), ("SCENE", SceneField)):
        names |= {f"{prefix}_{name}": number for name, number in fields._asdict().items()}
    names |= _CONSTANTS | {name.upper(): value for name, value in more.items()}
    lines = (
        f"#define {name} {value if isinstance(value, int) else float(value).hex() + 'f'}"
        for name, value in names.items()
    )
    return "// Generated from fracgen/rendering/parameters.py.\n#pragma once\n" + "\n".join(lines) + "\n"
