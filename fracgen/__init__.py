"""Fractal images for pre-training, byte for byte the same on CPU and GPU.

    import fracgen
    bank = fracgen.CodeBank.sample(100_000, seed=0)
    images = fracgen.render(bank, "paper", range(64), seed=0, device="cuda")
    loader = fracgen.FractalLoader(bank, "paper", batch_size=512, device="cuda", seed=0)

Importing this imports nothing heavy: torch, numba and cupy come in when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "1.0.0"

_HOMES = {
    "Augmentation": "fracgen.loading.augment",
    "BankError": "fracgen.formulas.files",
    "BankSpec": "fracgen.formulas.ifs",
    "CodeBank": "fracgen.formulas.ifs.bank",
    "DeviceError": "fracgen.support.errors",
    "FractalDataset": "fracgen.loading.dataset",
    "FractalLoader": "fracgen.loading.loader",
    "Preset": "fracgen.recipes.recipe",
    "PRESETS": "fracgen.recipes.presets",
    "Recipe": "fracgen.recipes.recipe",
    "Stream": "fracgen.draws",
    "make_renderer": "fracgen.rendering",
    "preset": "fracgen.recipes.presets",
    "load_bank": "fracgen.formulas.formula",
    "make_bank": "fracgen.formulas.formula",
    "pretrained": "fracgen.training.built_in",
    "render": "fracgen.rendering",
    "VariationBank": "fracgen.formulas.mandelbulb.bank",
    "VariationSpec": "fracgen.formulas.mandelbulb",
}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from fracgen.draws import Stream as Stream
    from fracgen.formulas.files import BankError as BankError
    from fracgen.formulas.formula import load_bank as load_bank
    from fracgen.formulas.formula import make_bank as make_bank
    from fracgen.formulas.ifs import BankSpec as BankSpec
    from fracgen.formulas.ifs.bank import CodeBank as CodeBank
    from fracgen.formulas.mandelbulb import VariationSpec as VariationSpec
    from fracgen.formulas.mandelbulb.bank import VariationBank as VariationBank
    from fracgen.loading.augment import Augmentation as Augmentation
    from fracgen.loading.dataset import FractalDataset as FractalDataset
    from fracgen.loading.loader import FractalLoader as FractalLoader
    from fracgen.recipes.presets import PRESETS as PRESETS
    from fracgen.recipes.presets import preset as preset
    from fracgen.recipes.recipe import Preset as Preset
    from fracgen.recipes.recipe import Recipe as Recipe
    from fracgen.rendering import make_renderer as make_renderer
    from fracgen.rendering import render as render
    from fracgen.support.errors import DeviceError as DeviceError
    from fracgen.training.built_in import pretrained as pretrained


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'fracgen' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
