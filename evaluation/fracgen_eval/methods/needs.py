"""What a method needs of a network and of its pictures, checked before any work begins."""

from __future__ import annotations

from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.methods.settings import IMAGE_LEVEL, LAYER_CHOICE, Settings, check_method
from fracgen_eval.weights.network import Network, Stage, network

PAPER_CROP = 224
"""PatchCore's centre crop at the time of the paper, of 256 pixels."""
FASTFLOW_LAYERS = ("layer1", "layer2", "layer3")
"""Where Anomalib's FastFlow takes its features."""
PYRAMID = 3
"""Stages that Reverse Distillation takes, each half as large as the one before."""
UNFROZEN_AFTER = "layer2"
"""PANDA adapts what lies behind this stage."""


PADIM_FEATURES = {"resnet50": 550, "wide_resnet50_2": 550}
PADIM_FEATURES_ELSEWHERE = 100
"""Features that PaDiM keeps by default, as its paper's of a ResNet-18; all, where there are fewer."""


def geometry_of(method: str, settings: Settings, protocol: str = "honest") -> Geometry:
    """How a method wants its pictures."""
    if method == "panda":
        return Geometry(settings["resize"], settings["crop"], shorter=True)
    if method == "cutpaste":
        return Geometry(settings["image_size"])
    paper, size = protocol == "paper", settings["image_size"]
    crop = round(size * PAPER_CROP / 256) if paper and method == "patchcore" else None
    return Geometry(size, crop, antialias=not paper)


def stages_of(
    method: str, model: str, settings: Settings, *, layers: tuple[str, ...] | None = None, protocol: str = "honest"
) -> tuple[Stage, ...]:
    """The stages whose features a method takes, once it is sure that the network serves it.

    Args:
        method: one of the eight.
        model: timm's name of a network.
        settings: of the method.
        layers: other layers than the settings', for PatchCore and PaDiM.
        protocol: `honest` or `paper`, which crops PatchCore's pictures.

    Returns:
        From the image to the end; of the image-level methods none, for they take the pooled feature.

    Raises:
        EvaluationError: something is unknown, or the method cannot work with that network or its layers.
    """
    net = network(model)
    check_layer_choice(method, layers)
    side = geometry_of(method, settings, protocol).side
    if method in IMAGE_LEVEL:
        net.check_side(side)
        if method == "panda" and settings["variant"] != "dn2":
            net.stage(UNFROZEN_AFTER)
        return ()
    stages = net.chosen(settings.get("layers", FASTFLOW_LAYERS) if layers is None else layers)
    maps = net.maps(side)
    if method != "fastflow" and "vit" in net.name:
        raise EvaluationError(
            f"{method} cannot run on {net.name}: Anomalib takes every network with 'vit' in its name for a plain "
            "transformer; use fastflow, panda or cutpaste, or another --model"
        )
    if method == "padim" and settings["features"] > (width := sum(stage.channels for stage in stages)):
        raise EvaluationError(f"padim.features = {settings['features']}: the layers of {net.name} have {width} in all")
    if method == "rd":
        _check_pyramid(net, [maps[stage.layer][1] for stage in stages], side)
    return stages


def padim_features(model: str, stages: tuple[Stage, ...], settings: Settings) -> int:
    """How many of the stages' channels PaDiM keeps."""
    width = sum(stage.channels for stage in stages)
    return int(settings["features"]) or min(width, PADIM_FEATURES.get(model, PADIM_FEATURES_ELSEWHERE))


def adapted_part(net: Network) -> frozenset[str]:
    """Names of the tensors that PANDA's variants with training adapt: in a ResNet those of layer3 and layer4."""
    return frozenset(net.after(net.stage(UNFROZEN_AFTER)))


def check_layer_choice(method: str, layers: tuple[str, ...] | None) -> None:
    """Raises EvaluationError where the method is unknown or has no use for layers that were asked for."""
    check_method(method)
    if layers is not None and method not in LAYER_CHOICE:
        raise EvaluationError(f"the layers of {method} cannot be chosen: use --layers with {', '.join(LAYER_CHOICE)}")


def _check_pyramid(net: Network, heights: list[int], side: int) -> None:
    """Reverse Distillation's bottleneck halves the last map, and its decoder doubles it three times."""
    low = heights[-1]
    if len(heights) != PYRAMID or heights != [4 * low, 2 * low, low] or low % 2:
        raise EvaluationError(
            f"rd needs three layers of {net.name} whose maps halve, the last of an even side, and at {side} px they "
            f"have {', '.join(map(str, heights))}: use an image_size that 32 divides, or other rd.layers in --settings"
        )
