"""STFPM: a student learns the features of a teacher with the given weights; both are the same network."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Unpack

from fracgen_eval.methods.base import CountOrNone, Table
from fracgen_eval.methods.engine import AnomalibMethod, Common, LayeredSettings, TrainedSettings, check_last_batch
from fracgen_eval.weights.network import Network, create, network

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule


@dataclass(frozen=True, kw_only=True)
class StfpmSettings(TrainedSettings, LayeredSettings):
    """STFPM's."""

    patience: CountOrNone = 5

    method = "stfpm"
    trial: ClassVar[Table] = {"epochs": 6, "most_epochs": 6}

    def check(self, net: Network, images: int) -> None:
        """The student's batch normalisations need two values a channel, in the last batch too."""
        super().check(net, images)
        last = net.index(net.chosen(self.layers)[-1])
        check_last_batch(self, images, lambda: _normed_places(net.name, last, self.image_size))


class Stfpm(AnomalibMethod[StfpmSettings]):
    """The teacher is frozen, the student begins at random."""

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        """Anomalib's; under `paper` with the optimiser of that time, which Anomalib has changed since."""
        from anomalib.models import Stfpm as Theirs
        from torch.optim import SGD

        module = Theirs(self.backbone, self.weights.network.by_name(self.stages), **common)
        if self.settings.protocol == "paper":
            learned = list(module.model.get_submodule("student_model").parameters())
            vars(module).update(configure_optimizers=lambda: SGD(learned, lr=0.4, momentum=0.9, weight_decay=1e-4))
        return module


@functools.lru_cache(maxsize=64)
def _normed_places(model: str, last: int, side: int) -> int:
    """The fewest values a channel that a batch normalisation sees of an image, up to timm's stage number `last`."""
    import torch

    seen: list[int] = []
    with torch.device("meta"):
        part = create(model, features_only=True, out_indices=(last,), **network(model).sized(side)).eval()
        for module in part.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, 0].numel()))
        part(torch.empty(1, 3, side, side))
    return min(seen, default=2)
