"""What a network looks like to the methods: its stages, its pooled feature, its tensors.

Every question about an architecture is answered here, from timm's `feature_info`, so that a method
never needs to know which network it has. A stage is called after its stride, as ResNets call theirs:
`layer1` is the last stage of stride 4, `layer2` of stride 8, `layer3` of 16 and `layer4` of 32. timm's
own module names, such as `blocks.2`, mean the same stages, where one module is one stage: that of a CoaT's
`parallel_blocks` gives three, which timm tells apart by their number.
"""

from __future__ import annotations

import difflib
import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

from fracgen_eval.errors import EvaluationError

if TYPE_CHECKING:
    import torch

LAYERS = {"layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}
"""Layers by the stride of their features, in pixels."""
TORCHVISION = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "wide_resnet50_2", "wide_resnet101_2",
)  # fmt: skip
"""Networks that are torchvision's under the same names, with the same tensors and the same features to the last bit."""
Triple = tuple[float, float, float]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Normalisation:
    """What weights expect of their input: (x / 255 - mean) / std per channel."""

    mean: Triple
    std: Triple


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

    @property
    def linear_head(self) -> tuple[str, str] | None:
        """Names of weight [C, pooled] and bias [C], where the classifier is one linear layer."""
        found = {name.rsplit(".", 1)[-1]: name for name in self.head}
        plain = set(found) == {"weight", "bias"} and len(self.head) == 2
        return (found["weight"], found["bias"]) if plain and len(self.shapes[found["weight"]]) == 2 else None

    def stage(self, layer: str) -> Stage:
        """The stage of that name, here or else in timm. Raises EvaluationError with the names there are."""
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
        stages = [self.stage(layer) for layer in layers]
        places = [self.stages.index(stage) for stage in stages]
        if not stages or places != sorted(set(places)):
            raise EvaluationError(
                f"layers {', '.join(layers)}: name each once, in rising order, such as layer1,layer2"
            )
        return tuple(stages)

    def check_side(self, side: int) -> None:
        """Raises EvaluationError where the network takes no images of side x side pixels."""
        _check_side(self.name, side)

    def maps(self, side: int) -> dict[str, Shape]:
        """Channels, height and width of every stage's features of images of side x side pixels, by layer.

        Raises:
            EvaluationError: the network takes no images of that size, or its features are no such maps.
        """
        return _maps(self.name, side)

    def index(self, stage: Stage) -> int:
        """timm's number of a stage, for `out_indices`."""
        return self.stages.index(stage)

    def by_name(self, stages: Sequence[Stage]) -> list[Any]:
        """What Anomalib's extractor takes for stages: the modules' names, or timm's numbers where names repeat.

        Numbers would do everywhere, but to look names up the extractor builds a network, and scores depend on the
        random numbers that this draws.
        """
        modules = [stage.module for stage in self.stages]
        unique = len(set(modules)) == len(modules)
        return [stage.module if unique else self.index(stage) for stage in stages]

    @property
    def cost(self) -> float:
        """Multiplications a pixel of the image, for all of the network."""
        return _cost(self.name)

    def build(self) -> Any:
        """The whole network without its classifier, with fresh weights: images in, [B, pooled] out."""
        return create(self.name, num_classes=0)

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
    """Describe one of timm's networks; no weights are made.

    Args:
        model: timm's name of an architecture, without a tag of weights; `timm/NAME` means the same.

    Raises:
        EvaluationError: timm has no such network, or it gives no features.
    """
    import timm
    import torch

    name = model.removeprefix("timm/")
    if "." in name or not timm.is_model(name):
        near = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise EvaluationError(f"unknown model {model!r}: timm has no architecture of that name{hint}")
    with torch.device("meta"):
        whole = create(name)
        plain = create(name, num_classes=0)
        info = _feature_info(name)
    config: dict[str, Any] = whole.pretrained_cfg
    tensors = whole.state_dict()
    shapes = {k: tuple(v.shape) for k, v in tensors.items()}
    inner = plain.state_dict()
    convolutions = (k for k, p in whole.named_modules() if isinstance(p, torch.nn.Conv2d) and p.in_channels == 3)
    return Network(
        name, _stages(info), shapes, tuple(k for k in shapes if k not in inner), _pooled(plain, name, config),
        whole=frozenset(k for k, v in tensors.items() if not v.is_floating_point()),
        size=config["input_size"][-1], first=f"{next(convolutions, '')}.weight",
        normalisation=Normalisation(tuple(config["mean"]), tuple(config["std"])),
    )  # fmt: skip


