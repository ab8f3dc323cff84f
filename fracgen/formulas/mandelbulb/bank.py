"""`VariationBank`: the powers and rules that Mandelbulb variations are drawn from; and their presets.

A variation takes a point z of space to r^p (X, Y, Z) + c: p is its power, (r, theta, phi) are z's
spherical coordinates, and each of X, Y and Z is plus or minus the sine or cosine of p theta or
p phi. Nine bits, the rule, say which: from the highest bit down, for X, then Y, then Z, whether it
is the sine, whether of theta, whether negative (Chiche et al., CVPR 2024).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import Bank, BankError, Kind
from fracgen.formulas.mandelbulb import MAX_POWER, MIN_POWER, RULES, VariationSpec
from fracgen.recipes.recipe import Preset, Recipe, Spec
from fracgen.support.decode import JsonValue

MARGIN = 4
"""In 1,024ths: how far beyond the set its surface, a threshold away, may lie, and then some."""
WIDEST = 2304
"""In 1,024ths: radius for rules that no radius bounds, just short of the camera."""


class VariationCodes(NamedTuple):
    """A bank of K variations as the stages read it."""

    powers: NDArray[np.int32]
    """int32 [K]."""
    rules: NDArray[np.int32]
    """int32 [K]."""
    radii: NDArray[np.float32]
    """float32 [K]: of spheres around 0 that hold what can be seen of each."""
    classes: int
    per_class: int


@dataclass(frozen=True, eq=False, repr=False)
class VariationBank(Bank):
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
    what: ClassVar[str] = "a bank of Mandelbulb variations"
    command: ClassVar[str] = "fracgen sample --recipe mandelbulb"
    kinds: ClassVar[dict[str, Kind]] = {"powers": Kind("uint8"), "rules": Kind("uint16")}

    def __post_init__(self) -> None:
        self.check_kinds()
        wrong = np.flatnonzero((self.powers < MIN_POWER) | (self.powers > MAX_POWER) | (self.rules >= RULES))
        if wrong.size:
            k = int(wrong[0])
            raise BankError(
                f"code {k} has power {self.powers[k]} and rule {self.rules[k]}: use powers {MIN_POWER} to {MAX_POWER} "
                f"and rules 0 to {RULES - 1}"
            )

    @classmethod
    def from_spec(cls, spec: Spec | None = None, seed: int = 0) -> VariationBank:
        """The bank of a `VariationSpec`, whatever the seed; default: the 1,037 published classes.

        Example:
            >>> bank = VariationBank.from_spec()
            >>> len(bank), bank.name(0)
            (1037, 'power2-rule32')
        """
        spec = VariationSpec() if spec is None else spec
        assert isinstance(spec, VariationSpec)
        powers, rules = zip(*(spec.variation(k) for k in range(spec.codes)), strict=True)
        return cls(np.array(powers, np.uint8), np.array(rules, np.uint16), {"sampler": "enumerated"})

    @property
    def classes(self) -> int:
        """Number of classes, one a code."""
        return len(self.powers)

    @property
    def spec(self) -> VariationSpec:
        """The powers and rules that occur; a bank may hold some combinations only."""
        powers, rules = np.unique(self.powers), np.unique(self.rules)
        return VariationSpec(tuple(map(int, powers)), tuple(map(int, rules)))

    def codes(self) -> VariationCodes:
        """See `Bank.codes`."""
        powers, rules = self.powers.astype(np.int32), self.rules.astype(np.int32)
        radii = np.array(list(map(radius, powers.tolist(), rules.tolist())), np.float32)
        return VariationCodes(powers, rules, radii, self.classes, self.per_class)

    def name(self, code: int) -> str:
        """A code's name, as the published data set has it."""
        return f"power{self.powers[code]}-rule{self.rules[code]}"

    def identity(self) -> object:
        """See `Bank.identity`."""
        return self.formula

    def describe_code(self, code: int) -> dict[str, JsonValue]:
        """One variation: its power and rule, and what the rule makes of X, Y and Z."""
        power, rule = int(self.powers[code]), int(self.rules[code])
        return {
            "code": code, "class": code, "name": self.name(code), "power": power, "rule": rule,
            "axes": {axis: _axis(rule >> shift, power) for axis, shift in zip("XYZ", (6, 3, 0), strict=True)},
            "radius": radius(power, rule),
        }  # fmt: skip

    def code_lines(self, code: int) -> list[str]:
        """One variation, for a terminal."""
        power, rule = int(self.powers[code]), int(self.rules[code])
        axes = ", ".join(_axis(rule >> shift, power) for shift in (6, 3, 0))
        return [
            f"code {code}  class {code}  {self.name(code)}",
            f"  z -> r^{power} ({axes}) + c, within radius {radius(power, rule):.4f}",
        ]

    def describe(self) -> dict[str, JsonValue]:
        """What the bank holds: codes, powers, rules, hash."""
        spec = self.spec
        return {
            "codes": len(self), "classes": self.classes, "powers": list(spec.powers), "rules": list(spec.rules),
            "origin": dict(self.metadata), "sha256": self.sha256,
        }  # fmt: skip


def _axis(bits: int, power: int) -> str:
    sign = "-" if bits & 1 else ""
    return f"{sign}{'sin' if bits & 4 else 'cos'} {power} {'theta' if bits & 2 else 'phi'}"


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


PRESETS = (
    Preset(
        "mandelbulb",
        "MandelbulbVAR-1k of Chiche et al., 'Pre-training Vision Models with Mandelbulb Variations' (CVPR 2024): "
        "powers 2 to 18 under 61 rules, 1,037 classes, one solid per image seen from a random direction in three "
        "random colours, on white, two by two rays per pixel. They render files of 512 px through OpenGL, with shadow "
        "rays of up to 10,000 steps, and downsample them with a Lanczos filter; here steps are fewer and longer, the "
        "filter is a mean and the size is that of the other recipes.",
        VariationSpec(),
        Recipe("mandelbulb", formula="mandelbulb", samples=2, background="white", blur_probability=0.0),
    ),
    Preset(
        "multi-mandelbulb",
        "The multi-Mandelbulbs that the paper's authors report beside multi-formula images: scenes shown whole, with "
        "Mandelbulb variations in place of attractors, 4 to 10 views of one variation, each from its own direction and "
        "in its own colours, each composited over those before it by its coverage. Their generator pastes stored "
        "pictures of several variations a class, with their white made black, into scenes of 512 px, and does not "
        "blur.",
        VariationSpec(),
        Recipe(
            "multi-mandelbulb", canvas=128, formula="mandelbulb", samples=2, background="black", objects=(4, 10),
            source="class", mean=(0.2,) * 3, std=(0.5,) * 3,
        ),
    ),
)  # fmt: skip
