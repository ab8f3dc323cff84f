"""Backbone weights by name, loaded strictly into whatever network a method builds.

`imagenet` is torchvision's IMAGENET1K_V1 checkpoint, `imagenet-v2` its second one; both are taken
from torch's local cache and never downloaded. `random` is torchvision's own initialisation, drawn
with a fixed seed. `name=FILE` is any file `weights.files` reads. A tensor that is missing, extra or
of another shape is an error before anything runs: there is no partly random backbone.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fracgen_eval.errors import EvaluationError, one_of
from fracgen_eval.weights.files import read_weights_file

MODELS = ("resnet18", "resnet50", "wide_resnet50_2")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RANDOM_SEED = 0
InputNorm = Literal["checkpoint", "imagenet"]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class WeightsSpec:
    """Weights as asked for on the command line."""

    name: str
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> WeightsSpec:
        """`imagenet`, `imagenet-v2`, `random` or `name=FILE`. Raises EvaluationError for anything else."""
        name, equals, path = text.partition("=")
        if not equals:
            if name in ("imagenet", "imagenet-v2", "random"):
                return cls(name)
            raise EvaluationError(f"unknown weights {text!r}: use imagenet, imagenet-v2, random or name=FILE")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or not path:
            raise EvaluationError(f"bad weights {text!r}: write name=FILE, the name of letters, digits, '.', '_', '-'")
        return cls(name, Path(path))


@dataclass(frozen=True)
class Weights:
    """A backbone's tensors, on the CPU, with torchvision's keys."""

    name: str
    model: str
    source: str
    """What exactly they are: a torchvision tag, a seed, a file's name."""
    tensors: dict[str, Any]
    """The backbone, without its classifier."""
    head: dict[str, Any] | None
    """`fc.weight` [C, D] and `fc.bias` [C], where the file has them."""
    mean: Triple
    std: Triple
    """Input normalisation in use: (x / 255 - mean) / std per channel."""
    norm: str
    """Where the normalisation comes from: `file`, or `imagenet`."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What the file says about itself: recipe, bank and the like."""

    @property
    def digest(self) -> str:
        """First 16 hex digits of a SHA-256 over names, shapes and bytes of the backbone's tensors."""
        return digest_of(self.tensors)

    def describe(self) -> dict[str, Any]:
        """What a result records about the weights."""
        return {
            "name": self.name, "source": self.source, "model": self.model, "digest": self.digest,
            "mean": list(self.mean), "std": list(self.std), "norm": self.norm, "metadata": self.metadata,
        }  # fmt: skip


def digest_of(tensors: dict[str, Any]) -> str:
    """First 16 hex digits of a SHA-256 over the names, shapes and bytes of tensors."""
    hashed = hashlib.sha256()
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        hashed.update(f"{key}{list(tensor.shape)}{tensor.dtype}".encode())
        hashed.update(tensor.numpy().tobytes())
    return hashed.hexdigest()[:16]


def load_weights(spec: WeightsSpec, model: str, input_norm: InputNorm = "checkpoint") -> Weights:
    """Load weights for a model.

    Args:
        spec: which.
        model: `resnet18`, `resnet50` or `wide_resnet50_2`.
        input_norm: `checkpoint` normalises as the file says (ImageNet's way where it says nothing),
            `imagenet` always in ImageNet's way, as the paper did.

    Raises:
        EvaluationError: the model or the file is unknown, or its tensors are not exactly the model's.
    """
    one_of(model, MODELS, "model")
    one_of(input_norm, ("checkpoint", "imagenet"), "input norm")
    metadata: dict[str, Any] = {}
    if spec.path is not None:
        tensors, metadata = read_weights_file(spec.path)
        tensors, source = _matched(tensors, model, str(spec.path)), spec.path.name
    elif spec.name == "random":
        tensors, source = _random_tensors(model), f"torchvision's initialisation, seed {RANDOM_SEED}"
    else:
        path, source = _imagenet_file(model, spec.name)
        tensors = _matched(read_weights_file(path)[0], model, str(path))
    said = _normalisation(metadata, spec.path) if input_norm == "checkpoint" else None
    mean, std = said or (IMAGENET_MEAN, IMAGENET_STD)
    head: dict[str, Any] = {k: tensors[k] for k in ("fc.weight", "fc.bias") if k in tensors}
    backbone = {k: v for k, v in tensors.items() if k not in head}
    return Weights(
        spec.name, model, source, backbone, head or None, mean, std, "file" if said else "imagenet",
        {k: v for k, v in metadata.items() if isinstance(v, (str, int, float))},
    )  # fmt: skip


