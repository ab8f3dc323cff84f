"""`VariationBank`: the powers and rules that Mandelbulb variations are drawn from, and their file.

A variation takes a point z of space to r^p (X, Y, Z) + c: p is its power, (r, theta, phi) are z's
spherical coordinates, and each of X, Y and Z is plus or minus the sine or cosine of p theta or
p phi. Nine bits, the rule, say which: from the highest bit down, for X, then Y, then Z, whether it
is the sine, whether of theta, whether negative (Chiche et al., CVPR 2024).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas import files
from fracgen.formulas.files import BankError, Kind
from fracgen.recipes.variations import MAX_POWER, MIN_POWER, RULES, VariationSpec

_KINDS = {"powers": Kind("uint8"), "rules": Kind("uint16")}
MARGIN = 4
"""In 1,024ths: how far beyond the set its surface, a threshold away, may lie, and then some."""
WIDEST = 2304
"""In 1,024ths: radius for rules that no radius bounds, just short of the camera."""


@dataclass(frozen=True, eq=False)
class VariationBank:
    """Mandelbulb variations; each is a class of its own.

    Raises:
        BankError: an array has the wrong shape or type, or a power or rule is out of range.
    """

    powers: NDArray[np.uint8]
    """uint8 [codes], 2..24."""
    rules: NDArray[np.uint16]
    """uint16 [codes], 0..511."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What the file's header says of the bank's origin."""

    formula: ClassVar[str] = "mandelbulb"

    def __post_init__(self) -> None:
        arrays: dict[str, NDArray[Any]] = {"powers": self.powers, "rules": self.rules}
        files.check_kinds(_KINDS, {name: (str(array.dtype), array.shape) for name, array in arrays.items()})
        wrong = np.flatnonzero((self.powers < MIN_POWER) | (self.powers > MAX_POWER) | (self.rules >= RULES))
        if wrong.size:
            k = int(wrong[0])
            raise BankError(
                f"code {k} has power {self.powers[k]} and rule {self.rules[k]}: use powers {MIN_POWER} to {MAX_POWER} "
                f"and rules 0 to {RULES - 1}"
            )
        self.powers.setflags(write=False)
        self.rules.setflags(write=False)

    @classmethod
    def from_spec(cls, spec: VariationSpec | None = None) -> VariationBank:
        """The bank of a specification; default: the 1,037 published classes.

        Example:
            >>> bank = VariationBank.from_spec()
            >>> len(bank), bank.name(0)
            (1037, 'power2-rule32')
        """
        spec = VariationSpec() if spec is None else spec
        powers, rules = zip(*(spec.variation(k) for k in range(spec.codes)), strict=True)
        return cls(np.array(powers, np.uint8), np.array(rules, np.uint16), {"sampler": "enumerated"})

    def __len__(self) -> int:
        return len(self.powers)

    @property
    def classes(self) -> int:
        """Number of classes, one a code."""
        return len(self)

    @property
    def per_class(self) -> int:
        """Codes a class: 1."""
        return 1

    @property
    def spec(self) -> VariationSpec:
        """The powers and rules that occur; a bank may hold some combinations only."""
        powers, rules = np.unique(self.powers), np.unique(self.rules)
        return VariationSpec(tuple(map(int, powers)), tuple(map(int, rules)))

    @property
    def radii(self) -> NDArray[np.float32]:
        """float32 [codes]: radius of a sphere around 0 that holds what can be seen of each."""
        return np.array([radius(int(p), int(r)) for p, r in zip(self.powers, self.rules, strict=True)], np.float32)

    def name(self, code: int) -> str:
        """A code's name, as the published data set has it."""
        return f"power{self.powers[code]}-rule{self.rules[code]}"

    @property
    def sha256(self) -> str:
        """Hex digest of everything that decides a pixel: equal digests, equal images."""
        return files.digest(self.formula, self.powers, self.rules)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank's file, whole or not at all. Raises OSError where it cannot be written."""
        header = {**self.metadata, "formula": self.formula, "sha256": self.sha256}
        files.write(path, {"powers": self.powers, "rules": self.rules}, header)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VariationBank:
        """Read a bank's file.

        Raises:
            BankError: it is truncated, no bank of variations, of a later format, or its arrays do not
                match the digest it carries.
            OSError: it cannot be read.
        """
        arrays, header = files.read(
            path, _KINDS, "a bank of Mandelbulb variations", "fracgen sample --recipe mandelbulb"
        )
        own = ("format", "format_version", "formula", "sha256")
        bank = cls(arrays["powers"], arrays["rules"], {k: v for k, v in header.items() if k not in own})
        files.check_digest(path, header, bank.sha256)
        return bank


def radius(power: int, rule: int) -> float:
    """Radius of a sphere that holds a variation, in 1,024ths exactly.

    Where two of X, Y, Z are the sine and cosine of one angle, |(X, Y, Z)| >= 1, and from
    r = 2^(1 / (p - 1)) on a point with |c| <= r moves outwards for good.
    """
    kinds = {(rule >> shift) & 6 for shift in (6, 3, 0)}
    if not ({0, 4} <= kinds or {2, 6} <= kinds):
        return WIDEST / 1024
    k = 1024
    while k ** (power - 1) < 2 * 1024 ** (power - 1):
        k += 1
    return (k + MARGIN) / 1024
