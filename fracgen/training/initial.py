"""The weights that a network begins with, where they are not random: an export, or those of the package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.networks import last_layer

if TYPE_CHECKING:
    import torch


def initial_file(name: str, model: str) -> Path:
    """The safetensors file that a name stands for: `fractal` for the package's weights of a model, else a path.

    Raises:
        ValueError: the package has none of this model.
        FileNotFoundError: there is no such file.
    """
    if name == "fractal":
        from fracgen.training.built_in import weights_file

        return weights_file(model)
    path = Path(name)
    path = path / "model.safetensors" if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"no initial weights at {path}: name the model.safetensors of an export, or its folder, or fractal"
        )
    return path


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_initial(model: torch.nn.Module, path: Path, outputs: int) -> None:
    """Load weights into a network, all but the last layer's, whose outputs are another task's.

    Args:
        model: of `outputs` outputs.
        path: safetensors with the same names, with or without the last layer.
        outputs: of the last layer, which stays as it is.

    Raises:
        ValueError: the file is damaged, or of another network.
    """
    import safetensors
    from safetensors.torch import load_file

    last = last_layer(model, outputs) + "."
    try:
        tensors = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"the initial weights {path} cannot be read as safetensors: {error}") from None
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(last)}
    given = {name: tensor for name, tensor in tensors.items() if not name.startswith(last)}
    strange = [n for n in own | given if n not in own or n not in given or own[n].shape != given[n].shape]
    if strange:
        raise ValueError(
            f"the initial weights {path} are of another network: {len(strange)} tensors differ, {strange[0]} first; "
            "use an export of the same model"
        )
    model.load_state_dict(given, strict=False)
