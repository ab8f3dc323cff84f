"""Every method's settings: the paper's, the two protocols' training lengths, and what a file may override.

`epochs` is the fixed length of the `honest` protocol, which never looks at test images. `most_epochs`
and `patience` belong to `paper`, which stops on the test set's pixel AUROC as the paper's authors'
configuration files do, so that tables can be compared; without patience all epochs are run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from fracgen.support.decode import read_json, read_toml, shown
from fracgen.support.terminal import one_line
from fracgen_eval.errors import EvaluationError, one_of
from fracgen_eval.methods import others

Settings = dict[str, Any]
PROTOCOLS = ("honest", "paper")
LAYER_CHOICE = ("patchcore", "padim")
"""Methods whose layers can be chosen, as in the paper's Figs. 4 to 6."""
IMAGE_LEVEL = ("panda", "cutpaste", *others.IMAGE_LEVEL)
"""Methods that give no map."""

DEFAULTS: dict[str, Settings] = {
    "fastflow": {
        "image_size": 256, "batch": 32, "flow_steps": 8, "conv3x3_only": True, "hidden_ratio": 1.0,
        "epochs": 60, "most_epochs": 500, "patience": 3,
    },
    "cflow": {
        "image_size": 256, "batch": 16, "layers": ["layer2", "layer3", "layer4"], "fiber_batch": 64,
        "condition": 128, "blocks": 8, "clamp": 1.9, "lr": 1e-4, "epochs": 15, "most_epochs": 50, "patience": 2,
    },
    "patchcore": {"image_size": 256, "batch": 32, "layers": ["layer2", "layer3"], "coreset": 0.1, "neighbours": 9},
    "padim": {"image_size": 256, "batch": 32, "layers": ["layer1", "layer2", "layer3"], "features": 0},
    "rd": {
        "image_size": 256, "batch": 16, "layers": ["layer1", "layer2", "layer3"],
        "epochs": 200, "most_epochs": 200, "patience": 0,
    },
    "stfpm": {
        "image_size": 256, "batch": 32, "layers": ["layer1", "layer2", "layer3"],
        "epochs": 100, "most_epochs": 100, "patience": 5,
    },
    "panda": {
        "variant": "dn2", "resize": 256, "crop": 224, "k": 2, "l2_normalize": False, "batch": 32, "max_steps": 0,
        "lr": 1e-2, "momentum": 0.9, "weight_decay": 5e-5, "clip": 1e-3, "ewc_lambda": 1e4,
        "early_epochs": 15, "ewc_epochs": 50, "fisher_images": 1024,
    },
    "cutpaste": {
        "views": "3way", "image_size": 256, "batch": 64, "steps": 256, "frozen_steps": 20, "lr": 0.03,
        "momentum": 0.9, "weight_decay": 3e-5, "jitter": 0.1, "original": False,
    },
}  # fmt: skip
METHODS = tuple(DEFAULTS)
"""The eight, which `--method all` means; any other name is `anomalib:` and one of Anomalib's models."""

TRIAL: dict[str, Settings] = {
    "fastflow": {"epochs": 3, "most_epochs": 3},
    "cflow": {"epochs": 1, "most_epochs": 1, "fiber_batch": 1024},
    "rd": {"epochs": 4, "most_epochs": 4},
    "stfpm": {"epochs": 6, "most_epochs": 6},
    "panda": {"max_steps": 4},
    "cutpaste": {"steps": 6, "frozen_steps": 2, "batch": 8, "image_size": 128},
}
"""`--limit small`: too short to be a result, long enough to show that everything works."""

LARGEST = {
    "image_size": 2048, "resize": 2048, "crop": 2048, "batch": 4096, "flow_steps": 64, "blocks": 64, "condition": 4096,
    "coreset": 1.0,
}
"""What takes memory by its size alone, of which more comes from a slip or from a file that means harm; and shares."""

CHOICES = {"variant": ("dn2", "early", "ewc"), "views": ("3way", "normal", "scar", "union")}
OTHERS_LARGEST = 4096
"""Of whole numbers of Anomalib's other models: this, or four times the usual one."""


def check_method(method: str) -> str:
    """The name itself, provided that there is such a method.

    Raises:
        EvaluationError: there is none, or it is a model of Anomalib that takes no backbone.
    """
    if others.is_other(method):
        others.model_class(method)
        return method
    if method not in METHODS:
        names = ", ".join(METHODS)
        raise EvaluationError(
            f"unknown method {shown(method)}: use one of {names}, or anomalib:NAME, a model of Anomalib such as "
            "anomalib:cfa"
        )
    return method


def is_method(name: str) -> bool:
    """Whether there is a method of that name."""
    try:
        check_method(name)
    except EvaluationError:
        return False
    return True


def settings_for(method: str, trial: bool = False, overrides: Settings | None = None) -> Settings:
    """A method's settings.

    Args:
        method: one of `METHODS`, or `anomalib:` and the name of one of Anomalib's models.
        trial: as `--limit small` has them.
        overrides: values in the place of the usual ones.

    Raises:
        EvaluationError: a name is unknown, or a value of the wrong kind or out of range.

    >>> settings_for("patchcore", overrides={"coreset": 0.01})
    {'image_size': 256, 'batch': 32, 'layers': ['layer2', 'layer3'], 'coreset': 0.01, 'neighbours': 9}
    """
    if others.is_other(check_method(method)):
        settings = others.usual_settings(method, trial)
    else:
        settings = DEFAULTS[method] | (TRIAL.get(method, {}) if trial else {})
    for key, value in (overrides or {}).items():
        one_of(key, tuple(settings), f"setting of {method}")
        settings[key] = _checked(method, key, value, settings[key])
    if method == "cutpaste" and settings["original"]:
        settings |= {"steps": 65_536, "frozen_steps": 0}
    return settings


def read_overrides(path: Path) -> dict[str, Settings]:
    """Settings from a TOML or JSON file with one table per method; `settings_for` checks those of a method that is run.

    Raises:
        EvaluationError: the file cannot be read, or a table is of no method.
    """
    try:
        content = read_toml(path) if path.suffix == ".toml" else read_json(path)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{one_line(error)}: give a table per method in TOML or JSON") from None
    if not all(isinstance(table, dict) for table in content.values()):
        raise EvaluationError(f"{path}: expected one table per method, such as [patchcore] with coreset = 0.01")
    for method in content:
        if not others.is_other(method):
            check_method(method)
    return content


def _checked(method: str, key: str, value: Any, default: Any) -> Any:
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        kind = type(default).__name__
        raise EvaluationError(f"{method}.{key} = {shown(value)}: expected a {kind}, such as {default!r}")
    if key in CHOICES:
        one_of(value, CHOICES[key], f"{method}.{key}")
    if key == "layers":
        if not value or not all(isinstance(layer, str) for layer in value):
            raise EvaluationError(f"{method}.layers = {shown(value)}: expected names of layers, such as {default!r}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        least = 0 if default == 0 or key in ("steps", "frozen_steps", "patience", "max_steps") else None
        if value < 0 or (least is None and value == 0):
            raise EvaluationError(f"{method}.{key} = {shown(value)} is out of range: use a number above 0")
        if value > (largest := _largest(method, key, default)):
            raise EvaluationError(f"{method}.{key} = {shown(value)} is out of range: use {largest} at most")
    return value


def _largest(method: str, key: str, default: Any) -> float:
    if key in LARGEST or not others.is_other(method) or not isinstance(default, int):
        return LARGEST.get(key, math.inf)
    return max(OTHERS_LARGEST, 4 * default)
