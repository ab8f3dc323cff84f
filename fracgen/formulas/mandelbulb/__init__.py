"""Mandelbulb variations: solids of which each class is a power and a rule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from fracgen.formulas.formula import Formula
from fracgen.recipes.recipe import Spec
from fracgen.support.options import Option, parse_numbers

MIN_POWER, MAX_POWER = 2, 24
"""At the largest power float32 still holds the square of what a step makes of a point within the bail-out radius."""
RULES = 512
"""Rules are numbers of nine bits."""
PUBLISHED_POWERS = tuple(range(2, 19))
PUBLISHED_RULES = (
    32, 40, 42, 68, 96, 105, 106, 107, 109, 132, 135, 141, 143, 151, 160, 161, 167, 168, 174, 175, 180, 188, 190, 196,
    197, 198, 204, 205, 222, 223, 225, 232, 238, 243, 244, 263, 271, 281, 297, 327, 331, 332, 334, 360, 386, 388, 395,
    397, 413, 416, 418, 424, 434, 451, 452, 461, 465, 481, 488, 506, 507,
)  # fmt: skip
"""The 61 rules of Chiche et al., "Pre-training Vision Models with Mandelbulb Variations" (CVPR 2024), in the
bit order of their generator (RistoranteRist/MandelbulbVariationsGenerator)."""


@dataclass(frozen=True)
class VariationSpec(Spec):
    """Every combination of some powers and some rules, each a class of one code.

    Raises:
        ValueError: a power is outside [2, 24], a rule outside [0, 511], or one stands twice.

    Example:
        >>> VariationSpec(powers=(8,), rules=(42, 168)).classes
        2
    """

    formula = "mandelbulb"
    powers: Annotated[
        tuple[int, ...], Option("Mandelbulb variations: powers, as 2-18 or 7,8.", parse=parse_numbers, default="2-18")
    ] = PUBLISHED_POWERS
    rules: Annotated[
        tuple[int, ...],
        Option("Mandelbulb variations: rules, as 42,168.", parse=parse_numbers, default="the 61 published"),
    ] = PUBLISHED_RULES

    def __post_init__(self) -> None:
        _distinct("power", self.powers, MIN_POWER, MAX_POWER)
        _distinct("rule", self.rules, 0, RULES - 1)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.powers) * len(self.rules)

    @property
    def codes(self) -> int:
        """Number of codes: one a class."""
        return self.classes

    def variation(self, code: int) -> tuple[int, int]:
        """Power and rule of a code. Codes go along the diagonals of the table of powers and rules, so that the
        first ones differ in both."""
        powers, rules = len(self.powers), len(self.rules)
        around = code // math.lcm(powers, rules)
        return self.powers[(code + around) % powers], self.rules[code % rules]

    def __str__(self) -> str:
        return f"{self.classes:,} classes: {len(self.powers)} powers under {len(self.rules)} rules"


def _distinct(name: str, values: Iterable[object], low: int, high: int) -> None:
    seen: set[object] = set()
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{name} {value!r} is unknown: use whole numbers from {low} to {high}")
        if value in seen:
            raise ValueError(f"{name} {value} stands twice: name each once")
        seen.add(value)
    if not seen:
        raise ValueError(f"no {name} is given: name one at least")


FORMULA = Formula(
    name="mandelbulb",
    spec=VariationSpec,
    homes={
        "bank": "bank.VariationBank", "stages": "surface.MandelbulbStages", "pipeline": "pipeline.MandelbulbPipeline",
        "presets": "bank.PRESETS",
    },
    sampled=False,
    work=lambda recipe: ("rays", recipe.views * (recipe.canvas * recipe.samples) ** 2),
)  # fmt: skip
