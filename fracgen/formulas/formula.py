"""What a formula hands out: its specification, bank, stages, kernels, options and presets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fracgen.formulas import FORMULAS
from fracgen.support.decode import open_tensors
from fracgen.support.errors import DeviceError

if TYPE_CHECKING:
    from fracgen.formulas.files import Bank
    from fracgen.recipes.recipe import Preset, Recipe, Spec
    from fracgen.rendering.cpu.stages import Stages
    from fracgen.rendering.cuda.pipeline import KernelPipeline


def _pixels(recipe: Recipe) -> tuple[str, int]:
    return "pixels", recipe.views * recipe.canvas**2


@dataclass(frozen=True, kw_only=True)
class Formula:
    """A family of shapes. What needs NumPy, Numba or the kernels is imported when it is used."""

    name: str
    spec: type[Spec]
    """The class of its specifications; fields with a help text are options of `fracgen sample`."""
    homes: Mapping[str, str]
    """Where its `bank`, `stages`, `presets` and, if it has kernels, `pipeline` are: `module.name` in its folder."""
    sampled: bool = True
    """Whether a seed decides the codes."""
    work: Callable[[Recipe], tuple[str, int]] = _pixels
    """What one object of an image is made of, for benchmarks, and the number of that."""

    @property
    def bank(self) -> type[Bank]:
        """The class of its banks."""
        return cast("type[Bank]", self._at_home("bank"))

    @property
    def stages(self) -> type[Stages]:
        """The class of its stages on the CPU."""
        return cast("type[Stages]", self._at_home("stages"))

    @property
    def has_kernels(self) -> bool:
        """Whether it can be rendered on a GPU."""
        return "pipeline" in self.homes

    @property
    def pipeline(self) -> type[KernelPipeline]:
        """The class of its kernels' pipeline. Raises DeviceError where it has no kernels."""
        if not self.has_kernels:
            raise DeviceError(f"formula {self.name!r} has no CUDA kernels: render it with device cpu")
        return cast("type[KernelPipeline]", self._at_home("pipeline"))

    @property
    def presets(self) -> tuple[Preset, ...]:
        """Its presets; the first one has its usual codes and recipe."""
        return cast("tuple[Preset, ...]", self._at_home("presets"))

    def _at_home(self, what: str) -> object:
        module, name = self.homes[what].split(".")
        return getattr(import_module(f"{FORMULAS[self.name]}.{module}"), name)


def formula(name: str) -> Formula:
    """The formula of that name, one of `FORMULAS`.

    >>> formula("ifs").spec()
    BankSpec(codes=100000, classes=1000, maps=(2, 8))
    """
    return cast("Formula", import_module(FORMULAS[name]).FORMULA)


def make_bank(spec: Spec, seed: int = 0) -> Bank:
    """The bank of a specification.

    Args:
        spec: a `BankSpec` (IFS codes) or a `VariationSpec` (Mandelbulb variations).
        seed: decides the codes where these are sampled, an integer in [0, 2^64).

    Example:
        >>> from fracgen import VariationSpec
        >>> make_bank(VariationSpec(powers=(8,)))
        VariationBank(codes=61, classes=61)
    """
    return formula(spec.formula).bank.from_spec(spec, seed)


def load_bank(path: str | os.PathLike[str]) -> Bank:
    """Read a bank's file, of whichever formula it is.

    Raises:
        BankError: the file is damaged, no bank, or of a later format.
        OSError: the file cannot be read.
    """
    name = "ifs"  # also of a file that holds no bank: its loader says what is wrong
    if Path(path).is_file():
        try:
            with open_tensors(path) as file:
                name = file.metadata.get("formula", name)
        except ValueError:
            pass
    return formula(name if name in FORMULAS else "ifs").bank.load(path)
