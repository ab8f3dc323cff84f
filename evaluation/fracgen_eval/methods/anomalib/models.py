"""Anomalib's six models, built without downloads and with our weights where a pre-trained network belongs.

A student, decoder or flow is never pre-trained. `pre_trained=False` builds the extractor with random
weights, which `load_backbone` then replaces to the last tensor.
"""

from __future__ import annotations

from typing import Any

from fracgen_eval.methods.settings import Settings
from fracgen_eval.weights.backbones import Weights, load_backbone

PADIM_FEATURES = {"resnet18": 100, "resnet50": 550, "wide_resnet50_2": 550}


def build_module(
    name: str, weights: Weights, settings: Settings, layers: tuple[str, ...], side: int, protocol: str
) -> Any:
    """The Lightning module of a method, its frozen network filled. Needs a seeded generator around it."""
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Resize

    parts = {
        "pre_processor": PreProcessor(transform=Resize((side, side))),
        "post_processor": False, "evaluator": False, "visualizer": False,
    }  # fmt: skip
    module = _BUILDERS[name](weights.model, settings, list(layers), parts)
    load_backbone(frozen_network(name, module), weights)
    frozen_network(name, module).requires_grad_(False).eval()
    if protocol == "paper":
        _use_older_optimiser(name, module)
    return module


def frozen_network(name: str, module: Any) -> Any:
    """The pre-trained network inside a method's module: extractor, encoder or teacher."""
    model = module.model
    if name == "fastflow":
        return model.feature_extractor
    if name == "stfpm":
        return model.teacher_model.feature_extractor
    return (model.encoder if name in ("cflow", "rd") else model.feature_extractor).feature_extractor


def _fastflow(model: str, settings: Settings, layers: list[str], parts: dict[str, Any]) -> Any:
    from anomalib.models import Fastflow

    return Fastflow(
        model, pre_trained=False, flow_steps=settings["flow_steps"], conv3x3_only=settings["conv3x3_only"],
        hidden_ratio=settings["hidden_ratio"], **parts,
    )  # fmt: skip


def _cflow(model: str, settings: Settings, layers: list[str], parts: dict[str, Any]) -> Any:
    from anomalib.models import Cflow

    return Cflow(
        model, layers, pre_trained=False, fiber_batch_size=settings["fiber_batch"],
        condition_vector=settings["condition"], coupling_blocks=settings["blocks"], clamp_alpha=settings["clamp"],
        lr=settings["lr"], **parts,
    )  # fmt: skip


def _patchcore(model: str, settings: Settings, layers: list[str], parts: dict[str, Any]) -> Any:
    import functools

    from anomalib.models import Patchcore
    from anomalib.models.components.sampling import k_center_greedy

    # The bar of the coreset's selection cannot be switched off from outside.
    greedy: Any = k_center_greedy
    if not isinstance(greedy.tqdm, functools.partial):
        greedy.tqdm = functools.partial(greedy.tqdm, disable=True)
    module: Any = Patchcore(
        model, layers, pre_trained=False, coreset_sampling_ratio=settings["coreset"],
        num_neighbors=settings["neighbours"], **parts,
    )  # fmt: skip
    module.model.nearest_neighbors = functools.partial(_nearest, module.model)
    return module


def _nearest(model: Any, embedding: Any, n_neighbors: int) -> tuple[Any, Any]:
    """Anomalib's search in a steadier order: distances [Q, k] of queries [Q, D] to the bank, and where.

    |x|^2 + |y|^2 - 2xy cancels, so Anomalib's distances change in the fifth digit with the batch. Here the
    product only finds the neighbours; the distances to these few are taken directly.
    """
    import torch

    centre = model.memory_bank.mean(0)
    bank = model.memory_bank - centre
    length = (bank**2).sum(1)
    scores, places = [], []
    for part in embedding.split(1024):
        near = (length - 2 * (part - centre) @ bank.T).topk(n_neighbors, largest=False).indices
        distance = (part[:, None] - model.memory_bank[near]).norm(dim=2)
        distance, order = distance.sort(dim=1, stable=True)
        scores.append(distance)
        places.append(near.gather(1, order))
    found, where = torch.cat(scores), torch.cat(places)
    return (found[:, 0], where[:, 0]) if n_neighbors == 1 else (found, where)


def _padim(model: str, settings: Settings, layers: list[str], parts: dict[str, Any]) -> Any:
    from anomalib.models import Padim

    from fracgen_eval.methods.anomalib.padim_gaussian import block_gaussian

    features = settings["features"] or PADIM_FEATURES[model]
    module = Padim(model, layers, pre_trained=False, n_features=features, **parts)
    module.model.gaussian = block_gaussian()
    return module


def _rd(model: str, settings: Settings, layers: list[str], parts: dict[str, Any]) -> Any:
    from anomalib.models import ReverseDistillation
    from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode

    return ReverseDistillation(model, layers, AnomalyMapGenerationMode.ADD, pre_trained=False, **parts)


def _stfpm(model: str, settings: Settings, layers: list[str], parts: dict[str, Any]) -> Any:
    from anomalib.models import Stfpm
    from anomalib.models.components import AnomalibModule, TimmFeatureExtractor
    from anomalib.models.image.stfpm.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.stfpm.loss import STFPMLoss
    from anomalib.models.image.stfpm.torch_model import STFPMModel
    from torch import nn

    class OfflineModel(STFPMModel):
        """Anomalib's constructor asks for a downloaded teacher and takes no other."""

        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.tiler = None
            self.backbone = model
            self.teacher_model = TimmFeatureExtractor(model, layers, pre_trained=False).eval()
            self.student_model = TimmFeatureExtractor(model, layers, pre_trained=False, requires_grad=True)
            self.anomaly_map_generator = AnomalyMapGenerator()

    class OfflineStfpm(Stfpm):
        def __init__(self) -> None:
            AnomalibModule.__init__(self, **parts)
            self.model = OfflineModel()
            self.loss = STFPMLoss()

    return OfflineStfpm()


_BUILDERS = {
    "fastflow": _fastflow, "cflow": _cflow, "patchcore": _patchcore, "padim": _padim, "rd": _rd, "stfpm": _stfpm,
}  # fmt: skip


def _use_older_optimiser(name: str, module: Any) -> None:
    """RD and STFPM hard-code optimisers that have changed since the paper's tables were made."""
    from torch import optim

    model = module.model
    if name == "rd":
        learned = [*model.decoder.parameters(), *model.bottleneck.parameters()]
        module.configure_optimizers = lambda: optim.Adam(learned, lr=0.005, betas=(0.5, 0.999))
    elif name == "stfpm":
        learned = list(model.student_model.parameters())
        module.configure_optimizers = lambda: optim.SGD(learned, lr=0.4, momentum=0.9, weight_decay=1e-4)
