"""`VariationBank`: the powers and rules that Mandelbulb variations are drawn from, and their file.

A variation takes a point z of space to r^p (X, Y, Z) + c: p is its power, (r, theta, phi) are z's
spherical coordinates, and each of X, Y and Z is plus or minus the sine or cosine of p theta or
p phi. Nine bits, the rule, say which: from the highest bit down, for X, then Y, then Z, whether it
is the sine, whether of theta, whether negative (Chiche et al., CVPR 2024).
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.ifs.bank import BankError
from fracgen.recipes.variations import MAX_POWER, MIN_POWER, RULES, VariationSpec
from fracgen.support.files import whole_file

FORMAT = "fracgen-bank"
FORMAT_VERSION = 1
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
        for name, array, dtype in (("powers", self.powers, np.uint8), ("rules", self.rules, np.uint16)):
            if array.dtype != dtype or array.shape != (len(self.powers),):
                raise BankError(
                    f"{name} is {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} [{len(self.powers)}]"
                )
        if not len(self.powers):
            raise BankError("the bank holds no code")
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
        digest = hashlib.sha256(f"{FORMAT} {FORMAT_VERSION} {self.formula}".encode())
        for array in (self.powers, self.rules):
            digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank's file, whole or not at all. Raises OSError where it cannot be written."""
        from safetensors.numpy import save

        header = {
            **self.metadata, "format": FORMAT, "format_version": str(FORMAT_VERSION), "formula": self.formula,
            "sha256": self.sha256,
        }  # fmt: skip
        arrays: dict[str, NDArray[Any]] = {"powers": self.powers, "rules": self.rules}
        with whole_file(path) as file:
            file.write(save(arrays, header))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VariationBank:
        """Read a bank's file.

        Raises:
            BankError: it is truncated, no bank of variations, of a later format, or its arrays do not
                match the digest it carries.
            OSError: it cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        if not Path(path).is_file():
            raise FileNotFoundError(f"no bank at {path}: make one with `fracgen sample --recipe mandelbulb -o {path}`")
        try:
            with safe_open(path, framework="numpy") as file:
                header: dict[str, str] = file.metadata() or {}
                arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError) as error:
            raise BankError(f"{path} is not a readable bank ({error}): make it again with `fracgen sample`") from None
        if header.get("formula") != cls.formula or set(arrays) != {"powers", "rules"}:
            raise BankError(f"{path} is no bank of Mandelbulb variations: make one with `fracgen sample`")
        if header.get("format_version") != str(FORMAT_VERSION):
            raise BankError(
                f"{path} has bank format {header.get('format_version')}, this fracgen reads {FORMAT_VERSION}: "
                "upgrade fracgen"
            )
        own = ("format", "format_version", "formula", "sha256")
        bank = cls(arrays["powers"], arrays["rules"], {k: v for k, v in header.items() if k not in own})
        if bank.sha256 != header.get("sha256"):
            raise BankError(f"{path} does not match its own SHA-256: it was damaged or edited; make it again")
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
