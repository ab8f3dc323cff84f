"""Reading a weights file: safetensors or a torch state dict, in whatever wrapping people keep them.

Keys are timm's, which are torchvision's for ResNets. Lightning puts them under `state_dict` with a
prefix such as `model.`, DataParallel prefixes `module.`, torch.compile `_orig_mod.`; all are undone.
Nothing is unpickled but tensors and plain containers.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.network import Network

WRAPPERS = ("state_dict", "model_state_dict", "model")
ANCHORS = 3
"""So many weights from the front of a network say what stands before all of its keys."""


def read_weights_file(path: Path, network: Network) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors with timm's keys, and what the file says about itself.

    Args:
        path: safetensors, or what `torch.save` wrote.
        network: whose tensors they should be.

    Returns:
        State dict, and metadata: safetensors' header and, where there is one, `config.json` beside the file.

    Raises:
        EvaluationError: the file is missing, of another kind, damaged, or no network's that begins alike.
    """
    check_there(path)
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    else:
        tensors, metadata = read_tensors(path), {}
    about = metadata | _config_beside(path)
    return _unprefixed(tensors, path, network, about), about


def check_there(path: Path) -> None:
    """Raises EvaluationError where there is no file of that name."""
    if not path.is_file():
        raise EvaluationError(f"{path}: no such weights file; give --weights name=FILE")


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise EvaluationError(f"{path}: not a whole safetensors file ({error}): copy it again") from None


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file of `torch.save`, with its own keys. Raises EvaluationError where it holds other things."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise EvaluationError(
            f"{path}: cannot be read as plain tensors ({reason}): save the network's state_dict() with safetensors"
        ) from None
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict):
        raise EvaluationError(f"{path}: holds a {type(content).__name__}, not a state dict: save model.state_dict()")
    return {str(k): v for k, v in content.items() if isinstance(v, torch.Tensor)}


def _unprefixed(tensors: dict[str, Any], path: Path, network: Network, about: dict[str, Any]) -> dict[str, Any]:
    first, *more = [key for key in network.shapes if key.endswith("weight")][:ANCHORS]
    prefixes = [k[: -len(first)] for k in tensors if k == first or k.endswith("." + first)]
    prefixes = [p for p in prefixes if all(p + key in tensors for key in more)]
    if len(prefixes) != 1:
        if not prefixes and about.get("library") == "torchvision":
            raise EvaluationError(
                f"{path}: torchvision's {network.name} names its tensors otherwise than timm's, which the methods use: "
                f"pre-train timm/{network.name}"
            )
        found = f"{len(prefixes)} networks ({', '.join(prefixes)})" if prefixes else "none"
        raise EvaluationError(
            f"{path}: expected the tensors of one {network.name}, found {found} among {len(tensors)} tensors: "
            "save the one backbone's state dict, or give its --model"
        )
    prefix = prefixes[0]
    # Keys from outside the network keep their full name, so that the strict comparison can name them.
    return {k.removeprefix(prefix): v for k, v in tensors.items()}


def _config_beside(path: Path) -> dict[str, Any]:
    beside = path.with_name("config.json")
    if path.suffix != ".safetensors" or not beside.is_file():
        return {}
    try:
        config = json.loads(beside.read_text())
    except ValueError as error:
        raise EvaluationError(f"{beside}: not JSON ({error}): restore it or take it away") from None
    if not isinstance(config, dict):
        raise EvaluationError(f"{beside}: holds a {type(config).__name__}: restore it or take it away")
    nested = config.get("pretrained_cfg")
    found = config | (nested if isinstance(nested, dict) else {})
    return found | _pretraining(config.get("fracgen"))


def _pretraining(about: Any) -> dict[str, Any]:
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
