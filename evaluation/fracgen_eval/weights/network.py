"""What a network looks like to the methods: its stages, its pooled feature, its tensors.

Every question about an architecture is answered here, from timm's `feature_info` and what the network makes of an
image without numbers, never from its name, so that a method need not know which network it has. Features are maps
[B, C, H, W]: tokens lie on their grid, and channels that come last are turned. A stage is called after its stride, as
ResNets call theirs: `layer1` is the last stage of stride 4, `layer2` of stride 8, `layer3` of 16 and `layer4` of 32.
Where all stages have one stride, as in plain transformers, `layer1` to `layer4` end the quarters of the depth. timm's
own module names, such as `blocks.2`, mean the same stages, where one module is one stage: that of a CoaT's
`parallel_blocks` gives three, which timm tells apart by their number. `0.5` is the stage at half of the depth.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

from fracgen_eval.errors import EvaluationError

if TYPE_CHECKING:
    from timm.models import FeatureInfo
    from torch import Tensor, nn

LAYERS = {"layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}
"""Layers by the stride of their features, in pixels."""
TORCHVISION = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "wide_resnet50_2", "wide_resnet101_2",
)  # fmt: skip
"""Networks that are torchvision's under the same names, with the same tensors and the same features to the last bit."""
FUSED = ":fused"
"""Ends the name of a network whose branches timm's `reparameterize_model` has made one, as in files for inference."""
Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
UNFIT = (RuntimeError, AssertionError, ValueError, TypeError, NotImplementedError, AttributeError)
"""What timm raises for options and images that a network does not take."""


@dataclass(frozen=True)
class Normalisation:
    """What weights expect of their input: (x / 255 - mean) / std per channel."""

    mean: Triple
    std: Triple


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Stage:
    """A place in a network at which features can be taken, before any pooling."""

    layer: str
    """Its name here, which no other stage has: `layer1` to `layer4`, or timm's where another stage has that stride too
    (with its number behind it where that name is another stage's too)."""
    module: str
    """timm's name of the module that gives its features; it may give those of other stages as well."""
    channels: int
    stride: int
    """Pixels of the image per pixel of the feature map."""


@dataclass(frozen=True)
class Network:
    """One of timm's architectures.

    Example:
        >>> lite = network("tf_efficientnet_lite0")
        >>> lite.stage("layer2")
        Stage(layer='layer2', module='blocks.2', channels=40, stride=8)
        >>> lite.pooled, lite.head
        (1280, ('classifier.weight', 'classifier.bias'))
    """

    name: str
    stages: tuple[Stage, ...]
    """From the image to the end."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of every tensor of the classifier of 1,000 classes, by timm's name, in timm's order."""
    head: tuple[str, ...]
    """The tensors that only the classifier has; the others are the backbone."""
    pooled: int
    """Width of the feature before the classifier."""
    _: KW_ONLY
    whole: frozenset[str]
    """The tensors of whole numbers, such as batch normalisations' counters; all others are floats."""
    size: int
    """Side of the images it is made for, in pixels; convolutional networks take others too."""
    first: str
    """Name of the first convolution's weights."""
    normalisation: Normalisation
    """The one that timm's own weights have."""

    def stage(self, layer: str) -> Stage:
        """The stage of that name, here or else in timm, or at that share of the depth.

        Raises:
            EvaluationError: there is none; the message has the names there are.
        """
        if re.fullmatch(r"0?\.\d+|1(\.0*)?", layer) and float(layer) > 0:
            return self.stages[math.ceil(float(layer) * len(self.stages)) - 1]
        found = [s for s in self.stages if s.layer == layer] or [s for s in self.stages if s.module == layer]
        if len(found) == 1:
            return found[0]
        names = ", ".join(s.layer if s.layer == s.module else f"{s.layer} ({s.module})" for s in self.stages)
        fault = f"gives {len(found)} stages in its module {layer!r}" if found else f"has no layer {layer!r}"
        raise EvaluationError(f"{self.name} {fault}: use some of {names}")

    def chosen(self, layers: Sequence[str]) -> tuple[Stage, ...]:
        """The stages of layers, which must be named once each, in the order in which an image passes them.

        Raises:
            EvaluationError: there is no such layer, or the order is another.
        """
        self._check_stages()
        stages = [self.stage(layer) for layer in layers]
        places = [self.stages.index(stage) for stage in stages]
        if not stages or places != sorted(set(places)):
            raise EvaluationError(f"layers {', '.join(layers)}: name each once, in rising order, such as layer1,layer2")
        return tuple(stages)

    def check_side(self, side: int) -> None:
        """Raises EvaluationError where the network takes no images of side x side pixels."""
        self._check_stages()
        _passed(self.name, side, features=False)

    def sized(self, side: int) -> dict[str, bool]:
        """timm's options for features of images of side x side pixels; raises as `check_side`."""
        self._check_stages()
        return dict(_passed(self.name, side, features=True)[0])

    def _check_stages(self) -> None:
        if not self.stages:
            raise EvaluationError(f"{self.name} is for efficient_ad and no other method: use another --model")

    def maps(self, side: int) -> dict[str, Shape]:
        """Channels, height and width of every stage's features of images of side x side pixels, by layer.

        Raises:
            EvaluationError: the network takes no images of that size, or its features are no such maps.
        """
        return _maps(self.name, side)

    def index(self, stage: Stage) -> int:
        """timm's number of a stage, for `out_indices`."""
        return self.stages.index(stage)

    def by_name(self, stages: Sequence[Stage]) -> list[str]:
        """What Anomalib's extractor takes for stages: the modules' names, or timm's numbers where names repeat.

        Numbers would do everywhere, but to look names up the extractor builds a network, and scores depend on the
        random numbers that this draws.
        """
        modules = [stage.module for stage in self.stages]
        unique = len(set(modules)) == len(modules)
        return cast("list[str]", [stage.module if unique else self.index(stage) for stage in stages])

    def build(self, side: int) -> nn.Module:
        """The whole network without its classifier, with fresh weights: images of that side in, [B, pooled] out."""
        return create(self.name, num_classes=0, **dict(_passed(self.name, side, features=False)[0]))

    def names(self, part: Iterable[str]) -> dict[str, str]:
        """The names of a features-only network's tensors to those of the whole one.

        timm writes `stages_0` for `stages.0` there and may put the network under `model` or `body`.

        Raises:
            EvaluationError: the part has a tensor that the network has not.
        """
        whole = {_plain(name): name for name in self.shapes}
        assert len(whole) == len(self.shapes), f"{self.name}: two tensors have one name but for dots"
        found = {}
        for name in part:
            plain = _plain(name)
            inner = plain.partition(".")[2] if plain.startswith(("model.", "body.")) else plain
            if (key := whole.get(plain) or whole.get(inner)) is None:
                raise EvaluationError(f"{self.name} has no tensor {name!r}")
            found[name] = key
        return found

    def after(self, stage: Stage) -> tuple[str, ...]:
        """Names of the tensors behind a stage, the classifier's left out, in the network's order."""
        names = [name for name in self.shapes if name not in self.head]
        prefix = stage.module
        while not any(name.startswith(f"{prefix}.") for name in names):  # an activation: its block's end
            prefix = prefix.rpartition(".")[0]
        last = max(n for n, name in enumerate(names) if name.startswith(f"{prefix}."))
        return tuple(names[last + 1 :])


