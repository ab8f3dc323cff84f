"""C-Flow: Anomalib's conditional flows on the features of any network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Unpack

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import Batch, Count, CountOrNone, Depth, Layers, Limits, Rate, Table
from fracgen_eval.methods.engine import AnomalibMethod, Common, LayeredSettings, TrainedSettings

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule

CONDITION_STEP = 4
"""The position encoding has sine and cosine for rows and for columns."""


@dataclass(frozen=True, kw_only=True)
class CFlowSettings(TrainedSettings, LayeredSettings):
    """C-Flow's."""

    batch: Batch = 16
    layers: Layers = ("layer2", "layer3", "layer4")
    fiber_batch: Count = 64
    condition: Annotated[int, Limits(4096)] = 128
    blocks: Depth = 8
    clamp: Rate = 1.9
    lr: Rate = 1e-4
    epochs: Count = 15
    most_epochs: Count = 50
    patience: CountOrNone = 2

    method = "cflow"
    trial: ClassVar[Table] = {"epochs": 1, "most_epochs": 1, "fiber_batch": 1024}

    def check_sizes(self) -> None:
        super().check_sizes()
        if self.condition % CONDITION_STEP:
            raise EvaluationError(f"cflow.condition = {self.condition}: use a multiple of {CONDITION_STEP}")


class CFlow(AnomalibMethod[CFlowSettings]):
    """Its maps depend on the batch that they are judged in."""

    batch_bound = True

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        # A step of its optimiser follows every `fiber_batch` places: fused, it takes a third of the time.
        from anomalib.models import Cflow
        from torch.optim import Adam

        own, layers = self.settings, self.weights.network.by_name(self.stages)
        module = Cflow(
            self.backbone, layers, fiber_batch_size=own.fiber_batch, condition_vector=own.condition,
            coupling_blocks=own.blocks, clamp_alpha=own.clamp, lr=own.lr, **common,
        )  # fmt: skip
        learned = list(module.model.get_submodule("decoders").parameters())
        vars(module).update(configure_optimizers=lambda: Adam(learned, lr=own.lr, fused=True))
        return module

    def expect(self, images: int) -> None:
        """Fibers per step as set, but no more than the last batch has in its smallest map."""
        own, maps = self.settings, self.weights.network.maps(self.geometry.side)
        smallest = min(height * width for _, height, width in (maps[stage.layer] for stage in self.stages))
        last = images % own.batch or own.batch
        vars(self.module.model).update(fiber_batch_size=min(own.fiber_batch, last * smallest))
