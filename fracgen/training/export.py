"""Weights for others: safetensors that torchvision's and timm's model load strictly, with their own normalisation.

The folder is one that `timm.create_model("local-dir:FOLDER", pretrained=True)` understands, too:

    model.safetensors   the state dict
    config.json         architecture, input size, mean and std, tag; what the weights were trained on
    README.md           the model card
    environment.json    where and when they were trained: all that differs between two runs of equal weights
"""

from __future__ import annotations

import hashlib
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import nn

import fracgen
from fracgen.loading.augment import AUGMENTATIONS
from fracgen.networks import create, features_into, first_convolution, last_layer, library_of
from fracgen.support.files import whole_file
from fracgen.training.config import Config
from fracgen.training.folder import RunFolder, write_json
from fracgen.training.losses import Objective, objective_of
from fracgen.weights import fault


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
    config, sha256 = folder.read_config()
    bank = folder.read_bank(sha256)
    state = folder.read_checkpoint(checkpoint, config, bank)[0]
    objective = objective_of(config, bank.classes)
    model = create(config.model, objective.outputs, config.recipe.size, config.seed)
    model.load_state_dict(state["average"] or state["model"])
    trained = Trained(config, sha256, objective, model, step=state["step"], validation=state["validation"])
    return trained.write(output or folder.export, folder.starts(), classifier=classifier, half=half)


@dataclass(frozen=True)
class Trained:
    """A network after some steps of a run, and what is told of it."""

    config: Config
    bank_sha256: str
    objective: Objective
    model: nn.Module
    """Whose weights are written: the average of them where the run keeps one."""
    _: KW_ONLY
    step: int
    validation: dict[str, float]

    def write(
        self, target: Path, starts: list[dict[str, Any]], *, classifier: bool = True, half: bool = False
    ) -> Path:
        """Write the folder `target`, with `starts` as environment.json; see `export`.

        Raises:
            ValueError: a number is not finite.
            OSError: the folder cannot be written.
        """
        layer = last_layer(self.model, self.objective.outputs)
        own = {name: tensor.cpu() for name, tensor in self.model.state_dict().items()}
        weights = {
            name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
            for name, tensor in own.items()
            if classifier or not name.startswith(layer + ".")
        }  # fmt: skip
        for tensors, remedy in ((own, "export an earlier one with --checkpoint"), (weights, "export without --half")):
            if bad := fault(tensors):
                raise ValueError(f"nothing is exported to {target}: {bad}: {remedy}")
        data = save(weights, {"format": "pt"})  # a second entry would come before or after it, as chance has it
        about = self._about(layer, self.objective.outputs if classifier else 0)
        about["fracgen"]["weights_sha256"] = hashlib.sha256(data).hexdigest()
        target.mkdir(parents=True, exist_ok=True)
        with whole_file(target / "model.safetensors") as file:
            file.write(data)
        write_json(target / "config.json", about)
        write_json(target / "environment.json", starts)
        with whole_file(target / "README.md") as file:
            file.write(card(self.config, about).encode())
        return target

    def _about(self, layer: str, outputs: int) -> dict[str, Any]:
        """config.json: timm's fields, and ours under `fracgen`."""
        c, recipe, model = self.config, self.config.recipe, self.model
        own, named = getattr(model, "pretrained_cfg", None) or {}, f"fracgen_{recipe.name.replace('-', '_')}"
        epochs, steps = divmod(self.step, c.steps_per_epoch)
        return {
            "architecture": c.model.removeprefix("timm/"),
            "num_classes": outputs,
            "num_features": features_into(model, layer),
            "pretrained_cfg": {
                "tag": named, "custom_load": False, "input_size": [3, recipe.size, recipe.size],
                "fixed_input_size": bool(own.get("fixed_input_size", False)), "interpolation": "bilinear",
                "crop_pct": 1.0, "crop_mode": "center", "mean": list(recipe.mean), "std": list(recipe.std),
                "num_classes": outputs, "classifier": layer, "first_conv": first_convolution(model),
            },
            "fracgen": {
                "tag": named, "library": library_of(c.model), "versions": {"fracgen": fracgen.__version__},
                "step": self.step, "steps": c.steps, "epochs_done": self.step / c.steps_per_epoch,
                "validation": self.validation, "config": c.to_json(), "recipe_digest": recipe.digest,
                "bank_sha256": self.bank_sha256, "weights_sha256": "", "objective": self.objective.name,
                "accuracy_measure": self.objective.measure,
                "images_seen": epochs * c.epoch_size + steps * c.batch_size,
            },
        }  # fmt: skip


