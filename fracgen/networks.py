"""Networks of torchvision and timm by name: fresh weights, the layer that makes the outputs, the features of stages."""

from __future__ import annotations

import copy
import difflib
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ERRORS = (RuntimeError, AttributeError, AssertionError, NotImplementedError, TypeError, ValueError)
"""What a network may raise at images of a size that it does not take, or at tracing."""
TEACHER = "pdn_small"
"""The network that `patch_description` makes."""


def create(name: str, outputs: int, size: int, seed: int, **options: object) -> nn.Module:
    """A network with fresh weights.

    Args:
        name: torchvision's network of that name where there is one, else timm's. `timm/NAME` asks for timm's. (For
            ResNets both have the same keys.)
        outputs: width of the last layer.
        size: side of the images, in pixels.
        seed: decides the weights.
        options: timm's, such as `dynamic_img_size`.

    Raises:
        ValueError: neither library has it, or it does not make [B, outputs] of images of that size.
    """
    torch.manual_seed(seed)
    model = _torchvision(name, outputs, size) or _timm(name.removeprefix("timm/"), outputs, size, options)
    if model is None:
        raise ValueError(f"unknown model {name!r}: torchvision and timm have no classifier of that name{_near(name)}")
    try:
        shape: object = list(copy.deepcopy(model).to("meta")(torch.empty(2, 3, size, size, device="meta")).shape)
    except ERRORS as error:
        shape = _reason(error)
    if shape != [2, outputs]:
        raise ValueError(
            f"model {name!r} does not make [2, {outputs}] of images [2, 3, {size}, {size}] (it gives {shape}): "
            "use another model, or images of the size it was made for"
        )
    return model


def patch_description() -> nn.Module:
    """EfficientAD's small patch description network (Batzner et al., WACV 2024): images [B, 3, H, W], normalised with
    ImageNet's mean and standard deviation, to features [B, 384, about H / 4 - 8, about W / 4 - 8] of 33 x 33 pixels.
    """
    layers = {
        "conv1": nn.Conv2d(3, 128, 4), "relu1": nn.ReLU(), "avgpool1": nn.AvgPool2d(2),
        "conv2": nn.Conv2d(128, 256, 4), "relu2": nn.ReLU(), "avgpool2": nn.AvgPool2d(2),
        "conv3": nn.Conv2d(256, 256, 3), "relu3": nn.ReLU(), "conv4": nn.Conv2d(256, 384, 4),
    }  # fmt: skip
    return nn.Sequential(OrderedDict(layers))


def last_layer(model: nn.Module, outputs: int) -> str:
    """Name of the layer that makes the outputs: the last linear one of that width."""
    names: list[str] = [  # SqueezeNet ends in a convolution over one pixel
        name for name, part in model.named_modules()
        if (isinstance(part, nn.Linear) and part.out_features == outputs)
        or (isinstance(part, nn.Conv2d) and part.out_channels == outputs)
    ]  # fmt: skip
    assert names, f"no layer of {type(model).__name__} makes {outputs} outputs"
    return names[-1]


def features_into(model: nn.Module, layer: str) -> int:
    """Number of features that a layer takes."""
    part = model.get_submodule(layer)
    assert isinstance(part, (nn.Linear, nn.Conv2d))
    return part.in_features if isinstance(part, nn.Linear) else part.in_channels


def first_convolution(model: nn.Module) -> str | None:
    """Name of the first convolution, which takes the image; None where a network has none."""
    return next((name for name, part in model.named_modules() if isinstance(part, nn.Conv2d)), None)


def library_of(name: str) -> str:
    """The library whose network a name stands for: torchvision or timm."""
    return "torchvision" if name in _torchvision_names() else "timm"


@dataclass(frozen=True)
class Stage:
    """A place in a network at which its features are taken."""

    module: str
    """Name of the module that gives them."""
    channels: int
    stride: int
    """Pixels of the image per cell of the feature map, along a side."""


