"""Julia sets of z^2 + c: a formula as CONTRIBUTING describes it, for the CPU alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fracgen.formulas.formula import Formula
from fracgen.recipes.recipe import Spec
from fracgen.support.options import Within


@dataclass(frozen=True)
class JuliaSpec(Spec):
    """So many constants c, evenly along the edge of the main cardioid, each a class."""

    formula = "julia"
    constants: Annotated[int, "Julia sets: number of constants.", Within(1, 10_000, "constants")] = 100

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
