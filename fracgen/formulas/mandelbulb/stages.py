"""The stages that draw Mandelbulb variations; `rendering.cpu.stages` has those that follow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import Bank
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.formulas.mandelbulb.constants import VIEW_FIELDS
from fracgen.formulas.mandelbulb.surface import surface_stage
from fracgen.formulas.mandelbulb.view import view_stage
from fracgen.rendering.cpu.stages import Space, TextureStages, Work
from fracgen.rendering.parameters import Parameters
from fracgen.rendering.records import Samples


class VariationCodes(NamedTuple):
    """A bank of K variations as the stages read it."""

    powers: NDArray[np.int32]
    """int32 [K]."""
    rules: NDArray[np.int32]
    """int32 [K]."""
    radii: NDArray[np.float32]
    """float32 [K]: of the spheres that hold them."""
    classes: int
    per_class: int


class MandelbulbStages(TextureStages):
    """View and surface draw the objects."""

    view_fields = VIEW_FIELDS

    def __init__(self, bank: Bank, parameters: Parameters) -> None:
        super().__init__(bank, parameters)
        assert isinstance(bank, VariationBank)
        powers, rules = bank.powers.astype(np.int32), bank.rules.astype(np.int32)
        self.codes = VariationCodes(powers, rules, bank.radii, bank.classes, bank.per_class)

    def draw(self, samples: Samples, space: Space, first: int, last: int) -> Work:
        """See `TextureStages.draw`."""
        return {
            "view": lambda: view_stage(self.parameters, self.codes, samples, space, first, last),
            "surface": lambda: surface_stage(self.parameters, self.codes, space, first, last),
        }