def card(config: Config, about: dict[str, Any]) -> str:
    """Markdown with the front matter that model hubs read, from an export's config.json."""
    own, name = about["fracgen"], about["architecture"]
    recipe = config.recipe
    tells = "was not trained" if config.task == "damage" else f"tells `{recipe.formula}` codes apart and nothing else"
    open_end = f"- The run was not finished: {own['step']:,} of {own['steps']:,} steps were taken.\n"
    return f"""---
license: apache-2.0
tags:
- fractals
- pre-training
- image-classification
library_name: {own["library"]}
---
# {name}.{own["tag"]}

A {name} pre-trained by fracgen {own["versions"]["fracgen"]} on images of fractals only: no photograph, no person,
no data set was involved.

| | |
|---|---|
| Recipe | `{recipe.name}`, {recipe.size} px, digest `{own["recipe_digest"]}`, render version {recipe.render_version} |
| Codes | {config.bank.codes:,} in {config.bank.classes:,} classes, bank SHA-256 `{own["bank_sha256"]}` |
| Images seen | {_seen(config, own)} |
| Optimisation | {_optimisation(config)} |
| Objective | {own["objective"]} |
| Seed | {config.seed} (bank: {config.bank_seed}) |
| First weights | {f"those of SHA-256 `{config.initial}`, but for the last layer" if config.initial else "random"} |
| Validation | {_validation(own)} |
| Input | RGB / 255, mean {recipe.mean}, standard deviation {recipe.std} |
| Augmentation | {_augmentation(config)} |
| Versions and hardware | of every start: `environment.json` |
| Weights' SHA-256 | `{own["weights_sha256"]}` |

## Loading

{_loading(config, about)}

## Known limits

- The weights saw fractals only. They are meant as features for anomaly detection and for further training; the
  classifier, where it is included, {tells}.
- They expect the normalisation above, not ImageNet's.
- Validation measures the objective on pictures that training never showed. It says little about another task.
{open_end if own["step"] < own["steps"] else ""}"""


def _seen(c: Config, own: dict[str, Any]) -> str:
    twice = ", two shots of each" if c.task == "damage" else ""
    return f"{own['images_seen']:,}{twice} ({own['epochs_done']:.2f} of {c.epochs} epochs of {c.epoch_size:,})"


def _optimisation(c: Config) -> str:
    name = f"SGD, momentum {c.momentum:g}" if c.optimizer == "sgd" else "AdamW"
    return (
        f"{name}, weight decay {c.weight_decay:g}, batches of {c.batch_size:,}, {c.schedule} learning rate up to "
        f"{c.learning_rate:g} with {c.warm_up:.1%} warm-up"
        + (f", label smoothing {c.label_smoothing:g}" if c.label_smoothing else "")
        + (f", average of the weights with decay {c.ema:g}" if c.ema else "")
    )


def _validation(own: dict[str, Any]) -> str:
    v = own["validation"]
    if not v:
        return "not measured"
    return f"{v['accuracy']:.2%} of {v['images']:,.0f} images ({own['accuracy_measure']}), after step {v['step']:,.0f}"


def _augmentation(c: Config) -> str:
    if c.augmentation is None:
        text = "none"
    else:
        named = [name for name, known in AUGMENTATIONS.items() if known == c.augmentation]
        text = named[0] if named else "own: " + ", ".join(f"{k} {v}" for k, v in c.augmentation.to_json().items())
    return text + (f"; {c.pictures:,} pictures, shown again and again" if c.pictures else "")


def _loading(config: Config, about: dict[str, Any]) -> str:
    name, classes, own = about["architecture"], about["num_classes"], about["fracgen"]
    size = config.recipe.size
    lines = ["```python", "from safetensors.torch import load_file", "weights = load_file('model.safetensors')", ""]
    if own["library"] == "torchvision":
        lines += ["import torchvision" if classes else "import torch, torchvision"]
        lines += [f"model = torchvision.models.get_model('{name}', num_classes={classes or 1000})"]
        if classes:
            lines += ["model.load_state_dict(weights)", ""]
        else:
            lines += [f"model.{about['pretrained_cfg']['classifier']} = torch.nn.Identity()",
                      "model.load_state_dict(weights)", ""]  # fmt: skip
    lines += ["import timm", f"model = timm.create_model('{name}', num_classes={classes})"]
    lines += ["model.load_state_dict(weights)  # where timm's names are torchvision's, as for ResNets", "```"]
    lines += ["", f"Images of {size} px were shown; convolutional networks take other sizes as well."]
    return "\n".join(lines)
