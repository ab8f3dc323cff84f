"""Banks of Julia sets, and their preset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import Bank, Kind
from fracgen.recipes.recipe import Preset, Recipe, Spec
from tests.formulas.julia import JuliaSpec


@dataclass(frozen=True, eq=False, repr=False)
class JuliaBank(Bank):
    """Constants c of z^2 + c."""

    constants: NDArray[np.float32]
    """float32 [codes, 2]: real and imaginary part."""
    metadata: dict[str, str] = field(default_factory=dict)

    formula: ClassVar[str] = "julia"
    what: ClassVar[str] = "a bank of Julia sets"
    kinds: ClassVar[dict[str, Kind]] = {"constants": Kind("float32", (2,))}

    def __post_init__(self) -> None:
        self.check_kinds()

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self)

    @property
    def spec(self) -> JuliaSpec:
        """A specification of as many codes."""
        return JuliaSpec(len(self))

    @classmethod
    def from_spec(cls, spec: Spec, seed: int = 0) -> JuliaBank:
        """The bank of a `JuliaSpec`."""
        angle = np.exp(2j * np.pi * (np.arange(spec.codes) + 0.5) / spec.codes)
        c = 1.02 * (angle / 2 - angle**2 / 4)
        return cls(np.stack([c.real, c.imag], 1).astype(np.float32))


PRESETS = (Preset("julia", "Julia sets.", JuliaSpec(), Recipe("julia", formula="julia", size=128, canvas=128)),)