def load_backbone(network: Any, weights: Weights) -> None:
    """Fill a network, or the first layers of one, with the weights of the same names, bit by bit.

    Raises:
        EvaluationError: the network has a tensor that the weights have not.
    """
    wanted = network.state_dict()
    if missing := sorted(set(wanted) - set(weights.tensors)):
        raise EvaluationError(f"{weights.name} has no tensor {missing[0]!r} for {type(network).__name__}")
    network.load_state_dict({k: weights.tensors[k] for k in wanted}, strict=True)


def build_backbone(weights: Weights) -> Any:
    """torchvision's network with these weights and no classifier (`fc` is the identity), in eval mode."""
    import torch
    from torchvision.models import get_model

    with torch.random.fork_rng(devices=[]):
        network = get_model(weights.model, weights=None)
    network.fc = torch.nn.Identity()
    load_backbone(network, weights)
    return network.eval()


def _random_tensors(model: str) -> dict[str, Any]:
    import torch
    from torchvision.models import get_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        tensors = get_model(model, weights=None).state_dict()
    return {k: v for k, v in tensors.items() if not k.startswith("fc.")}


def _matched(tensors: dict[str, Any], model: str, path: str) -> dict[str, Any]:
    """The tensors, if they are exactly the model's; a classifier may be missing or of any width."""
    import torch
    from torchvision.models import get_model

    with torch.device("meta"):
        want = {k: tuple(v.shape) for k, v in get_model(model, weights=None).state_dict().items()}
    have = {k: tuple(v.shape) for k, v in tensors.items()}
    # Checkpoints older than batch counters lack them; nothing that is evaluated depends on them.
    counters = {k for k in want if k.endswith("num_batches_tracked") and k not in have}
    optional = {"fc.weight", "fc.bias"}
    missing = sorted(set(want) - set(have) - counters - optional)
    extra = sorted(set(have) - set(want))
    shapes = [
        f"{k} is {list(have[k])} instead of {list(want[k])}"
        for k in want
        if k in have and have[k] != want[k] and k not in optional
    ]
    if ("fc.weight" in have) != ("fc.bias" in have):
        missing += sorted(optional - set(have))
    if "fc.weight" in have and "fc.bias" in have and have["fc.weight"] != (*have["fc.bias"], want["fc.weight"][1]):
        shapes.append(f"fc.weight is {list(have['fc.weight'])}")
    faults = [(missing, "missing"), (extra, "extra"), (shapes, "wrongly shaped")]
    if any(names for names, _ in faults):
        text = "; ".join(f"{len(names)} {what}: {_listed(names)}" for names, what in faults if names)
        raise EvaluationError(f"{path}: not the tensors of a {model}: {text}. Give the file of a {model}, or --model")
    blank = {k: torch.zeros((), dtype=torch.int64) for k in counters}
    return {k: (tensors | blank)[k] for k in want if k in tensors or k in blank}


def _listed(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _imagenet_file(model: str, name: str) -> tuple[Path, str]:
    import torch
    from torchvision.models import get_model_weights

    tag = "IMAGENET1K_V2" if name == "imagenet-v2" else "IMAGENET1K_V1"
    tags = get_model_weights(model).__members__
    if tag not in tags:
        raise EvaluationError(f"torchvision has no {tag} weights for {model}: use --weights imagenet, or name=FILE")
    path = Path(torch.hub.get_dir()) / "checkpoints" / tags[tag].url.rsplit("/", 1)[1]
    if not path.is_file():
        raise EvaluationError(
            f"{path}: torchvision's {model} {tag} is not in torch's cache, and nothing is downloaded here; run "
            f"python -c \"import torchvision; torchvision.models.{model}(weights='{tag}')\" where there is a network"
        )
    wanted = path.stem.rsplit("-", 1)[1]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(wanted):
        raise EvaluationError(f"{path}: its SHA-256 begins with {found[:8]} instead of {wanted}: fetch it again")
    return path, f"torchvision {model} {tag}"


def _normalisation(metadata: dict[str, Any], path: Path | None) -> tuple[Triple, Triple] | None:
    if "mean" not in metadata or "std" not in metadata:
        return None
    found = []
    for key in ("mean", "std"):
        value = metadata[key]
        try:
            numbers = json.loads(value) if isinstance(value, str) else value
            first, second, third = (float(n) for n in numbers)
        except (ValueError, TypeError):
            raise EvaluationError(f"{path}: {key} {value!r} is not three numbers: use --input-norm imagenet") from None
        found.append((first, second, third))
    if min(found[1]) <= 0:
        raise EvaluationError(f"{path}: its std {found[1]} is not positive: use --input-norm imagenet")
    return found[0], found[1]
