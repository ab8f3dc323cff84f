"""The tensors of a weights file by timm's names, in whatever wrapping people keep them.

Keys are timm's, which are torchvision's for ResNets. Lightning puts them under a prefix such as `model.`, DataParallel
prefixes `module.`, torch.compile `_orig_mod.`; all are undone. What can be read at all, `fracgen.weights` says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.support.decode import brief
from fracgen.weights import WeightsFile, listed, read_weights, weights_path
from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.network import FUSED, Network, network

if TYPE_CHECKING:
    from torch import Tensor

ANCHORS = 3
"""So many weights from the front of a network say what stands before all of its keys."""


def read_weights_file(path: Path, net: Network) -> tuple[dict[str, Tensor], dict[str, object], Network]:
    """Tensors with timm's keys, what the file says about itself, and whose tensors they are.

    Args:
        path: see `fracgen.weights.read_weights`.
        net: whose tensors they should be, fused or not.

    Returns:
        State dict; metadata, which are safetensors' header, `config.json` beside the file, and as `part` the key of a
        checkpoint under which the tensors lay; and the network, the fused one where the file has its tensors.

    Raises:
        EvaluationError: the file is missing, of another kind, damaged, of another network, or no network's that begins
            alike.
    """
    file = read_file(path)
    try:
        file.check_architecture(net.name)
    except ValueError as error:
        raise EvaluationError(str(error)) from None
    about = file.header | file.config | _pretraining(file.config.get("fracgen"))
    if not _prefixes(file.tensors, net) and _prefixes(file.tensors, fused := network(net.name + FUSED)):
        net = fused
    return _unprefixed(file.tensors, path, net, about), about | ({"part": file.part} if file.part else {}), net


def read_file(path: Path, **options: str) -> WeightsFile:
    """`fracgen.weights.read_weights`, of which whatever goes wrong is an EvaluationError."""
    try:
        return read_weights(path, **options)
    except (ValueError, OSError) as error:
        raise EvaluationError(_line(error, path)) from None


def check_there(path: Path) -> None:
    """Raises EvaluationError where there is no file of that name, or one that cannot hold weights."""
    try:
        weights_path(path)
    except (ValueError, OSError) as error:
        raise EvaluationError(_line(error, path)) from None


def _line(error: Exception, path: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{error}; give --weights name=FILE"
    return f"{path}: {error.strerror}" if isinstance(error, OSError) and error.strerror else str(error)


def _prefixes(tensors: dict[str, Tensor], net: Network) -> list[str]:
    """What stands before the keys of a network's first weights, wherever all of them are."""
    first, *more = [key for key in net.shapes if key.endswith("weight")][:ANCHORS]
    prefixes = [k[: -len(first)] for k in tensors if k == first or k.endswith("." + first)]
    return [p for p in prefixes if all(p + key in tensors for key in more)]


def _unprefixed(
    tensors: dict[str, Tensor], path: Path, net: Network, about: dict[str, object]
) -> dict[str, Tensor]:
    prefixes = _prefixes(tensors, net)
    if len(prefixes) != 1:
        if not prefixes and about.get("library") == "torchvision":
            raise EvaluationError(
                f"{path}: torchvision's {net.name} names its tensors otherwise than timm's, which the methods use: "
                f"pre-train timm/{net.name}"
            )
        found = f"{len(prefixes)} networks ({listed([brief(p) for p in prefixes])})" if prefixes else "none"
        raise EvaluationError(
            f"{path}: expected the tensors of one {net.name}, found {found} among {len(tensors)} tensors: "
            "save the one backbone's state dict, or give its --model"
        )
    prefix = prefixes[0]
    # Keys from outside the network keep their full name, so that the strict comparison can name them.
    inside = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    outside = {k: v for k, v in tensors.items() if not k.startswith(prefix)}
    if twice := next((k for k in outside if k in inside), None):
        raise EvaluationError(
            f"{path}: holds {brief(prefix + twice)} and {brief(twice)}: save the one backbone's state dict"
        )
    return inside | outside


def _pretraining(about: object) -> dict[str, object]:
    """What `fracgen export` says of the pre-training, under the names of a safetensors header."""
    if not isinstance(about, dict):
        return {}
    library = {"library": about["library"]} if isinstance(about.get("library"), str) else {}
    config = about.get("config")
    if not isinstance(config, dict):
        return library
    names = {"recipe": "recipe", "bank_spec": "bank", "bank_seed": "bank_seed"}
    return library | {
        name: value if isinstance(value := config[key], (str, int)) else json.dumps(value)
        for name, key in names.items()
        if key in config
    }
