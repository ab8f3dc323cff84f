"""STFPM without a download: Anomalib's constructor asks for a pre-trained teacher and takes no other."""

from __future__ import annotations

from typing import Any

from fracgen_eval.methods.anomalib.parts import Parts, extractor, module_around


def build_stfpm(parts: Parts) -> Any:
    """STFPM with a fresh teacher, to be filled, and a fresh student of the same network."""
    from anomalib.models import Stfpm
    from anomalib.models.image.stfpm.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.stfpm.loss import STFPMLoss
    from anomalib.models.image.stfpm.torch_model import STFPMModel
    from torch import nn

    class Model(STFPMModel):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.tiler = None
            self.backbone = parts.network.name
            self.teacher_model = extractor(parts).eval()
            self.student_model = extractor(parts, trained=True)
            self.anomaly_map_generator = AnomalyMapGenerator()

    return module_around(Stfpm, Model(), STFPMLoss(), parts)
