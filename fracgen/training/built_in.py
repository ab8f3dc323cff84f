"""Weights that come with the package: `fracgen/weights/MODEL/`, each an export in half precision with its card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.weights import read_weights

if TYPE_CHECKING:
    import torch

WEIGHTS = Path(__file__).parents[1] / "weights"


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
