"""Anomalib's models beside the six that have a name here: which there are, and their usual settings.

`anomalib:NAME` is any of Anomalib's image models whose constructor takes a `backbone`. Its settings are the
constructor's own arguments of plain kinds with the defaults that they have there, so that a new release
brings its models and settings with it. Only how long each trains stands here: constructors do not say.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from fracgen_eval.errors import EvaluationError, one_of

PREFIX = "anomalib:"
OWN = {
    "cflow": "cflow", "fastflow": "fastflow", "padim": "padim", "patchcore": "patchcore",
    "reverse_distillation": "rd", "stfpm": "stfpm",
}  # fmt: skip
"""Anomalib's models that are methods under a name of their own."""
EPOCHS = {"cfa": 30, "fre": 220, "glass": 100, "supersimplenet": 300, "uflow": 200}
"""As Anomalib's example configurations and READMEs have them; models of few passes say so themselves."""
USUAL_EPOCHS = 100
FEW_PASSES = ("dfkde", "dfm", "mh_patchcore")
"""They go through the images once or a fixed number of times: no epochs to set."""
IMAGE_LEVEL = ("anomalib:dfkde",)
"""Those known to give no map."""
TRIAL: dict[str, dict[str, Any]] = {"dfkde": {"n_pca_components": 4}}
"""For `--limit small`, beside two epochs: a density in 16 dimensions needs more images than it has."""
TITLES = {
    "cfa": "CFA", "dfkde": "DFKDE", "dfm": "DFM", "fre": "FRE", "glass": "GLASS", "mh_patchcore": "MH-PatchCore",
    "patchflow": "PatchFlow", "supersimplenet": "SuperSimpleNet", "uflow": "U-Flow",
}  # fmt: skip
LEAST_IMAGES: dict[str, int | str] = {"dfkde": "n_pca_components", "dfm": 1}
"""Training images of which a model needs more: a number, or the setting that has it."""
BUILT = frozenset({"backbone", "pre_trained", "input_dim", "supervised"})
"""Arguments that are not settings: the adapter gives them, or there are no labels for them."""


def is_other(method: str) -> bool:
    """Whether a method is named as one of Anomalib's models."""
    return method.startswith(PREFIX)


def title(method: str) -> str:
    """For tables."""
    name = method.removeprefix(PREFIX)
    return TITLES.get(name, name)


def model_class(method: str) -> Any:
    """Anomalib's Lightning module of that name.

    Raises:
        EvaluationError: Anomalib has no such model, it is one of fracgen's own methods, or it takes no backbone.

    >>> model_class("anomalib:cfa").__name__
    'Cfa'
    """
    name = method.removeprefix(PREFIX)
    if name in OWN:
        raise EvaluationError(f"{method} is one of the eight methods: use --method {OWN[name]}")
    classes = _classes()
    one_of(name, classes, "model of Anomalib")
    able = [other for other, kind in classes.items() if _takes_backbone(kind) and other not in OWN]
    if name not in able:
        raise EvaluationError(
            f"{method} takes no backbone, so there are no weights to compare in it: use one of {', '.join(able)}"
        )
    return classes[name]


def usual_settings(method: str, trial: bool = False) -> dict[str, Any]:
    """The settings of one of Anomalib's models: image side, batch and epochs, and its constructor's plain arguments.

    Args:
        method: its name, with the prefix.
        trial: as `--limit small` has them: two epochs at most.

    Raises:
        EvaluationError: see `model_class`.

    >>> usual_settings("anomalib:dfkde")["n_pca_components"]
    16
    """
    name = method.removeprefix(PREFIX)
    own = {
        key: list(argument.default) if isinstance(argument.default, tuple) else argument.default
        for key, argument in inspect.signature(model_class(method).__init__).parameters.items()
        if key not in BUILT and _plain(key, argument.default)
    }
    epochs = 2 if trial else EPOCHS.get(name, USUAL_EPOCHS)
    settings = {"image_size": 256, "batch": 32} | ({} if name in FEW_PASSES else {"epochs": epochs}) | own
    return settings | (TRIAL.get(name, {}) if trial else {})


def check_images(method: str, settings: dict[str, Any], images: int) -> int:
    """The number of training images with which one of Anomalib's models can begin.

    Args:
        method: its name, with the prefix.
        settings: of the method.
        images: how many there are.

    Raises:
        EvaluationError: there are fewer.

    >>> check_images("anomalib:dfkde", {"n_pca_components": 16}, 17)
    17
    """
    known = LEAST_IMAGES.get(method.removeprefix(PREFIX), 0)
    more_than = int(settings[known]) if isinstance(known, str) else known
    if images > more_than:
        return more_than + 1
    setting, remedy = "", "add some"
    if isinstance(known, str):
        setting, remedy = f" ({known})", f"add some, or set a lower {known} in --settings"
    raise EvaluationError(
        f"{method} needs more than {more_than} training images{setting}, and there are {images}: {remedy}"
    )


@functools.cache
def _classes() -> dict[str, Any]:
    """Anomalib's image models by the names of their packages, in alphabetic order."""
    from fracgen_eval.methods.anomalib.quiet import quiet

    with quiet():
        import anomalib.models
        from anomalib.models.components import AnomalibModule
    found = {}
    for kind in vars(anomalib.models).values():
        if inspect.isclass(kind) and issubclass(kind, AnomalibModule) and kind is not AnomalibModule:
            family, _, rest = kind.__module__.removeprefix("anomalib.models.").partition(".")
            if family == "image":
                found[rest.partition(".")[0]] = kind
    return dict(sorted(found.items()))


def _takes_backbone(kind: Any) -> bool:
    return any(name.endswith("backbone") for name in inspect.signature(kind.__init__).parameters)


def _plain(key: str, default: Any) -> bool:
    """Whether an argument is a setting: a number, a switch, a word, or the names of layers."""
    if isinstance(default, (tuple, list)):
        return key == "layers" and all(isinstance(layer, str) for layer in default)
    return type(default) in (int, float, bool, str) and not key.endswith("processor") and key not in (
        "evaluator", "visualizer",
    )  # fmt: skip
