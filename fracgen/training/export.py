"""Weights for others: safetensors that torchvision's and timm's model load strictly, with their own normalisation.

The folder is one that `timm.create_model("local-dir:FOLDER", pretrained=True)` understands, too:

    model.safetensors   the state dict
    config.json         architecture, input size, mean and std, tag; what the weights were trained on
    README.md           the model card
    environment.json    where and when they were trained: all that differs between two runs of equal weights
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fracgen.support.files import whole_file
from fracgen.training.config import Config
from fracgen.training.folder import RunFolder, write_json
from fracgen.weights import fault

if TYPE_CHECKING:
    import torch


def export(
    folder: RunFolder, output: Path | None = None, *, checkpoint: str = "auto", classifier: bool = True,
    half: bool = False,
) -> Path:
    """Write the weights of a run's checkpoint, their configuration and their card.

    Args:
        folder: the run.
        output: where to; default: the run's `export`.
        checkpoint: "auto" for the newest whole one, or a path.
        classifier: with the last layer; without it, torchvision's model needs `strict=False` or its
            own last layer removed, timm's is made with `num_classes=0`.
        half: numbers as float16, half as large; a network they are loaded into keeps its own precision.

    Returns:
        The folder written.

    Raises:
        ValueError: the run or the checkpoint is damaged, they do not belong together, or a number is not finite, which
            large ones become as float16.
        OSError: something is missing, or cannot be written.
    """
    from safetensors.torch import save

    from fracgen.training.card import card
    from fracgen.training.model import build_model, last_layer
    from fracgen.training.objective import objective_of

    config, sha256 = folder.read_config()
    bank = folder.read_bank(sha256)
    state = folder.read_checkpoint(checkpoint, config, bank)[0]
    objective = objective_of(config, bank.classes)
    model = build_model(config.model, objective.outputs, config.recipe.size, config.seed)
    trained = state.get("average") or state["model"]
    model.load_state_dict(trained)
    layer = last_layer(model, objective.outputs)
    weights = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in trained.items()
        if classifier or not name.startswith(layer + ".")
    }  # fmt: skip
    for tensors, remedy in ((trained, "export an earlier one with --checkpoint"), (weights, "export without --half")):
        if bad := fault(tensors):
            raise ValueError(f"the weights of {folder.path}: {bad}: {remedy}")
    target = output or folder.export
    target.mkdir(parents=True, exist_ok=True)
    data = save(weights, {"format": "pt"})  # a second entry would come before or after it, as chance has it
    about = description(config, state, model, layer, objective.outputs if classifier else 0)
    about["fracgen"] |= {
        "bank_sha256": sha256, "weights_sha256": hashlib.sha256(data).hexdigest(), "objective": objective.name,
        "accuracy_measure": objective.measure, "images_seen": _images_seen(state),
    }  # fmt: skip
    with whole_file(target / "model.safetensors") as file:
        file.write(data)
    write_json(target / "config.json", about)
    write_json(target / "environment.json", _starts(folder))
    with whole_file(target / "README.md") as file:
        file.write(card(config, about).encode())
    return target


def tag(config: Config) -> str:
    """What these weights are called after the architecture's name: never another data set's tag."""
    return f"fracgen_{config.recipe.name.replace('-', '_')}"


def description(
    config: Config, state: dict[str, Any], model: torch.nn.Module, layer: str, outputs: int
) -> dict[str, Any]:
    """config.json: timm's fields, and ours under `fracgen`."""
    import fracgen
    from fracgen.training.model import features_into, library_of

    c, recipe = config, config.recipe
    own = getattr(model, "pretrained_cfg", None) or {}
    return {
        "architecture": c.model.removeprefix("timm/"),
        "num_classes": outputs,
        "num_features": features_into(model, layer),
        "pretrained_cfg": {
            "tag": tag(c), "custom_load": False, "input_size": [3, recipe.size, recipe.size],
            "fixed_input_size": bool(own.get("fixed_input_size", False)), "interpolation": "bilinear",
            "crop_pct": 1.0, "crop_mode": "center", "mean": list(recipe.mean), "std": list(recipe.std),
            "num_classes": outputs, "classifier": layer, "first_conv": first_convolution(model),
        },
        "fracgen": {
            "tag": tag(c), "library": library_of(c.model), "versions": {"fracgen": fracgen.__version__},
            "step": state["step"], "steps": c.steps, "epochs_done": state["step"] / c.steps_per_epoch,
            "validation": state["validation"], "config": c.to_json(), "recipe_digest": recipe.digest,
        },
    }  # fmt: skip


def first_convolution(model: torch.nn.Module) -> str | None:
    """Name of the layer that sees the image."""
    import torch

    return next((name for name, part in model.named_modules() if isinstance(part, torch.nn.Conv2d)), None)


def _starts(folder: RunFolder) -> list[dict[str, Any]]:
    if not folder.environment.is_file():
        return []
    starts: list[dict[str, Any]] = json.loads(folder.environment.read_text(encoding="utf-8"))
    return starts


def _images_seen(state: dict[str, Any]) -> int:
    config = state["config"]
    epochs, steps = divmod(state["step"], -(-config["epoch_size"] // config["batch_size"]))
    return int(epochs * config["epoch_size"] + steps * config["batch_size"])
