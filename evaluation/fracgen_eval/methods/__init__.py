"""The eight methods and Anomalib's others behind one protocol; see `base.Method`."""

from __future__ import annotations

from collections.abc import Mapping

from fracgen_eval.methods.base import Layers
from fracgen_eval.methods.base import Method as Method
from fracgen_eval.methods.base import Prediction as Prediction
from fracgen_eval.methods.base import Watch as Watch
from fracgen_eval.methods.others import is_other as is_other
from fracgen_eval.methods.settings import METHODS as METHODS
from fracgen_eval.methods.settings import is_method as is_method
from fracgen_eval.methods.settings import kind_of
from fracgen_eval.methods.settings import settings_for as settings_for
from fracgen_eval.methods.settings import settings_of as settings_of
from fracgen_eval.weights.backbones import Weights
from fracgen_eval.weights.network import network


def build_method(
    name: str, weights: Weights, settings: Mapping[str, object] | None = None, *, layers: Layers | None = None,
    protocol: str = "honest", seed: int = 0, device: str = "cpu",
) -> Method:  # fmt: skip
    """A method, ready to fit.

    Args:
        name: one of `METHODS`, or `anomalib:` and the name of one of Anomalib's models.
        weights: of the backbone.
        settings: as `settings_for` gives them, or some of them; the usual ones for what is not named.
        layers: other layers than the method's own; PatchCore and PaDiM only.
        protocol: `honest` or `paper`.
        seed: of everything random in the method.
        device: `cpu` or `cuda`.

    Raises:
        EvaluationError: something is unknown or does not fit together.
    """
    own = settings_of(name, settings or {}, layers=layers, protocol=protocol)
    return kind_of(name)[0](own, weights, seed, device)


def check_fit(
    name: str, model: str, settings: Mapping[str, object], images: int, *, layers: Layers | None = None,
    protocol: str = "honest",
) -> None:  # fmt: skip
    """Refuse before work begins what a method cannot be fitted on; one of Anomalib's other models makes a short trial.

    Arguments are those of `build_method`, but for timm's name of a network and the number of training images.

    Raises:
        EvaluationError: there are too few images, or method, settings, network and images do not fit each other.
    """
    settings_of(name, settings, layers=layers, protocol=protocol).check(network(model), images)
