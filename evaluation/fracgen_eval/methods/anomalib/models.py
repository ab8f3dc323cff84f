"""Anomalib's six models, built without downloads and with our weights where a pre-trained network belongs.

A student, decoder or flow is never pre-trained. `pre_trained=False` builds the extractor with random
weights, which `load_backbone` then replaces to the last tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fracgen_eval.methods.anomalib.distillation import build_distillation
from fracgen_eval.methods.anomalib.fastflow import build_fastflow
from fracgen_eval.methods.anomalib.parts import Parts
from fracgen_eval.methods.anomalib.patchcore import build_patchcore
from fracgen_eval.methods.anomalib.stfpm import build_stfpm
from fracgen_eval.methods.needs import padim_features
from fracgen_eval.methods.settings import Settings
from fracgen_eval.weights.backbones import Weights, load_backbone
from fracgen_eval.weights.network import Stage


def build_module(
    name: str, weights: Weights, settings: Settings, stages: tuple[Stage, ...], side: int, protocol: str
) -> Any:
    """The Lightning module of a method, its frozen network filled. Needs a seeded generator around it."""
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Resize

    lightning = {
        "pre_processor": PreProcessor(transform=Resize((side, side))),
        "post_processor": False, "evaluator": False, "visualizer": False,
    }  # fmt: skip
    module = _BUILDERS[name](Parts(weights.network, stages, settings, side, lightning))
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


def _cflow(parts: Parts) -> Any:
    from anomalib.models import Cflow

    settings = parts.settings
    return Cflow(
        parts.network.name, parts.layers, pre_trained=False, fiber_batch_size=settings["fiber_batch"],
        condition_vector=settings["condition"], coupling_blocks=settings["blocks"], clamp_alpha=settings["clamp"],
        lr=settings["lr"], **parts.lightning,
    )  # fmt: skip


def _padim(parts: Parts) -> Any:
    from anomalib.models import Padim

    from fracgen_eval.methods.anomalib.padim_gaussian import use_blocks

    name = parts.network.name
    features = padim_features(name, parts.stages, parts.settings)
    module = Padim(name, parts.layers, pre_trained=False, n_features=features, **parts.lightning)
    use_blocks(module.model)
    return module


_BUILDERS: dict[str, Callable[[Parts], Any]] = {
    "fastflow": build_fastflow, "cflow": _cflow, "patchcore": build_patchcore, "padim": _padim,
    "rd": build_distillation, "stfpm": build_stfpm,
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
