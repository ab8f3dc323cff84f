"""The eight methods behind one protocol; see `base.Method`."""

from __future__ import annotations

from fracgen_eval.methods.base import Method as Method
from fracgen_eval.methods.base import Prediction as Prediction
from fracgen_eval.methods.base import Watch as Watch
from fracgen_eval.methods.needs import stages_of as stages_of
from fracgen_eval.methods.settings import METHODS as METHODS
from fracgen_eval.methods.settings import Settings as Settings
from fracgen_eval.methods.settings import settings_for as settings_for
from fracgen_eval.weights.backbones import Weights


def build_method(
    name: str, weights: Weights, settings: Settings | None = None, *, layers: tuple[str, ...] | None = None,
    protocol: str = "honest", seed: int = 0, device: str = "cpu",
) -> Method:  # fmt: skip
    """A method, ready to fit.

    Args:
        name: one of `METHODS`.
        weights: of the backbone.
        settings: from `settings_for`; the default ones where None.
        layers: other layers than the method's own; PatchCore and PaDiM only.
        protocol: `honest` or `paper`.
        seed: of everything random in the method.
        device: `cpu` or `cuda`.

    Raises:
        EvaluationError: something is unknown or does not fit together.
    """
    from fracgen_eval.methods.cutpaste import CutPaste
    from fracgen_eval.methods.panda import Panda

    settings = settings_for(name) if settings is None else settings
    stages = stages_of(name, weights.model, settings, layers=layers, protocol=protocol)
    if name == "panda":
        return Panda(weights, settings, seed, device)
    if name == "cutpaste":
        return CutPaste(weights, settings, seed, device)
    from fracgen_eval.methods.anomalib.method import AnomalibMethod

    return AnomalibMethod(name, weights, settings, stages=stages, protocol=protocol, seed=seed, device=device)
