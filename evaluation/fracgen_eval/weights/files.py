"""Reading a weights file: safetensors or a torch state dict, in whatever wrapping people keep them.

torchvision's and timm's keys of these networks are the same. Lightning puts them under
`state_dict` with a prefix such as `model.`, DataParallel prefixes `module.`, torch.compile
`_orig_mod.`; all are undone. Nothing is unpickled but tensors and plain containers.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from fracgen_eval.errors import EvaluationError

WRAPPERS = ("state_dict", "model_state_dict", "model")
ANCHOR = "conv1.weight"
"""A key every ResNet has exactly once: what stands before it is the prefix."""


def read_weights_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors with torchvision's keys, and what the file says about itself.

    Returns:
        State dict, and metadata: safetensors' header and, where there is one, `config.json` beside the file.

    Raises:
        EvaluationError: the file is missing, of another kind, damaged, or no ResNet's.
    """
    if not path.is_file():
        raise EvaluationError(f"{path}: no such weights file; give --weights name=FILE")
    if path.suffix == ".safetensors":
        tensors, metadata = _read_safetensors(path)
    else:
        tensors, metadata = _read_pickle(path), {}
    return _unprefixed(tensors, path), metadata | _config_beside(path)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise EvaluationError(f"{path}: not a whole safetensors file ({error}): copy it again") from None


def _read_pickle(path: Path) -> dict[str, Any]:
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


def _unprefixed(tensors: dict[str, Any], path: Path) -> dict[str, Any]:
    prefixes = [k[: -len(ANCHOR)] for k in tensors if k == ANCHOR or k.endswith("." + ANCHOR)]
    prefixes = [p for p in prefixes if f"{p}bn1.weight" in tensors and f"{p}layer1.0.conv1.weight" in tensors]
    if len(prefixes) != 1:
        found = f"{len(prefixes)} networks ({', '.join(prefixes)})" if prefixes else "none"
        raise EvaluationError(
            f"{path}: expected the tensors of one ResNet, found {found} among {len(tensors)} tensors: "
            "save the one backbone's state dict"
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
    config = about.get("config") if isinstance(about, dict) else None
    if not isinstance(config, dict):
        return {}
    names = {"recipe": "recipe", "bank_spec": "bank", "bank_seed": "bank_seed"}
    return {
        name: value if isinstance(value := config[key], (str, int)) else json.dumps(value)
        for name, key in names.items()
        if key in config
    }