def create(name: str, **options: Any) -> Any:
    """timm's network with fresh weights; nothing is ever downloaded."""
    import timm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return timm.create_model(name, pretrained=False, **options)


def _feature_info(name: str) -> list[dict[str, Any]]:
    try:
        info: list[dict[str, Any]] = create(name, features_only=True).feature_info.get_dicts()
    except (RuntimeError, NotImplementedError, TypeError, AttributeError, AssertionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise EvaluationError(
            f"model {name!r} gives no features by stage ({reason}): use a network with stages, such as a ResNet, "
            "EfficientNet, ConvNeXt, RegNet or MobileNet"
        ) from None
    return info


def _stages(info: list[dict[str, Any]]) -> tuple[Stage, ...]:
    """The last stage of each of the four strides is named after it."""
    modules = [entry["module"] for entry in info]
    names = [m if modules.count(m) == 1 and m not in LAYERS else f"{m}:{n}" for n, m in enumerate(modules)]
    last = {entry["reduction"]: n for n, entry in enumerate(info)}
    for layer, stride in LAYERS.items():
        if stride in last:
            names[last[stride]] = layer
    return tuple(
        Stage(name, e["module"], e["num_chs"], e["reduction"]) for name, e in zip(names, info, strict=True)
    )


def _pooled(plain: torch.nn.Module, name: str, config: dict[str, Any]) -> int:
    import torch

    channels, side = config["input_size"][0], config["input_size"][-1]
    if channels != 3:
        raise EvaluationError(f"model {name!r} takes images of {channels} channels, and these have 3: use another")
    shape = plain.eval()(torch.empty(1, 3, side, side, device="meta")).shape
    if len(shape) != 2:
        raise EvaluationError(f"model {name!r} has no pooled feature (it gives {list(shape)}): use another")
    return int(shape[1])


@functools.lru_cache(maxsize=64)
def _maps(name: str, side: int) -> dict[str, Shape]:
    stages = network(name).stages
    shapes = [tuple(part.shape) for part in _through(name, side, features_only=True)]
    if any(len(s) != 4 or s[1] != stage.channels for s, stage in zip(shapes, stages, strict=True)):
        raise EvaluationError(
            f"{name} gives features of shape {list(shapes[0])}, not [1, channels, height, width]: use another --model"
        )
    return {stage.layer: (shape[1], shape[2], shape[3]) for stage, shape in zip(stages, shapes, strict=True)}


@functools.lru_cache(maxsize=64)
def _cost(name: str) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    size = network(name).size
    with FlopCounterMode(display=False) as counter:
        _through(name, size, num_classes=0)
    return float(counter.get_total_flops() / 2 / size**2)


@functools.lru_cache(maxsize=64)
def _check_side(name: str, side: int) -> None:
    _through(name, side, num_classes=0)


def _through(name: str, side: int, **options: Any) -> Any:
    """What a network makes of an image, in shapes only."""
    import torch

    try:
        with torch.device("meta"):
            return create(name, **options).eval()(torch.empty(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise EvaluationError(
            f"{name} takes no images of {side} x {side} px ({reason}): set another size with --settings, or use "
            "another --model"
        ) from None


def _plain(name: str) -> str:
    return name.replace("_", ".")
