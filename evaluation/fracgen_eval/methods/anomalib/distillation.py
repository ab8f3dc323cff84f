"""Reverse Distillation on any pyramid of three stages.

Anomalib has bottlenecks and decoders for the ResNets of `TORCHVISION` alone, of the widths they have. Their
blocks take any width, so other networks get the same arrangement at their own: two basic blocks a step, as for a
ResNet-18. One thing is added. A ResNet's features are never negative and neither are the decoder's; those of a
linear bottleneck or a ConvNeXt are of both signs, so a 1 x 1 convolution ends each of the decoder's outputs.
"""

from __future__ import annotations

from typing import Any

from fracgen_eval.methods.anomalib.parts import Parts, extractor, module_around
from fracgen_eval.weights.network import TORCHVISION

RESNET_LAYERS = ["layer1", "layer2", "layer3"]
BLOCKS = 2


def build_distillation(parts: Parts) -> Any:
    """Reverse Distillation with the maps of the three stages added."""
    from anomalib.models import ReverseDistillation
    from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode, AnomalyMapGenerator
    from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
    from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel
    from torch import nn

    if parts.network.name in TORCHVISION and [stage.layer for stage in parts.stages] == RESNET_LAYERS:
        mode = AnomalyMapGenerationMode.ADD
        return ReverseDistillation(parts.network.name, parts.layers, mode, pre_trained=False, **parts.lightning)
    channels = [stage.channels for stage in parts.stages]

    class Model(ReverseDistillationModel):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.tiler = None
            self.encoder = extractor(parts)
            self.encoder.register_forward_hook(_contiguous)
            self.bottleneck = _bottleneck(channels)
            self.decoder = _decoder(channels)
            self.anomaly_map_generator = AnomalyMapGenerator(
                image_size=(parts.side, parts.side), mode=AnomalyMapGenerationMode.ADD
            )

    return module_around(ReverseDistillation, Model(), ReverseDistillationLoss(), parts)


def _contiguous(encoder: Any, images: Any, features: dict[str, Any]) -> dict[str, Any]:
    """Features in the order that Anomalib's loss needs; a ConvNeXt gives them with the channels last."""
    return {layer: feature.contiguous() for layer, feature in features.items()}


def _bottleneck(channels: list[int]) -> Any:
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


def _decoder(channels: list[int]) -> Any:
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

        def forward(self, batch: Any) -> Any:
            return [end(part) for end, part in zip(self.ends, super().forward(batch), strict=True)]

    return Decoder()


def _initialise(part: Any) -> None:
    """As Anomalib does; batch normalisations start at weight 1 and bias 0 of themselves."""
    from torch import nn

    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
