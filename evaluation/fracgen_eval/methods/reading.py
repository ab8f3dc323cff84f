"""Which settings a method reads only where another one has certain values, and the refusal of what would do nothing.

docs/evaluation.md has the table of options.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.settings import Settings, settings_for


@dataclass(frozen=True)
class Rule:
    """Settings of a method that are read where `holds`."""

    names: tuple[str, ...]
    holds: Callable[[Settings], bool]
    needs: str
    """What `holds` asks for, for a message."""


def _variant(*names: str) -> Callable[[Settings], bool]:
    return lambda settings: settings["variant"] in names


_TRAINED = ("batch", "max_steps", "lr", "momentum", "weight_decay", "clip")
RULES: dict[str, tuple[Rule, ...]] = {
    "panda": (
        Rule(_TRAINED, _variant("early", "ewc"), "variant 'early' or 'ewc'"),
        Rule(("early_epochs",), _variant("early"), "variant 'early'"),
        Rule(("ewc_epochs", "ewc_lambda", "fisher_images"), _variant("ewc"), "variant 'ewc'"),
    ),
    "cutpaste": (
        Rule(("steps", "frozen_steps"), lambda settings: not settings["original"], "original = false"),
        Rule(
            ("views", "batch", "frozen_steps", "lr", "momentum", "weight_decay", "jitter"),
            lambda settings: settings["steps"] > 0, "steps above 0",
        ),
    ),
}  # fmt: skip
OF_PROTOCOL = {"epochs": "honest", "most_epochs": "paper", "patience": "paper"}
"""Settings of the eight that one protocol reads."""


def check_overrides(
    method: str, overrides: Settings | None, *, protocol: str = "honest", layers: Any = None
) -> None:  # fmt: skip
    """Refuse settings that the method would not read.

    Args:
        method: one of `METHODS`, or of Anomalib's other models, all of whose settings are read.
        overrides: as `settings_for` takes them.
        protocol: `honest` or `paper`.
        layers: chosen otherwise, in the place of the settings'.

    Raises:
        EvaluationError: one would do nothing; or see `settings_for`.

    >>> check_overrides("panda", {"lr": 0.1})
    Traceback (most recent call last):
    fracgen_eval.errors.EvaluationError: panda.lr = 0.1 does nothing here, it is read with variant 'early' or 'ewc': \
leave it out
    """
    settings = settings_for(method, overrides=overrides)
    for name, value in (overrides or {}).items():
        needs = [rule.needs for rule in RULES.get(method, ()) if name in rule.names and not rule.holds(settings)]
        if name in OF_PROTOCOL and not method.startswith("anomalib:") and protocol != OF_PROTOCOL[name]:
            needs.append(f"protocol '{OF_PROTOCOL[name]}'")
        if name == "layers" and layers:
            needs.append("no --layers beside it")
        if needs:
            raise EvaluationError(
                f"{method}.{name} = {value!r} does nothing here, it is read with {needs[0]}: leave it out"
            )
