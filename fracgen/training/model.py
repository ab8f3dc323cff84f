"""Any classifier of torchvision or timm, by name, with a given number of outputs and fresh weights."""

from __future__ import annotations

import copy
import difflib
from typing import Any

import torch


def build_model(name: str, outputs: int, size: int, seed: int) -> torch.nn.Module:
    """A model with fresh weights.

    Args:
        name: torchvision's model of that name where there is one, else timm's. `timm/NAME` asks for
            timm's. (For ResNets both have the same keys.)
        outputs: of the last layer.
        size: side of the images, in pixels.
        seed: decides the weights.

    Raises:
        ValueError: neither library has it, or it does not make [B, outputs] of images of that size.
    """
    torch.manual_seed(seed)
    model = _torchvision(name, outputs, size) or _timm(name.removeprefix("timm/"), outputs, size)
    if model is None:
        raise ValueError(f"unknown model {name!r}: torchvision and timm have no classifier of that name{_near(name)}")
    try:
        shape: Any = list(copy.deepcopy(model).to("meta")(torch.empty(2, 3, size, size, device="meta")).shape)
    except (RuntimeError, AttributeError, AssertionError, ValueError) as error:
        shape = str(error).splitlines()[0] if str(error) else type(error).__name__
    if shape != [2, outputs]:
        raise ValueError(
            f"model {name!r} does not make [2, {outputs}] of images [2, 3, {size}, {size}] (it gives {shape}): "
            "use another model, or images of the size it was made for"
        )
    return model


def last_layer(model: torch.nn.Module, outputs: int) -> str:
    """Name of the layer that makes the outputs: the last linear one of that width."""
    linear, convolution = torch.nn.Linear, torch.nn.Conv2d  # SqueezeNet ends in a convolution over one pixel
    names: list[str] = [
        name for name, part in model.named_modules()
        if (isinstance(part, linear) and part.out_features == outputs)
        or (isinstance(part, convolution) and part.out_channels == outputs)
    ]  # fmt: skip
    assert names, f"no layer of {type(model).__name__} makes {outputs} outputs"
    return names[-1]


def features_into(model: torch.nn.Module, layer: str) -> int:
    """How many features a layer takes."""
    part: Any = model.get_submodule(layer)
    return int(part.in_features if isinstance(part, torch.nn.Linear) else part.in_channels)


def library_of(name: str) -> str:
    """Which library's model a name stands for."""
    return "torchvision" if name in _torchvision_names() else "timm"


def _torchvision_names() -> list[str]:
    import torchvision

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _torchvision(name: str, outputs: int, size: int) -> torch.nn.Module | None:
    import torchvision

    if name not in _torchvision_names():
        return None
    more: dict[str, Any] = {"image_size": size} if name.startswith("vit_") else {}
    if name in ("googlenet", "inception_v3"):
        more = {"aux_logits": False, "init_weights": True}  # one output; and a choice that they ask for
    model: torch.nn.Module = torchvision.models.get_model(name, weights=None, num_classes=outputs, **more)
    return model


def _timm(name: str, outputs: int, size: int) -> torch.nn.Module | None:
    try:
        import timm
    except ImportError:
        raise ValueError(
            f"unknown model {name!r}: torchvision has none of that name, and timm is not installed; "
            "install fracgen[train]"
        ) from None
    if not timm.is_model(name):
        return None
    try:  # models that fix the size of their images take it here, the others do not know the word
        model: torch.nn.Module = timm.create_model(name, pretrained=False, num_classes=outputs, img_size=size)
    except TypeError:
        torch.manual_seed(torch.initial_seed())
        model = timm.create_model(name, pretrained=False, num_classes=outputs)
    return model


def _near(name: str) -> str:
    names = _torchvision_names()
    try:
        import timm
    except ImportError:
        pass
    else:
        names = names + timm.list_models()
    close = difflib.get_close_matches(name, names, n=3)
    return f"; did you mean {', '.join(close)}?" if close else ""
