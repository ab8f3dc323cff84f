"""FastFlow on any network with stages: Anomalib's model names three it knows; its flows take any."""

from __future__ import annotations

from typing import Any

from fracgen_eval.methods.anomalib.parts import Parts, module_around
from fracgen_eval.weights.network import create


def build_fastflow(parts: Parts) -> Any:
    """FastFlow on the stages, each with its layer norm and its own flow, as Anomalib's on a ResNet."""
    from anomalib.models import Fastflow
    from anomalib.models.image.fastflow.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.fastflow.loss import FastflowLoss
    from anomalib.models.image.fastflow.torch_model import FastflowModel, create_fast_flow_block
    from torch import nn

    network, settings = parts.network, parts.settings
    maps = network.maps(parts.side)
    shapes = [list(maps[stage.layer]) for stage in parts.stages]

    class Model(FastflowModel):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.input_size = (parts.side, parts.side)
            places = [network.index(stage) for stage in parts.stages]
            self.feature_extractor = create(network.name, features_only=True, out_indices=places)
            self.norms = nn.ModuleList(nn.LayerNorm(shape, elementwise_affine=True) for shape in shapes)
            self.fast_flow_blocks = nn.ModuleList(
                create_fast_flow_block(
                    input_dimensions=shape, conv3x3_only=settings["conv3x3_only"],
                    hidden_ratio=settings["hidden_ratio"], flow_steps=settings["flow_steps"],
                )
                for shape in shapes
            )  # fmt: skip
            self.anomaly_map_generator = AnomalyMapGenerator(input_size=self.input_size)

    return module_around(Fastflow, Model(), FastflowLoss(), parts)
