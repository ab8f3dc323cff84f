"""Backbone weights by name, loaded strictly into whatever network a method builds.

`fractal` is what comes with fracgen, the newest, and `fractal.TAG` what a tag names. `imagenet` is what
`weights.imagenet` finds on this machine, `imagenet-v2` torchvision's second checkpoint of a ResNet. `random` is a fresh
initialisation, drawn with a fixed seed. `name=FILE` is any file `weights.files` reads. A tensor that is missing, extra
or of another shape is an error before anything runs: there is no partly random backbone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fracgen.support.decode import decode, parse_json
from fracgen.training.built_in import is_fractal, tag_of, weights_file
from fracgen.weights import differences
from fracgen_eval.errors import EvaluationError, one_of
from fracgen_eval.weights.files import check_there, read_weights_file
from fracgen_eval.weights.imagenet import imagenet_weights
from fracgen_eval.weights.network import IMAGENET, TORCHVISION, Network, Normalisation, Triple, create, network

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST_STD = 0.001
"""Of pixels from 0 to 1: less than a third of a step of eight bits."""
NAMED = ("fractal", "imagenet", "imagenet-v2", "random")
InputNorm = Literal["checkpoint", "imagenet"]


@dataclass(frozen=True)
class WeightsSpec:
    """Weights as asked for on the command line."""

    name: str
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> WeightsSpec:
        """`fractal`, `fractal.TAG`, `imagenet`, `imagenet-v2`, `random`, `random-N` or `name=FILE`.

        Raises:
            EvaluationError: it is anything else, or the file is not there or cannot hold weights.

        >>> WeightsSpec.parse("random-2").random_seed
        2
        """
        name, equals, path = text.partition("=")
        if not equals:
            if name in NAMED or is_fractal(name) or random_seed(name) is not None:
                return cls(name)
            raise EvaluationError(f"unknown weights {text!r}: use {', '.join(NAMED)}, fractal.TAG or name=FILE")
        if random_seed(name):
            raise EvaluationError(f"bad weights {text!r}: {name} is a random network, give the file another name")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or not path:
            raise EvaluationError(f"bad weights {text!r}: write name=FILE, the name of letters, digits, '.', '_', '-'")
        check_there(Path(path))
        return cls(name, Path(path))

    @property
    def random_seed(self) -> int | None:
        """The seed of a random network; None for weights of a file."""
        return None if self.path is not None else random_seed(self.name)


def random_seed(name: str) -> int | None:
    """The seed of the random network of a name: 0 of `random`, N of `random-N`; None for any other."""
    found = re.fullmatch(r"random(-[1-9]\d{0,3})?", name)
    return None if found is None else int((found[1] or "-0")[1:])


@dataclass(frozen=True)
class Weights:
    """A backbone's tensors, on the CPU, with timm's keys."""

    name: str
    model: str
    tensors: dict[str, Tensor]
    """The backbone, without its classifier."""
    head: dict[str, Tensor] | None
    """The classifier's tensors by timm's names, where the file has them: any number of classes."""
    _: KW_ONLY
    normalisation: Normalisation
    """Of the input, as it is in use."""
    norm: str
    """Where the normalisation comes from: `file`; `network`, timm's for this architecture; or `imagenet`."""
    source: str
    """What exactly they are: a torchvision tag, a seed, a file's name, and the key under which they lay in it."""
    tag: str | None = None
    """Of the package's."""
    licence: str | None = None
    """As the source states it."""
    path: Path | None = None
    """The file, where there is one."""
    metadata: dict[str, str | int | float] = field(default_factory=dict)
    """What the file says about itself: recipe, bank and the like."""

    @property
    def network(self) -> Network:
        """What these are the weights of."""
        return network(self.model)

    @cached_property
    def digest(self) -> str:
        """First 16 hex digits of a SHA-256 over names, shapes and bytes of the backbone's tensors."""
        return digest_of(self.tensors)

    def describe(self) -> dict[str, object]:
        """What a result records about the weights."""
        return {
            "name": self.name, "source": self.source, "model": self.model, "tag": self.tag, "digest": self.digest,
            "mean": list(self.normalisation.mean), "std": list(self.normalisation.std), "norm": self.norm,
            "licence": self.licence, "metadata": self.metadata,
        }  # fmt: skip

    def sentence(self) -> str:
        """What the weights are, for people: name, file, source, licence, normalisation."""
        parts = [f"{self.name} is {self.source}"]
        parts += [str(self.path)] if self.path else []
        parts += [f"licence {self.licence}"] if self.licence else []
        numbers = " and ".join(_short(values) for values in (self.normalisation.mean, self.normalisation.std))
        return f"{', '.join(parts)}; mean and deviation of its input: {numbers} ({self.norm})"


def digest_of(tensors: dict[str, Tensor]) -> str:
    """First 16 hex digits of a SHA-256 over the names, shapes and bytes of tensors."""
    import torch

    hashed = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        hashed.update(f"{key}{list(tensor.shape)}{tensor.dtype}".encode())
        hashed.update(tensor.flatten().view(torch.uint8).numpy().tobytes())  # NumPy knows no bfloat16 or float8
    return hashed.hexdigest()[:16]


