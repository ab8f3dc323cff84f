"""Reverse Distillation on any pyramid of three stages.

Anomalib has bottlenecks and decoders for the ResNets of `TORCHVISION` alone, of the widths they have. Their
blocks take any width, so other networks get the same arrangement at their own: two basic blocks a step, as for a
ResNet-18. One thing is added. A ResNet's features are never negative and neither are the decoder's; those of a
linear bottleneck or a ConvNeXt are of both signs, so a 1 x 1 convolution ends each of the decoder's outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Unpack

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import Batch, Count, Table
from fracgen_eval.methods.engine import (
    PYRAMID,
    AnomalibMethod,
    Common,
    LayeredSettings,
    TrainedSettings,
    check_last_batch,
)
from fracgen_eval.weights.network import TORCHVISION, Network, Stage, contiguous

if TYPE_CHECKING:
    from anomalib.models.components import AnomalibModule
    from torch import Tensor, nn

BLOCKS = 2


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(TrainedSettings, LayeredSettings):
    """Reverse Distillation's."""

    batch: Batch = 16
    epochs: Count = 200
    most_epochs: Count = 200

    method = "rd"
    least_side = 17
    """Anomalib blurs maps with a margin of 16 px."""
    trial: ClassVar[Table] = {"epochs": 4, "most_epochs": 4}

    def stages(self, net: Network) -> tuple[Stage, ...]:
        """The bottleneck halves the last map, and the decoder doubles it three times."""
        stages, side = super().stages(net), self.image_size
        heights = [net.maps(side)[stage.layer][1] for stage in stages]
        low = heights[-1]
        if heights != [4 * low, 2 * low, low] or low % 2:
            remedy = "use an image_size that 32 divides, or other rd.layers in --settings"
            if heights == [low, low, low]:  # the decoder has a step between any two
                remedy = "use anomalib:dinomaly or anomalib:inp_former, which distil the tokens of transformers"
            raise EvaluationError(
                f"rd needs three layers of {net.name} whose maps halve, the last of an even side, and at {side} px "
                f"they have {', '.join(map(str, heights))}: {remedy}"
            )
        return stages

    def check(self, net: Network, images: int) -> None:
        """The bottleneck's batch normalisations need two values a channel, in the last batch too."""
        super().check(net, images)
        last = net.chosen(self.layers)[-1].layer
        check_last_batch(self, images, lambda: (net.maps(self.image_size)[last][1] // 2) ** 2)


class Distillation(AnomalibMethod[DistillationSettings]):
    """The maps of the three stages are added."""

    def built(self, **common: Unpack[Common]) -> AnomalibModule:
        """Anomalib's; under `paper` with the optimiser of that time, which Anomalib has changed since."""
        from unittest import mock

        from anomalib.models import ReverseDistillation
        from anomalib.models.image.reverse_distillation import torch_model
        from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode
        from torch.optim import Adam

        net, name = self.weights.network, self.backbone
        channels = [stage.channels for stage in self.stages]
        own = {"get_bottleneck_layer": lambda _: _bottleneck(channels), "get_decoder": lambda _: _decoder(channels)}
        if net.name in TORCHVISION and tuple(stage.layer for stage in self.stages) == PYRAMID:
            name, own = net.name, {}
        with mock.patch.dict(vars(torch_model), own):
            module = ReverseDistillation(name, net.by_name(self.stages), AnomalyMapGenerationMode.ADD, **common)
        contiguous(module.model.get_submodule("encoder.feature_extractor"))
        if self.settings.protocol == "paper":
            parts = [module.model.get_submodule(part) for part in ("decoder", "bottleneck")]
            learned = [parameter for part in parts for parameter in part.parameters()]
            vars(module).update(configure_optimizers=lambda: Adam(learned, lr=0.005, betas=(0.5, 0.999)))
        return module


def _bottleneck(channels: list[int]) -> nn.Module:
    """Anomalib's one-class embedding: maps of three stages to one [B, 2 C, H / 2, W / 2], C that of the last."""
    from anomalib.models.image.reverse_distillation.components.bottleneck import OCBE, conv3x3
    from torch import nn
    from torchvision.models.resnet import BasicBlock

    first, second, third = channels

    class Bottleneck(OCBE):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self._norm_layer, self.groups, self.base_width, self.dilation = nn.BatchNorm2d, 1, 64, 1
            self.inplanes = third
            self.bn_layer = self._make_layer(BasicBlock, 2 * third, BLOCKS, stride=2)
            self.conv1, self.bn1 = conv3x3(first, second, 2), nn.BatchNorm2d(second)
            self.conv2, self.bn2 = conv3x3(second, third, 2), nn.BatchNorm2d(third)
            self.conv3, self.bn3 = conv3x3(second, third, 2), nn.BatchNorm2d(third)
            self.relu = nn.ReLU(inplace=True)
            _initialise(self)

    return Bottleneck()


def _decoder(channels: list[int]) -> nn.Module:
    """Anomalib's mirrored ResNet from the bottleneck's output back to the three maps."""
    from anomalib.models.components.backbone.resnet_decoder import DecoderBasicBlock, ResNetDecoder
    from torch import nn

    first, second, third = channels

    class Decoder(ResNetDecoder):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self._norm_layer, self.groups, self.base_width, self.dilation = nn.BatchNorm2d, 1, 64, 1
            self.inplanes = 2 * third
            self.layer1 = self._make_layer(DecoderBasicBlock, third, BLOCKS, stride=2)
            self.layer2 = self._make_layer(DecoderBasicBlock, second, BLOCKS, stride=2)
            self.layer3 = self._make_layer(DecoderBasicBlock, first, BLOCKS, stride=2)
            self.ends = nn.ModuleList(nn.Conv2d(width, width, 1) for width in channels)
            _initialise(self)

        def forward(self, batch: Tensor) -> list[Tensor]:
            return [end(part) for end, part in zip(self.ends, super().forward(batch), strict=True)]

    return Decoder()


def _initialise(part: nn.Module) -> None:
    """As Anomalib does; batch normalisations start at weight 1 and bias 0 of themselves."""
    from torch import nn

    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