def stages(model: nn.Module, size: int, strides: Sequence[int]) -> list[Stage]:
    """The last stage of each of these strides, for images of size x size pixels.

    timm's networks say what their stages are (`feature_info`); of others it is the last module with such an output.

    Raises:
        ValueError: the network has no feature maps [B, channels, h, w] of some stride.
    """
    shapes = _shapes_of_maps(model, size) if strides else {}
    info = {entry["reduction"]: entry for entry in getattr(model, "feature_info", [])}
    if set(strides) <= set(info):
        found = {stride: Stage(info[stride]["module"], info[stride]["num_chs"], stride) for stride in strides}
    else:
        found = {
            stride: Stage(name, shape[1], stride)
            for stride in strides for name, shape in shapes.items() if shape[2] == shape[3] == -(-size // stride)
        }  # fmt: skip
    given = [s for s in strides if s in found and shapes.get(found[s].module, ())[1:2] == (found[s].channels,)]
    if missing := [str(stride) for stride in strides if stride not in given]:
        raise ValueError(
            f"{type(model).__name__} gives no feature maps of {', '.join(missing)} pixels a cell: use a convolutional "
            "network, or an objective that looks at outputs only"
        )
    return [found[stride] for stride in strides]


class FeatureNetwork(nn.Module):
    """A network that gives, in one pass, its outputs and the feature maps of some of its stages.

    It holds the tensors of `model` itself: training one is training the other.

    Args:
        model: the network, images [B, 3, H, W] to outputs [B, outputs].
        chosen: stages of it; where there are none, the network is called as it is.
        autocast: whether to compute in bfloat16 under autocast.

    Raises:
        ValueError: the network cannot be traced.
    """

    def __init__(self, model: nn.Module, chosen: Sequence[Stage] = (), autocast: bool = False) -> None:
        super().__init__()
        self.stages, self.autocast = tuple(chosen), autocast
        self.body = _traced(model, [stage.module for stage in chosen]) if chosen else model

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs float32 [B, outputs], and a map [B, channels, h, w] for each stage, of images [B, 3, H, W]."""
        autocast = self.autocast and not images.is_meta
        with torch.autocast(images.device.type, torch.bfloat16) if autocast else nullcontext():
            found = self.body(images)
        if not self.stages:
            return found.float(), []
        return found["outputs"].float(), [found[stage.module] for stage in self.stages]

    def freeze_behind_stages(self, size: int) -> None:
        """Freeze the parameters on which no feature map depends, for images of size x size pixels."""
        twin = copy.deepcopy(self).to("meta")
        maps: list[Tensor] = twin(torch.empty(2, 3, size, size, device="meta"))[1]
        torch.autograd.backward([features.sum() for features in maps])
        for own, its in zip(self.parameters(), twin.parameters(), strict=True):
            own.requires_grad_(its.grad is not None)


def _traced(model: nn.Module, names: Sequence[str]) -> nn.Module:
    """The network as a graph that returns a dictionary: its outputs, and those of some modules, by name."""
    import torchvision.models.feature_extraction

    extract = torchvision.models.feature_extraction.create_feature_extractor
    if type(model).__module__.startswith("timm."):
        import timm.models

        extract = timm.models.create_feature_extractor  # the same, told what of timm's is not to be traced

    class Named(nn.Module):
        """Gives the outputs a name in the graph."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.outputs = model, nn.Identity()

        def forward(self, images: Tensor) -> Tensor:
            found: Tensor = self.outputs(self.model(images))
            return found

    wanted = {"outputs": "outputs", **{f"model.{name}": name for name in names}}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(NOTE: )?The nodes obtained by tracing")  # dropout is absent from one
            graph: nn.Module = extract(Named().train(model.training), wanted)
    except ERRORS as error:
        raise ValueError(
            f"no features can be taken from the middle of {type(model).__name__} ({_reason(error)}): use another "
            "convolutional network, or an objective that looks at outputs only"
        ) from None
    return graph


def _shapes_of_maps(model: nn.Module, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes [2, C, H, W] of the outputs of modules, in the order in which they end; from a pass without numbers."""
    shapes: dict[str, tuple[int, ...]] = {}
    twin = copy.deepcopy(model).to("meta").eval()
    for name, part in twin.named_modules():

        def note(_module: nn.Module, _inputs: object, output: object, name: str = name) -> None:
            if isinstance(output, Tensor) and output.dim() == 4:
                shapes.pop(name, None)
                shapes[name] = tuple(output.shape)

        part.register_forward_hook(note)
    with torch.no_grad():
        twin(torch.empty(2, 3, size, size, device="meta"))
    return shapes


def _torchvision_names() -> list[str]:
    import torchvision

    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    return names


def _torchvision(name: str, outputs: int, size: int) -> nn.Module | None:
    import torchvision

    if name not in _torchvision_names():
        return None
    more: dict[str, object] = {"image_size": size} if name.startswith("vit_") else {}
    if name in ("googlenet", "inception_v3"):
        more = {"aux_logits": False, "init_weights": True}  # one output; and a choice that they ask for
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=outputs, **more)
    return model


def _timm(name: str, outputs: int, size: int, options: Mapping[str, object]) -> nn.Module | None:
    try:
        import timm
    except ImportError:
        raise ValueError(
            f"unknown model {name!r}: torchvision has none of that name, and timm is not installed; "
            "install fracgen[train]"
        ) from None
    if not timm.is_model(name):
        return None
    build: Callable[..., nn.Module] = timm.create_model
    try:  # models that fix the size of their images take it here, the others do not know the word
        model = build(name, pretrained=False, num_classes=outputs, img_size=size, **options)
    except TypeError:
        torch.manual_seed(torch.initial_seed())
        model = build(name, pretrained=False, num_classes=outputs, **options)
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


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
