"""Every method's settings by its name: the usual ones, those of a trial, and what a file may override."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from fracgen.support.decode import read_json, read_toml, shown
from fracgen.support.terminal import one_line
from fracgen_eval.errors import EvaluationError, one_of
from fracgen_eval.methods import others
from fracgen_eval.methods.base import Layers, Method, Settings, Table
from fracgen_eval.methods.cflow import CFlow, CFlowSettings
from fracgen_eval.methods.cutpaste import CutPaste, CutPasteSettings, OriginalSettings, UntouchedSettings
from fracgen_eval.methods.distillation import Distillation, DistillationSettings
from fracgen_eval.methods.efficient_ad import EfficientAd, EfficientAdSettings
from fracgen_eval.methods.engine import AnomalibSettings, LayeredSettings
from fracgen_eval.methods.fastflow import FastFlow, FastFlowSettings
from fracgen_eval.methods.padim import Padim, PadimSettings
from fracgen_eval.methods.panda import EarlySettings, Panda, PandaSettings
from fracgen_eval.methods.patchcore import PatchCore, PatchCoreSettings
from fracgen_eval.methods.retrieval import AnomalyDinoSettings, RadSettings
from fracgen_eval.methods.stfpm import Stfpm, StfpmSettings

Variants: TypeAlias = tuple[type[Settings], ...]
PROTOCOLS = ("honest", "paper")
LAYER_CHOICE = ("patchcore", "padim")
"""Methods whose layers can be chosen, as in the paper's Figs. 4 to 6."""
_OWN: tuple[tuple[Callable[..., Method], Variants], ...] = (
    (FastFlow, (FastFlowSettings,)), (CFlow, (CFlowSettings,)), (PatchCore, (PatchCoreSettings,)),
    (Padim, (PadimSettings,)), (Distillation, (DistillationSettings,)), (Stfpm, (StfpmSettings,)),
    (Panda, (PandaSettings, EarlySettings)), (CutPaste, (CutPasteSettings, UntouchedSettings, OriginalSettings)),
)  # fmt: skip
EIGHT = {variants[0].method: (method, variants) for method, variants in _OWN}
"""Each method, and its settings: the usual variant first; of several that read a table, the last is meant."""
METHODS = tuple(EIGHT)
"""The eight, which `--method all` means."""
KNOWN: dict[str, tuple[Callable[..., Method], Variants]] = EIGHT | {
    EfficientAdSettings.method: (EfficientAd, (EfficientAdSettings,)),
    AnomalyDinoSettings.method: (others.OtherModel, (AnomalyDinoSettings,)),
    RadSettings.method: (others.OtherModel, (RadSettings,)),
}
"""Those that have a name here; any other is `anomalib:` and one of Anomalib's models."""
IMAGE_LEVEL = (*(name for name, (_, (usual, *_)) in EIGHT.items() if not usual.maps), *others.IMAGE_LEVEL)
"""Methods that give no map."""


def check_method(method: str) -> str:
    """The name itself, provided that there is such a method.

    Raises:
        EvaluationError: there is none, or it is a model of Anomalib that takes no backbone.
    """
    if others.is_other(method):
        others.model_class(method)
    elif method not in KNOWN:
        names = ", ".join(KNOWN)
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


def defaults(method: str, trial: bool = False) -> Table:
    """A method's usual settings, of all its variants; those of `--limit small` for a trial. Raises EvaluationError."""
    usual, *more = kind_of(method)[1]
    table = {name: value for variant in (*more, usual) for name, value in variant.defaults().items()}
    return table | usual.retired | (usual.trial if trial else {})


def settings_for(
    method: str, trial: bool = False, overrides: Mapping[str, object] | None = None, *, protocol: str = "honest",
    layers: object = None,
) -> Table:  # fmt: skip
    """A method's settings as a cell's file has them; `settings_of` makes of them what the method reads.

    Args:
        method: one of `KNOWN`, or `anomalib:` and the name of one of Anomalib's models.
        trial: as `--limit small` has them.
        overrides: values in the place of the usual ones.
        protocol: `honest` or `paper`.
        layers: whether layers are chosen otherwise, in the place of the settings'.

    Raises:
        EvaluationError: a name is unknown, a value of the wrong kind or out of range, or an override would do nothing.

    >>> settings_for("patchcore", overrides={"coreset": 0.01})["coreset"]
    0.01
    >>> settings_for("panda", overrides={"lr": 0.1})
    Traceback (most recent call last):
    fracgen_eval.errors.EvaluationError: panda.lr = 0.1 does nothing here, it is read with variant 'early': leave it out
    """
    table = defaults(method, trial) | dict(overrides or {})
    settings = settings_of(method, table, protocol=protocol)
    read = settings.defaults()
    for name, value in (overrides or {}).items():
        needs = settings.idle(name)
        if name not in read:
            others_read = (variant.when for variant in kind_of(method)[1] if name in variant.defaults())
            needs = next(others_read, "a variant that is gone")
        if name == "layers" and layers:
            needs = "no --layers beside it"
        if needs:
            raise EvaluationError(
                f"{method}.{name} = {value!r} does nothing here, it is read with {needs}: leave it out"
            )
    values = {name: getattr(settings, name) for name in read}
    return table | {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def settings_of(
    method: str, table: Mapping[str, object], *, layers: Layers | None = None, protocol: str = "honest"
) -> Settings:
    """What a method reads of settings.

    Args:
        method: its name.
        table: settings, as `settings_for` gives them or a file has them.
        layers: other layers than the settings', for PatchCore and PaDiM.
        protocol: `honest` or `paper`.

    Raises:
        EvaluationError: a name is unknown, a value of the wrong kind or out of range.
    """
    check_layer_choice(method, layers)
    usual = defaults(method)
    for name in table:
        one_of(name, usual, f"setting of {method}")
    full = usual | dict(table)
    variant = next(variant for variant in reversed(kind_of(method)[1]) if variant.reads(full))
    settings = variant.read(full | variant.fixed)
    if isinstance(settings, AnomalibSettings) and protocol == "paper":
        settings = dataclasses.replace(settings, protocol="paper")
    if layers is not None and isinstance(settings, LayeredSettings):
        settings = dataclasses.replace(settings, layers=layers)
    return settings


def check_layer_choice(method: str, layers: Layers | None) -> None:
    """Raises EvaluationError where the method is unknown or has no use for layers that were asked for."""
    check_method(method)
    if layers is not None and method not in LAYER_CHOICE:
        raise EvaluationError(f"the layers of {method} cannot be chosen: use --layers with {', '.join(LAYER_CHOICE)}")


def read_overrides(path: Path) -> dict[str, Table]:
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
    return {others.own_name(method): table for method, table in content.items()}


def kind_of(method: str) -> tuple[Callable[..., Method], Variants]:
    """The class of a method, and those of its settings. Raises EvaluationError as `check_method`."""
    if others.is_other(method):
        return others.OtherModel, (others.settings_class(method),)
    return KNOWN[check_method(method)]


DEFAULTS = {
    method: {name: value for name, value in defaults(method).items() if name not in variants[0].retired}
    for method, (_, variants) in KNOWN.items()
}
"""The usual settings of the methods that have a name here, for people."""
