"""What all formulas' banks have in common: the parameters of a formula's classes, and their files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from fracgen.recipes.recipe import BankSpec, Recipe
from fracgen.recipes.variations import VariationSpec
from fracgen.support.tensors import open_tensors


class Bank(Protocol):
    """Codes of one formula, which form classes: with C classes of K codes, code c K + j is code j of class c."""

    @property
    def metadata(self) -> dict[str, str]:
        """What the file's header says of the bank's origin."""

    @property
    def formula(self) -> str:
        """Whose codes these are: "ifs" or "mandelbulb"."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def per_class(self) -> int:
        """Codes a class."""

    @property
    def sha256(self) -> str:
        """Hex digest of everything that decides a pixel."""

    @property
    def spec(self) -> BankSpec | VariationSpec:
        """A specification of as many codes and classes, of the formula; its `make_bank` need not be this bank."""

    def __len__(self) -> int:
        """Number of codes."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank's file, whole or not at all."""


def make_bank(spec: BankSpec | VariationSpec, seed: int = 0) -> Bank:
    """The bank of a specification. `seed` decides the codes of a formula whose codes are sampled.

    Example:
        >>> len(make_bank(VariationSpec(powers=(8,))))
        61
    """
    if isinstance(spec, VariationSpec):
        from fracgen.formulas.mandelbulb.bank import VariationBank

        return VariationBank.from_spec(spec)
    from fracgen.formulas.ifs.bank import CodeBank

    return CodeBank.from_spec(spec, seed)


def load_bank(path: str | os.PathLike[str]) -> Bank:
    """Read a bank's file, of whichever formula it is.

    Raises:
        BankError: it is damaged, no bank, or of a later format.
        OSError: it cannot be read.
    """
    from fracgen.formulas.ifs.bank import CodeBank
    from fracgen.formulas.mandelbulb.bank import VariationBank

    if Path(path).is_file() and _formula(path) == VariationBank.formula:
        return VariationBank.load(path)
    return CodeBank.load(path)  # which says what is wrong with a file that holds no bank


def check_formula(bank: Bank, recipe: Recipe) -> None:
    """Raise ValueError where a recipe draws another formula than the bank's."""
    if bank.formula != recipe.formula:
        raise ValueError(
            f"the bank holds codes of formula {bank.formula!r}, and recipe {recipe.name!r} draws {recipe.formula!r}: "
            "use a bank or a recipe of the other's formula"
        )


def _formula(path: str | os.PathLike[str]) -> str | None:
    try:
        with open_tensors(path) as file:
            return file.metadata.get("formula")
    except ValueError:
        return None
