"""Fractal images for pre-training, rendered as fast as a network can eat them.

    import fracgen
    bank = fracgen.CodeBank.sample(100_000, seed=0)
    images = fracgen.render(bank, index=range(64), recipe="paper", seed=0, device="cuda")
    loader = fracgen.FractalLoader(bank, recipe="paper", batch_size=512, device="cuda", seed=0)

Importing this imports nothing heavy: torch, numba and cupy come in when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "BankError": "fracgen.bank",
    "BankSpec": "fracgen.recipe",
    "CodeBank": "fracgen.bank",
    "DeviceError": "fracgen.errors",
    "FractalDataset": "fracgen.dataset",
    "FractalLoader": "fracgen.loader",
    "Preset": "fracgen.recipe",
    "PRESETS": "fracgen.presets",
    "Recipe": "fracgen.recipe",
    "make_renderer": "fracgen.renderer",
    "preset": "fracgen.presets",
    "render": "fracgen.renderer",
}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from fracgen.bank import BankError as BankError
    from fracgen.bank import CodeBank as CodeBank
    from fracgen.dataset import FractalDataset as FractalDataset
    from fracgen.errors import DeviceError as DeviceError
    from fracgen.loader import FractalLoader as FractalLoader
    from fracgen.presets import PRESETS as PRESETS
    from fracgen.presets import preset as preset
    from fracgen.recipe import BankSpec as BankSpec
    from fracgen.recipe import Preset as Preset
    from fracgen.recipe import Recipe as Recipe
    from fracgen.renderer import make_renderer as make_renderer
    from fracgen.renderer import render as render


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fracgen' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
