"""Weights to begin with: those that come with the package, or an export.

The package's are in `fracgen/weights/MODEL.TAG/`, each an export in half precision with its card. A tag is a word for
how they were made and a number, such as `twins_1`; the highest number of a model is the newest. What a tag names never
changes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.support.files import PACKAGE
from fracgen.weights import differences, read_weights, weights_path

if TYPE_CHECKING:
    import torch

WEIGHTS = PACKAGE / "weights"
TAG = r"[a-z]+_\d+"


def names() -> list[str]:
    """MODEL.TAG of all weights in the package: by model, the newest last."""
    found = (re.fullmatch(rf"(\w+)\.({TAG})", path.parent.name) for path in WEIGHTS.glob("*/model.safetensors"))
    return [one[0] for one in sorted(filter(None, found), key=lambda one: (one[1], int(one[2].partition("_")[2])))]


def models() -> list[str]:
    """The models of which there are weights."""
    return sorted({name.partition(".")[0] for name in names()})


def weights_file(name: str) -> Path:
    """The safetensors file of weights; `config.json` and the card lie beside it.

    Args:
        name: MODEL.TAG, or a model, of which the newest are taken.

    Raises:
        ValueError: there are none of this model, or of this tag.
    """
    model, dot, _ = name.partition(".")
    of_model = [known for known in names() if known.partition(".")[0] == model]
    if dot and of_model and name not in of_model:
        raise ValueError(f"fracgen brings no fractal weights {name!r}: of {model} it has {', '.join(of_model)}")
    if not of_model:
        there = f"there are those of {', '.join(models())}" if models() else "this release has none"
        raise ValueError(f"fracgen brings no fractal weights of {model!r} ({there}): make some with fracgen pretrain")
    return WEIGHTS / (name if dot else of_model[-1]) / "model.safetensors"


def is_fractal(name: str) -> bool:
    """Whether a name on the command line stands for weights of the package: `fractal` or `fractal.TAG`."""
    return re.fullmatch(rf"fractal(\.{TAG})?", name) is not None


def tag_of(path: Path) -> str | None:
    """The tag of a weights file of the package, or its folder; None for any other."""
    path = path.resolve()
    folder = path if path.is_dir() else path.parent
    return folder.name.partition(".")[2] if folder.parent == WEIGHTS.resolve() and folder.name in names() else None


def name_of(sha256: str) -> str | None:
    """MODEL.TAG of the package's file of a SHA-256; None where it has none."""
    return next((name for name in names() if digest(weights_file(name)) == sha256), None)


def pretrained(model: str = "resnet18") -> torch.nn.Module:
    """A network with weights that were trained on fractals only, without a classifier, in eval mode.

    Args:
        model: its name, for the newest weights, or MODEL.TAG, such as `resnet18.twins_1`.

    Returns:
        torchvision's network where it has one of that name, else timm's: images [B, 3, H, W], normalised with
        `pretrained_cfg["mean"]` and `["std"]` of the result, to features [B, D]. `pdn_small`, EfficientAD's teacher,
        gives maps [B, 384, h, w].

    Raises:
        ValueError: there are no weights of this model or tag, or the installed ones are damaged.

    >>> import fracgen, torch
    >>> network = fracgen.pretrained("resnet18")
    >>> network(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 512])
    """
    import torch

    from fracgen.networks import TEACHER, create, patch_description

    file = read_weights(weights_file(model))
    model = model.partition(".")[0]
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
    """The weights file that a name stands for: `fractal` or `fractal.TAG` for the package's of a model, else a path.

    Raises:
        ValueError: the package has none of this model or tag, or the file is of another kind.
        FileNotFoundError: there is no such file.
    """
    if is_fractal(name):
        return weights_file(model + name.removeprefix("fractal"))
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
