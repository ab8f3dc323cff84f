"""Weights to begin with: those that come with the package, or an export.

The package's are in `fracgen/weights/MODEL/`, each an export in half precision with its card.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.support.files import PACKAGE
from fracgen.weights import differences, read_weights, weights_path

if TYPE_CHECKING:
    import torch

WEIGHTS = PACKAGE / "weights"


def models() -> list[str]:
    """The models of which there are weights."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/model.safetensors"))


def weights_file(model: str) -> Path:
    """The safetensors file of a model's weights; `config.json` and the card lie beside it.

    Raises:
        ValueError: there are none of this model.
    """
    known = models()
    if model not in known:
        there = f"there are those of {', '.join(known)}" if known else "this release has none"
        raise ValueError(f"fracgen brings no fractal weights of {model!r} ({there}): make some with fracgen pretrain")
    return WEIGHTS / model / "model.safetensors"


def pretrained(model: str = "resnet18") -> torch.nn.Module:
    """A network with weights that were trained on fractals only, without a classifier, in eval mode.

    Args:
        model: its name.

    Returns:
        torchvision's network where it has one of that name, else timm's: images [B, 3, H, W], normalised with
        `pretrained_cfg["mean"]` and `["std"]` of the result, to features [B, D]. `pdn_small`, EfficientAD's teacher,
        gives maps [B, 384, h, w].

    Raises:
        ValueError: there are no weights of this model, or the installed ones are damaged.

    >>> import fracgen, torch
    >>> network = fracgen.pretrained("resnet18")
    >>> network(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 512])
    """
    import torch

    from fracgen.networks import TEACHER, create, patch_description

    file = read_weights(weights_file(model))
    about = file.config["pretrained_cfg"]
    with torch.random.fork_rng(devices=[]):
        size, options = about["input_size"][1], file.config.get("model_args", {})
        network = patch_description() if model == TEACHER else create(model, 1, size, 0, **options)
    if classifier := about.get("classifier"):
        parent, _, last = classifier.rpartition(".")
        setattr(network.get_submodule(parent), last, torch.nn.Identity())
    network.load_state_dict(file.tensors, strict=True)
    network.pretrained_cfg = about
    return network.eval()


def initial_file(name: str, model: str) -> Path:
    """The weights file that a name stands for: `fractal` for the package's weights of a model, else a path.

    Raises:
        ValueError: the package has none of this model, or the file is of another kind.
        FileNotFoundError: there is no such file.
    """
    if name == "fractal":
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
    from fracgen.networks import last_layer

    file = read_weights(path)
    file.check_architecture(name)
    last = last_layer(model, outputs) + "."
    own, given = (
        {key: tensor for key, tensor in tensors.items() if not key.startswith(last)}
        for tensors in (model.state_dict(), file.tensors)
    )
    shapes = {key: tuple(tensor.shape) for key, tensor in own.items()}
    if found := differences(given, shapes, {key for key, tensor in own.items() if not tensor.is_floating_point()}):
        raise ValueError(f"the initial weights {path} are of another network: {found}; use an export of a {name}")
    model.load_state_dict(given, strict=False)