def load_weights(spec: WeightsSpec, model: str, input_norm: InputNorm = "checkpoint") -> Weights:
    """Load weights for a model.

    Args:
        spec: which.
        model: timm's name of an architecture, such as `resnet18` or `tf_efficientnet_lite0`.
        input_norm: `checkpoint` normalises as the file says, or as timm's weights of the architecture where it says
            nothing; `imagenet` always with ImageNet's usual numbers, as the paper did.

    Raises:
        EvaluationError: the model or the file is unknown, or its tensors are not exactly the model's.
    """
    one_of(input_norm, ("checkpoint", "imagenet"), "input norm")
    net = network(model)
    metadata: dict[str, object] = {}
    path, licence, tag = spec.path, None, None
    if path is None and is_fractal(spec.name):
        path = _built_in(net.name + spec.name.removeprefix("fractal"))
    if path is not None:
        tag = tag_of(path)
        tensors, metadata, net = read_weights_file(path, net)
        tensors, part = _matched(tensors, net, str(path)), metadata.get("part")
        source = f"fracgen's {net.name}.{tag}" if tag else f"{part} of {path.name}" if part else path.name
    elif spec.random_seed is not None:
        tensors, source = _random_tensors(net, spec.random_seed)
    else:
        found = imagenet_weights(net, spec.name)
        path, source, licence = found.path, found.source, found.licence
        tensors = _matched(found.tensors, net, str(path))
    normalisation, norm = _normalisation(metadata, path if metadata else spec.path, net, input_norm)
    head = {k: tensors[k] for k in net.head if k in tensors}
    backbone = {k: v for k, v in tensors.items() if k not in head}
    return Weights(
        spec.name, net.name, backbone, head or None, normalisation=normalisation, norm=norm, source=source,
        tag=tag, licence=licence, path=path,
        metadata={k: v for k, v in metadata.items() if isinstance(v, (str, int, float))},
    )  # fmt: skip


def _built_in(name: str) -> Path:
    try:
        return weights_file(name)
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def load_backbone(part: nn.Module, weights: Weights) -> None:
    """Fill a network, or some layers of one, with the weights of the same names, bit by bit; a classifier stays.

    Raises:
        EvaluationError: the network has a tensor that the weights have not.
    """
    fresh = part.state_dict()
    names = weights.network.names(key for key in fresh if key not in weights.network.head)
    if missing := sorted(set(names.values()) - set(weights.tensors)):
        raise EvaluationError(f"{weights.name} has no tensor {missing[0]!r} for {type(part).__name__}")
    part.load_state_dict(fresh | {k: weights.tensors[name] for k, name in names.items()}, strict=True)


def build_backbone(weights: Weights, side: int | None = None) -> nn.Module:
    """timm's network with these weights and no classifier, in eval mode: images in, [B, pooled] out.

    Args:
        weights: all of them are used.
        side: of the images, in pixels; as the network was made for where None.

    Raises:
        EvaluationError: the network takes no images of that side.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        built = weights.network.build(side or weights.network.size)
    load_backbone(built, weights)
    return built.eval()


def _random_tensors(net: Network, seed: int) -> tuple[dict[str, Tensor], str]:
    """A fresh backbone; torchvision's way of drawing where the network is one of its own."""
    import torch
    from torchvision.models import get_model

    library = "torchvision" if net.name in TORCHVISION else "timm"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = get_model(net.name, weights=None) if library == "torchvision" else create(net.name)
    tensors = {k: v for k, v in fresh.state_dict().items() if k not in net.head}
    return tensors, f"{library}'s initialisation, seed {seed}"


def _matched(tensors: dict[str, Tensor], net: Network, path: str) -> dict[str, Tensor]:
    """The tensors, if they are exactly the network's; a classifier may be missing or of any width."""
    import torch

    head = [name for name in net.head if name in tensors]
    shapes = {name: shape for name, shape in net.shapes.items() if head or name not in net.head}
    if head:
        outputs, classes = net.shapes[head[-1]][:1], tuple(tensors[head[-1]].shape[:1])
        shapes |= {name: classes + shapes[name][1:] for name in net.head if shapes[name][:1] == outputs}
    if found := differences(tensors, shapes, net.whole):
        model = net.name
        raise EvaluationError(f"{path}: not the tensors of a {model}: {found}. Give the file of a {model}, or --model")
    blank = {name: torch.zeros((), dtype=torch.int64) for name in shapes if name not in tensors}
    return {name: (tensors | blank)[name] for name in shapes}


def _short(values: Triple) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else " ".join(f"{v:g}" for v in values)


def _normalisation(
    metadata: dict[str, object], path: Path | None, net: Network, input_norm: InputNorm
) -> tuple[Normalisation, str]:
    """The normalisation, and where it comes from."""
    if input_norm == "imagenet":
        return IMAGENET, "imagenet"
    if "mean" in metadata and "std" in metadata:
        return _stated(metadata, path), "file"
    return net.normalisation, "imagenet" if net.normalisation == IMAGENET else "network"


def _stated(metadata: dict[str, object], path: Path | None) -> Normalisation:
    found: list[Triple] = []
    for key in ("mean", "std"):
        value = metadata[key]
        try:
            numbers = parse_json(value) if isinstance(value, str) else value
            first, second, third = decode(tuple[float, float, float], numbers, key)
        except ValueError as error:
            raise EvaluationError(f"{path}: {error}: correct it, or use --input-norm imagenet") from None
        found.append((first, second, third))
    mean, std = found
    if not (min(mean) >= 0 and max(mean) <= 1 and min(std) >= LEAST_STD and max(std) <= 1):
        raise EvaluationError(
            f"{path}: mean {list(mean)} and std {list(std)} are not those of pixels from 0 to 1 (std from {LEAST_STD} "
            "to 1): divide those of 0 to 255 by 255, or use --input-norm imagenet"
        )
    return Normalisation(*found)
