"""FastFlow: Anomalib's flows on the features of any network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Unpack

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import Count, CountOrNone, Depth, Rate, Table
from fracgen_eval.methods.engine import AnomalibMethod, Common, TrainedSettings
from fracgen_eval.weights.network import Network, Stage

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule


@dataclass(frozen=True, kw_only=True)
class FastFlowSettings(TrainedSettings):
    """FastFlow's."""

    flow_steps: Depth = 8
    conv3x3_only: bool = True
    hidden_ratio: Rate = 1.0
    epochs: Count = 60
    most_epochs: Count = 500
    patience: CountOrNone = 3

    method = "fastflow"
    trial: ClassVar[Table] = {"epochs": 3, "most_epochs": 3}

    def stages(self, net: Network) -> tuple[Stage, ...]:
        stages = super().stages(net)
        # A coupling block computes a half of the channels from the other, which is rounded up.
        least = min((stage.channels + 1) // 2 for stage in stages)
        if self.hidden_ratio * least < 1:
            raise EvaluationError(
                f"fastflow.hidden_ratio = {self.hidden_ratio:g} leaves no channel in the flows of {net.name}, which "
                f"have {least} at least: use {1 / least:.2g} or more"
            )
        return stages


class FastFlow(AnomalibMethod[FastFlowSettings]):
    """Each stage has its layer norm and its own flow."""

    backbone = "resnet18"
    """Of four names that Anomalib knows, the one by which it asks for the maps of three stages."""

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        from anomalib.models import Fastflow

        own = self.settings
        return Fastflow(
            self.backbone, flow_steps=own.flow_steps, conv3x3_only=own.conv3x3_only, hidden_ratio=own.hidden_ratio,
            **common,
        )  # fmt: skip
