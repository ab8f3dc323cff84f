"""Julia sets of z^2 + c: a formula as CONTRIBUTING describes it, for the CPU alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fracgen.formulas.formula import Formula
from fracgen.recipes.recipe import Spec, check_whole


@dataclass(frozen=True)
class JuliaSpec(Spec):
    """So many constants c, evenly along the edge of the main cardioid, each a class."""

    formula = "julia"
    constants: Annotated[int, "Julia sets: number of constants."] = 100

    def __post_init__(self) -> None:
        check_whole("constants", self.constants, 1, 10_000, "constants")

    @property
    def codes(self) -> int:
        """Number of codes."""
        return self.constants

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.constants


FORMULA = Formula(
    name="julia", spec=JuliaSpec, sampled=False,
    homes={"bank": "bank.JuliaBank", "stages": "drawing.JuliaStages", "presets": "bank.PRESETS"},
)  # fmt: skip
