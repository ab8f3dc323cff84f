"""What a method needs of a network, of its pictures and of their number, checked before any work begins."""

from __future__ import annotations

import functools

from fracgen_eval.errors import EvaluationError
from fracgen_eval.images import Geometry
from fracgen_eval.methods.settings import IMAGE_LEVEL, LAYER_CHOICE, Settings, check_method
from fracgen_eval.weights.network import Network, Stage, create, network

PAPER_CROP = 224
"""PatchCore's centre crop at the time of the paper, of 256 pixels."""
FASTFLOW_LAYERS = ("layer1", "layer2", "layer3")
"""Where Anomalib's FastFlow takes its features."""
PYRAMID = 3
"""Stages that Reverse Distillation takes, each half as large as the one before."""
UNFROZEN_AFTER = "layer2"
"""PANDA adapts what lies behind this stage."""


LEAST_SIDE = {"patchcore": 17, "padim": 17, "rd": 17, "cutpaste": 30}
"""Of pictures, in pixels: Anomalib blurs maps with a margin of 16 px, and CutPaste's scars are up to 30 px high."""
LEAST_IMAGES = {"cutpaste": 2}
"""Training images for a covariance that is not zero; the other seven begin at one."""
CONDITION_STEP = 4
"""C-Flow's position encoding has sine and cosine for rows and for columns."""
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
    _check_side(method, settings, side)
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
    if method == "fastflow" and (ratio := settings["hidden_ratio"]) * (least := min(_halves(stages))) < 1:
        raise EvaluationError(
            f"fastflow.hidden_ratio = {ratio:g} leaves no channel in the flows of {net.name}, which have {least} at "
            f"least: use {1 / least:.2g} or more"
        )
    return stages


def check_own_fit(
    method: str, model: str, settings: Settings, images: int, *, layers: tuple[str, ...] | None = None,
    protocol: str = "honest",
) -> None:  # fmt: skip
    """Refuse a fit that cannot be; the method, the settings and the network are those of `stages_of`.

    Args:
        method: one of the eight.
        model: timm's name of a network.
        settings: of the method.
        images: number of training images.
        layers: other layers than the settings', for PatchCore and PaDiM.
        protocol: `honest` or `paper`.

    Raises:
        EvaluationError: there are too few images, or settings or network do not fit them or each other.
    """
    stages = stages_of(method, model, settings, layers=layers, protocol=protocol)
    if images < (least := LEAST_IMAGES.get(method, 1)):
        raise EvaluationError(f"{method} needs {least} training images or more, and there are {images}: add some")
    side = geometry_of(method, settings, protocol).side
    if method == "patchcore":
        _, height, width = network(model).maps(side)[stages[0].layer]
        if int((patches := images * height * width) * settings["coreset"]) < 1:
            raise EvaluationError(
                f"patchcore.coreset = {settings['coreset']:g} of the {patches} patches of {images} training images is "
                f"no patch: use {1 / patches:.2g} or more, or a larger image_size"
            )
    if method in ("rd", "stfpm"):
        _check_last_batch(method, network(model), stages, settings, images)


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


def _check_side(method: str, settings: Settings, side: int) -> None:
    """Raises EvaluationError for pictures and settings that no network would make up for."""
    if method == "panda" and settings["crop"] > settings["resize"]:
        raise EvaluationError(
            f"panda.crop = {settings['crop']} is more than panda.resize = {settings['resize']}: crop that or less"
        )
    if method == "cflow" and settings["condition"] % CONDITION_STEP:
        raise EvaluationError(f"cflow.condition = {settings['condition']}: use a multiple of {CONDITION_STEP}")
    least = LEAST_SIDE.get(method, 1) if method != "cutpaste" or settings["steps"] else 1
    if side < least:
        raise EvaluationError(f"{method} needs pictures of {least} px or more, and these have {side}: set image_size")


def _halves(stages: tuple[Stage, ...]) -> list[int]:
    """Channels from which a coupling block of FastFlow computes those of the other half, rounded up."""
    return [(stage.channels + 1) // 2 for stage in stages]


def _check_last_batch(method: str, net: Network, stages: tuple[Stage, ...], settings: Settings, images: int) -> None:
    """A batch normalisation that is trained needs two values a channel, and the last batch may be a single image."""
    batch, side = settings["batch"], settings["image_size"]
    if (images % batch or min(images, batch)) > 1:
        return
    if method == "rd":
        places = (net.maps(side)[stages[-1].layer][1] // 2) ** 2  # of the bottleneck
    else:
        places = _normed_places(net.name, net.index(stages[-1]), side)
    if places < 2:
        raise EvaluationError(
            f"{method} cannot train on a batch of one image of {side} px, which is what {images} training images "
            f"leave after batches of {batch}: change {method}.batch, use a larger image_size, or more than one image"
        )


@functools.lru_cache(maxsize=64)
def _normed_places(model: str, last: int, side: int) -> int:
    """The fewest values a channel that a batch normalisation sees of an image, up to timm's stage number `last`."""
    import torch

    seen: list[int] = []
    with torch.device("meta"):
        part = create(model, features_only=True, out_indices=(last,)).eval()
        for module in part.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0, 0].numel()))
        part(torch.empty(1, 3, side, side))
    return min(seen, default=2)


def _check_pyramid(net: Network, heights: list[int], side: int) -> None:
    """Reverse Distillation's bottleneck halves the last map, and its decoder doubles it three times."""
    low = heights[-1]
    if len(heights) != PYRAMID or heights != [4 * low, 2 * low, low] or low % 2:
        raise EvaluationError(
            f"rd needs three layers of {net.name} whose maps halve, the last of an even side, and at {side} px they "
            f"have {', '.join(map(str, heights))}: use an image_size that 32 divides, or other rd.layers in --settings"
        )
