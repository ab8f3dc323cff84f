"""The eight methods and Anomalib's others behind one protocol; see `base.Method`."""

from __future__ import annotations

from fracgen_eval.methods.base import Method as Method
from fracgen_eval.methods.base import Prediction as Prediction
from fracgen_eval.methods.base import Watch as Watch
from fracgen_eval.methods.needs import check_layer_choice, check_own_fit
from fracgen_eval.methods.needs import stages_of as stages_of
from fracgen_eval.methods.others import is_other as is_other
from fracgen_eval.methods.settings import METHODS as METHODS
from fracgen_eval.methods.settings import Settings as Settings
from fracgen_eval.methods.settings import is_method as is_method
from fracgen_eval.methods.settings import settings_for as settings_for
from fracgen_eval.weights.backbones import Weights


def build_method(
    name: str, weights: Weights, settings: Settings | None = None, *, layers: tuple[str, ...] | None = None,
    protocol: str = "honest", seed: int = 0, device: str = "cpu",
) -> Method:  # fmt: skip
    """A method, ready to fit.

    Args:
        name: one of `METHODS`, or `anomalib:` and the name of one of Anomalib's models.
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
    if is_other(name):
        from fracgen_eval.methods.anomalib.other import OtherModel

        check_layer_choice(name, layers)
        return OtherModel(name, weights, settings, seed=seed, device=device)
    stages = stages_of(name, weights.model, settings, layers=layers, protocol=protocol)
    if name == "panda":
        return Panda(weights, settings, seed, device)
    if name == "cutpaste":
        return CutPaste(weights, settings, seed, device)
    from fracgen_eval.methods.anomalib.method import AnomalibMethod

    return AnomalibMethod(name, weights, settings, stages=stages, protocol=protocol, seed=seed, device=device)


def check_fit(
    name: str, model: str, settings: Settings, images: int, *, layers: tuple[str, ...] | None = None,
    protocol: str = "honest",
) -> None:  # fmt: skip
    """Refuse before work begins what a method cannot be fitted on; one of Anomalib's other models makes a short trial.

    Args:
        name: one of `METHODS`, or `anomalib:` and the name of one of Anomalib's models.
        model: timm's name of a network.
        settings: from `settings_for`.
        images: number of training images.
        layers: other layers than the method's own; PatchCore and PaDiM only.
        protocol: `honest` or `paper`.

    Raises:
        EvaluationError: there are too few images, or method, settings, network and images do not fit each other.
    """
    if not is_other(name):
        return check_own_fit(name, model, settings, images, layers=layers, protocol=protocol)
    from fracgen_eval.methods.anomalib.other import check_other

    check_layer_choice(name, layers)
    return check_other(name, model, settings, images)
