"""Which extra brings what a command needs; said in one line where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

_TRAIN = ("lightning", "timm")
EXTRAS: dict[str, tuple[str, ...]] = {
    "train": _TRAIN,
    "eval": (*_TRAIN, "anomalib", "sklearn", "scipy", "skimage", "matplotlib", "jinja2"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "slurm": ("submitit",),
}
"""Modules that the extras of pyproject.toml bring, of those that commands need as a whole."""


def need(*extras: str) -> None:
    """Refuse to begin without extras; nothing is imported.

    Args:
        extras: names in `EXTRAS`; others are passed over.

    Raises:
        ValueError: modules of one are not installed; the message has the command that installs it.
    """
    for extra in extras:
        if missing := [module for module in EXTRAS.get(extra, ()) if find_spec(module) is None]:
            are = "is" if len(missing) == 1 else "are"
            raise ValueError(f'{", ".join(missing)} {are} not installed: pip install "fracgen[{extra}]"')
