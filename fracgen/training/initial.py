"""The weights that a network begins with, where they are not random: an export, or those of the package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.networks import last_layer
from fracgen.weights import differences, read_weights, weights_path

if TYPE_CHECKING:
    import torch


def initial_file(name: str, model: str) -> Path:
    """The weights file that a name stands for: `fractal` for the package's weights of a model, else a path.

    Raises:
        ValueError: the package has none of this model, or the file is of another kind.
        FileNotFoundError: there is no such file.
    """
    if name == "fractal":
        from fracgen.training.built_in import weights_file

        return weights_file(model)
    try:
        return weights_path(Path(name))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no initial weights at {name}: name the model.safetensors of an export, or its folder, or fractal"
        ) from None


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_initial(model: torch.nn.Module, path: Path, outputs: int, name: str) -> None:
    """Load weights into a network, all but the last layer's, whose outputs are another task's.

    Args:
        model: of `outputs` outputs.
        path: weights by the same names, with or without the last layer.
        outputs: of the last layer, which stays as it is.
        name: of the model.

    Raises:
        ValueError: the file cannot be read, or is of another network.
        OSError: it cannot be read.
    """
    file = read_weights(path)
    file.check_architecture(name)
    last = last_layer(model, outputs) + "."
    own = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith(last)}
    given = {key: tensor for key, tensor in file.tensors.items() if not key.startswith(last)}
    shapes = {key: tuple(tensor.shape) for key, tensor in own.items()}
    if found := differences(given, shapes, {key for key, tensor in own.items() if not tensor.is_floating_point()}):
        raise ValueError(f"the initial weights {path} are of another network: {found}; use an export of a {name}")
    model.load_state_dict(given, strict=False)