@functools.lru_cache(maxsize=64)
def network(model: str) -> Network:
    """Describe one of timm's networks, or EfficientAD's teacher; no weights are made.

    Args:
        model: timm's name of an architecture, without a tag of weights; `timm/NAME` means the same;
            `FUSED` may end it. Or `TEACHER`.

    Raises:
        EvaluationError: timm has no such network, or it gives no features.
    """
    import timm
    import torch

    from fracgen.networks import TEACHER, patch_description

    if model == TEACHER:
        with torch.device("meta"):
            shapes = {k: tuple(v.shape) for k, v in patch_description().state_dict().items()}
        return Network(
            model, (), shapes, (), shapes["conv4.weight"][0], whole=frozenset(), size=256, first="conv1.weight",
            normalisation=IMAGENET,
        )  # fmt: skip
    name = model.removeprefix("timm/")
    if "." in name or not timm.is_model(name.removesuffix(FUSED)):
        near = difflib.get_close_matches(name.partition(".")[0], [*timm.list_models(), TEACHER], n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise EvaluationError(f"unknown model {model!r}: timm has no architecture of that name{hint}")
    with torch.device("meta"):
        whole, plain = create(name), create(name, num_classes=0)
    config = vars(whole)["pretrained_cfg"]
    channels, size = config["input_size"][0], config["input_size"][-1]
    if channels != 3:
        raise EvaluationError(f"model {name!r} takes images of {channels} channels, and these have 3: use another")
    pooled = plain.eval()(torch.empty(1, 3, size, size, device="meta")).shape
    if len(pooled) != 2:
        raise EvaluationError(f"model {name!r} has no pooled feature (it gives {list(pooled)}): use another")
    tensors = whole.state_dict()
    shapes = {k: tuple(v.shape) for k, v in tensors.items()}
    inner = plain.state_dict()
    convolutions = (k for k, p in whole.named_modules() if isinstance(p, torch.nn.Conv2d) and p.in_channels == 3)
    return Network(
        name, _stages(name), shapes, tuple(k for k in shapes if k not in inner), pooled[1],
        whole=frozenset(k for k, v in tensors.items() if not v.is_floating_point()), size=size,
        first=f"{next(convolutions, '')}.weight",
        normalisation=Normalisation(tuple(config["mean"]), tuple(config["std"])),
    )  # fmt: skip


def create(name: str, **options: Any) -> nn.Module:
    """timm's network, fused where its name says so, or EfficientAD's teacher; fresh weights, nothing is downloaded."""
    import timm.models  # whose function stays timm's own where another stands in for that of the package

    from fracgen.networks import TEACHER, patch_description

    if name == TEACHER:
        return patch_description()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made: nn.Module = timm.models.create_model(name.removesuffix(FUSED), pretrained=False, **options)
        return timm.models.reparameterize_model(made, inplace=True) if name.endswith(FUSED) else made


def turned(features: nn.Module, maps: Mapping[str, Shape], side: int) -> nn.Module:
    """timm's features-only network, so that it gives maps [B, C, H, W] and knows their true strides.

    Args:
        features: with some or all of a network's stages.
        maps: channels, height and width of all stages for images of side x side pixels, from `Network.maps`.
        side: of the images.
    """
    if _channels_last(features):
        features.register_forward_hook(lambda _, images, found: [feature.permute(0, 3, 1, 2) for feature in found])
        contiguous(features)
    info: FeatureInfo = vars(features)["feature_info"]
    for entry, (_, height, _) in zip(info.info, maps.values(), strict=True):
        entry["reduction"] = Fraction(side, height) if side % height else side // height
    return features


def contiguous(features: nn.Module) -> None:
    """Make a network give its features in the order in memory that some models need; a ConvNeXt's channels are last."""

    def in_order(_: nn.Module, images: tuple[Tensor, ...], found: object) -> object:
        return [feature.contiguous() for feature in found] if isinstance(found, list) else found

    features.register_forward_hook(in_order)


def _channels_last(features: nn.Module) -> bool:
    return str(getattr(features, "output_fmt", "")).endswith("NHWC")


def _stages(name: str) -> tuple[Stage, ...]:
    """All that timm knows; the last of each of the four strides is named after it, or the ends of the quarters."""
    import torch

    try:
        with torch.device("meta"):
            info = vars(create(name, features_only=True))["feature_info"].info
    except UNFIT as error:
        raise EvaluationError(
            f"model {name!r} gives no features by stage ({_reason(error)}): use a network with stages, such as a "
            "ResNet, EfficientNet, ConvNeXt, RegNet or MobileNet, or a plain transformer"
        ) from None
    return named_stages([(entry["module"], entry["num_chs"], entry["reduction"]) for entry in info])


def named_stages(info: Sequence[tuple[str, int, int]]) -> tuple[Stage, ...]:
    """Stages of modules, channels and strides, with their names."""
    modules, strides = [module for module, *_ in info], [stride for *_, stride in info]
    names = [m if modules.count(m) == 1 and m not in LAYERS else f"{m}:{n}" for n, m in enumerate(modules)]
    last = {stride: n for n, stride in enumerate(strides)}
    places = {layer: last[stride] for layer, stride in LAYERS.items() if stride in last}
    if len(last) == 1 and len(info) >= len(LAYERS):
        places = {layer: math.ceil(n * len(info) / len(LAYERS)) - 1 for n, layer in enumerate(LAYERS, 1)}
    for layer, place in places.items():
        names[place] = layer
    return tuple(Stage(name, *entry) for name, entry in zip(names, info, strict=True))


@functools.lru_cache(maxsize=64)
def _maps(name: str, side: int) -> dict[str, Shape]:
    stages, shapes = network(name).stages, _passed(name, side, features=True)[1]
    if any(len(s) != 4 or s[1] != stage.channels for s, stage in zip(shapes, stages, strict=True)):
        raise EvaluationError(
            f"{name} gives features of shape {list(shapes[0])}, not [1, channels, height, width]: use another --model"
        )
    return {stage.layer: (shape[1], shape[2], shape[3]) for stage, shape in zip(stages, shapes, strict=True)}


def _passed(name: str, side: int, *, features: bool) -> tuple[dict[str, bool], list[tuple[int, ...]]]:
    """With which options a network takes images of a side, and the shapes that it makes of one.

    Raises:
        EvaluationError: it takes none; the message has the nearest side that it does take.
    """
    found = _tried(name, side, features)
    if not isinstance(found, str):
        return found
    net = network(name)
    step = max(stage.stride for stage in net.stages)
    sides = (side // step * step, (side // step + 1) * step)
    near = next((n for n in sides if n and not isinstance(_tried(name, n, features), str)), net.size)
    raise EvaluationError(
        f"{name} takes no images of {side} x {side} px ({found}): set {near} px with --settings, or use another --model"
    )


@functools.lru_cache(maxsize=256)
def _tried(name: str, side: int, features: bool) -> tuple[dict[str, bool], list[tuple[int, ...]]] | str:
    """Options and shapes, or why there are none."""
    import torch

    kind: dict[str, object] = {"num_classes": 0}
    if features:
        kind = {"features_only": True, "out_indices": tuple(range(len(network(name).stages)))}
    reasons = []
    for options in ({}, {"dynamic_img_size": True}):
        try:
            with torch.device("meta"):
                made = create(name, **kind, **options).eval()
                found = made(torch.empty(1, 3, side, side))
        except UNFIT as error:
            reasons.append(_reason(error))
        else:
            last = features and _channels_last(made)  # the pooled feature has no channels to turn
            parts = found if features else [found]
            return options, [tuple((part.permute(0, 3, 1, 2) if last else part).shape) for part in parts]
    return reasons[0]


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _plain(name: str) -> str:
    return name.replace("_", ".")
