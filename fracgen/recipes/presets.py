"""The named presets of all formulas: a bank specification and an image recipe each, and what they follow."""

from __future__ import annotations

from fracgen.formulas import FORMULAS
from fracgen.formulas.formula import formula
from fracgen.recipes.recipe import Preset

PRESETS: dict[str, Preset] = {preset.name: preset for name in FORMULAS for preset in formula(name).presets}


def preset(name: str) -> Preset:
    """The preset of that name. Raises ValueError with the list where there is none.

    >>> preset("paper").recipe.size, preset("paper").bank.classes
    (256, 1000)
    """
    if name == "multi-formula-whole":
        raise ValueError(f"recipe {name!r} is a file now: give the path of docs/{name}.json of fracgen's repository")
    if name not in PRESETS:
        raise ValueError(f"unknown recipe {name!r}: use one of {', '.join(PRESETS)}")
    return PRESETS[name]
