"""Iterated function systems: attractors of systems of two to eight affine maps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

from fracgen.formulas.files import MAX_CODES
from fracgen.formulas.formula import Formula
from fracgen.recipes.recipe import Spec
from fracgen.support.options import Option, Within, check_number, parse_range

MAX_MAPS = 8


@dataclass(frozen=True)
class BankSpec(Spec):
    """Which IFS codes there are: a bank is a pure function of (this, seed).

    Raises:
        ValueError: a number is out of range, or the classes do not divide the codes.

    >>> BankSpec(codes=10, classes=3)
    Traceback (most recent call last):
    ValueError: 10 codes do not divide into 3 classes: use 9 codes or a number of classes that divides 10
    """

    formula = "ifs"
    codes: Annotated[int, "Number of codes.", Within(1, MAX_CODES, "codes")] = 100_000
    classes: Annotated[int, "Number of classes they form; must divide the codes."] = 1000
    maps: Annotated[
        tuple[int, int], Option("Number of maps in a code, as LOW-HIGH.", parse=parse_range, default="2-8")
    ] = (2, MAX_MAPS)
    """Smallest and largest number of maps; uniform in between."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("classes", self.classes, Within(1, self.codes, "classes (there are no more codes)"))
        low, high = self.maps
        check_number("maps", low, Within(2, MAX_MAPS, "maps"))
        check_number("maps", high, Within(low, MAX_MAPS, "maps"))
        if self.codes % self.classes:
            best = self.codes - self.codes % self.classes
            raise ValueError(
                f"{self.codes} codes do not divide into {self.classes} classes: use {best} codes "
                f"or a number of classes that divides {self.codes}"
            )

    def changed(self, **fields: object) -> Self:
        """See `Spec.changed`; other codes form as many classes where these divide them, else one each."""
        codes = fields.get("codes", self.codes)
        if isinstance(codes, int) and codes % self.classes:
            fields = {"classes": codes, **fields}
        return super().changed(**fields)

    def first(self, classes: int) -> Self:
        """See `Spec.first`: code k does not depend on how many are sampled."""
        classes = max(1, min(classes, self.classes))
        return replace(self, codes=classes * (self.codes // self.classes), classes=classes)

    def few(self, codes: int) -> Self:
        """See `Spec.few`; a class has one code where it has one here, else 20, or all where these do not divide."""
        classes = codes if self.codes == self.classes else 1 if codes % 20 else codes // 20
        return replace(self, codes=codes, classes=classes)

    def __str__(self) -> str:
        return f"{self.codes:,} codes of {self.maps[0]} to {self.maps[1]} maps in {self.classes:,} classes"


FORMULA = Formula(
    name="ifs",
    spec=BankSpec,
    homes={
        "bank": "bank.CodeBank", "stages": "stages.IfsStages", "pipeline": "pipeline.IfsPipeline",
        "presets": "presets.PRESETS",
    },
    work=lambda recipe: ("points", recipe.views * recipe.points),
)  # fmt: skip
