"""What the builders of Anomalib's models share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fracgen_eval.methods.settings import Settings
from fracgen_eval.weights.network import Network, Stage


@dataclass(frozen=True)
class Parts:
    """From what a method's Lightning module is built."""

    network: Network
    stages: tuple[Stage, ...]
    """Those whose features are taken."""
    settings: Settings
    side: int
    """Of the pictures, in pixels."""
    lightning: dict[str, Any]
    """Arguments that every one of Anomalib's modules takes: the pre-processor, and no more."""

    @property
    def layers(self) -> list[Any]:
        """The stages as Anomalib's extractor takes them."""
        return self.network.by_name(self.stages)


def extractor(parts: Parts, *, trained: bool = False) -> Any:
    """Anomalib's extractor of the stages, with fresh weights; images in, features [B, C, H, W] by layer out.

    Args:
        parts: what to build.
        trained: whether it learns, as STFPM's student does.
    """
    from anomalib.models.components import TimmFeatureExtractor

    return TimmFeatureExtractor(parts.network.name, parts.layers, pre_trained=False, requires_grad=trained)


def module_around(kind: Any, model: Any, loss: Any, parts: Parts) -> Any:
    """One of Anomalib's Lightning modules around a model of our own making.

    Anomalib's constructors build the model from a name, and some of them refuse the name or download weights;
    training, optimiser and hooks are used as they are.
    """
    from anomalib.models.components import AnomalibModule

    class Offline(kind):  # type: ignore[misc]
        def __init__(self) -> None:
            AnomalibModule.__init__(self, **parts.lightning)
            self.model = model
            self.loss = loss

    return Offline()
