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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save
from torch import nn

import fracgen
from fracgen.loading.augment import AUGMENTATIONS
from fracgen.networks import create, features_into, first_convolution, last_layer, library_of
from fracgen.support.files import whole_file
from fracgen.training.built_in import name_of
from fracgen.training.config import Config
from fracgen.training.folder import RunFolder, write_json
from fracgen.training.losses import Objective, objective_of
from fracgen.weights import fault

if TYPE_CHECKING:
    from fracgen.support.decode import JsonValue


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
    objective = objective_of(config, bank)
    model = create(config.model, objective.outputs, config.recipe.size, config.seed)
    model.load_state_dict(state["average"] or state["model"])
    trained = Trained(config, sha256, objective, model, step=state["step"], validation=state["validation"])
    return trained.write(output or folder.export, folder.starts(), classifier=classifier, half=half)


@dataclass(frozen=True)
class Trained:
    """A network after some steps of a run, and what its export says of it."""

    config: Config
    bank_sha256: str
    objective: Objective
    model: nn.Module
    """Whose weights are written: the average of them where the run keeps one."""
    _: KW_ONLY
    step: int
    validation: dict[str, float]

    def write(
        self, target: Path, starts: list[dict[str, JsonValue]], *, classifier: bool = True, half: bool = False
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
        outputs, sha256 = self.objective.outputs if classifier else 0, hashlib.sha256(data).hexdigest()
        target.mkdir(parents=True, exist_ok=True)
        with whole_file(target / "model.safetensors") as file:
            file.write(data)
        write_json(target / "config.json", self._about(layer, outputs, sha256))
        write_json(target / "environment.json", starts)
        with whole_file(target / "README.md") as file:
            file.write(self._card(layer, outputs, sha256).encode())
        return target

    @property
    def _name(self) -> str:
        return self.config.model.removeprefix("timm/")

    @property
    def _tag(self) -> str:
        return f"fracgen_{self.config.recipe.name.replace('-', '_')}"

    @cached_property
    def _initial(self) -> str | None:
        """The name of the first weights, where they are the package's."""
        return name_of(self.config.initial) if self.config.initial else None

    @property
    def _images_seen(self) -> int:
        epochs, steps = divmod(self.step, self.config.steps_per_epoch)
        return epochs * self.config.epoch_size + steps * self.config.batch_size

    def _about(self, layer: str, outputs: int, sha256: str) -> dict[str, object]:
        """config.json: timm's fields, and ours under `fracgen`."""
        c, recipe, model = self.config, self.config.recipe, self.model
        own = getattr(model, "pretrained_cfg", None) or {}
        return {
            "architecture": self._name,
            "num_classes": outputs,
            "num_features": features_into(model, layer),
            "pretrained_cfg": {
                "tag": self._tag, "custom_load": False, "input_size": [3, recipe.size, recipe.size],
                "fixed_input_size": bool(own.get("fixed_input_size", False)), "interpolation": "bilinear",
                "crop_pct": 1.0, "crop_mode": "center", "mean": list(recipe.mean), "std": list(recipe.std),
                "num_classes": outputs, "classifier": layer, "first_conv": first_convolution(model),
            },
            "fracgen": {
                "tag": self._tag, "library": library_of(c.model), "versions": {"fracgen": fracgen.__version__},
                "step": self.step, "steps": c.steps, "epochs_done": self.step / c.steps_per_epoch,
                "validation": self.validation, "config": c.to_json(), "recipe_digest": recipe.digest,
                "bank_sha256": self.bank_sha256, "weights_sha256": sha256, "objective": self.objective.name,
                "accuracy_measure": self.objective.measure, "images_seen": self._images_seen,
                **({"initial": self._initial} if self._initial else {}),
            },
        }  # fmt: skip

    def _card(self, layer: str, outputs: int, sha256: str) -> str:
        """Markdown with the front matter that model hubs read."""
        c, recipe = self.config, self.config.recipe
        library = library_of(c.model)
        what = "was not trained" if c.task == "damage" else f"tells `{recipe.formula}` codes apart and nothing else"
        unfinished = f"- The run was not finished: {self.step:,} of {c.steps:,} steps were taken.\n"
        return f"""---
license: apache-2.0
tags:
- fractals
- pre-training
- image-classification
library_name: {library}
---
# {self._name}.{self._tag}

A {self._name} pre-trained by fracgen {fracgen.__version__} on images of fractals only: no photograph, no person,
no data set was involved.

| | |
|---|---|
{self._facts()}
| Versions and hardware | of every start: `environment.json` |
| Weights' SHA-256 | `{sha256}` |

## Loading

{_loading(self._name, library, layer, outputs)}

Images of {recipe.size} px were shown; convolutional networks take other sizes as well.

## Known limits

- The weights saw fractals only. They are meant as features for anomaly detection and for further training; the
  classifier, where it is included, {what}.
- They expect the normalisation above, not ImageNet's.
- Validation measures the objective on pictures that training never showed. It says little about another task.
{unfinished if self.step < c.steps else ""}"""

    def _facts(self) -> str:
        """What was trained on what, as rows of the card's table."""
        c, recipe, v = self.config, self.config.recipe, self.validation
        seen = f"{self._images_seen:,}{f', {c.shots} shots of each' if c.task == 'damage' else ''}"
        rows = {
            "Recipe": f"`{recipe.name}`, {recipe.size} px, digest `{recipe.digest}`, "
            f"render version {recipe.render_version}",
            "Codes": f"{c.bank.codes:,} in {c.bank.classes:,} classes, bank SHA-256 `{self.bank_sha256}`",
            "Images seen": f"{seen} ({self.step / c.steps_per_epoch:.2f} of {c.epochs} epochs of {c.epoch_size:,})",
            "Optimisation": _optimisation(c),
            "Objective": self.objective.name,
            "Seed": f"{c.seed} (bank: {c.bank_seed})",
            "First weights": f"{self._initial or 'those'} of SHA-256 `{c.initial}`, but for the last layer"
            if c.initial else "random",
            "Validation": f"{v['accuracy']:.2%} of {v['images']:,.0f} images ({self.objective.measure}), "
            f"after step {v['step']:,.0f}" if v else "not measured",
            "Input": f"RGB / 255, mean {recipe.mean}, standard deviation {recipe.std}",
            "Augmentation": _augmentation(c),
        }  # fmt: skip
        return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _optimisation(c: Config) -> str:
    name = f"SGD, momentum {c.momentum:g}" if c.optimizer == "sgd" else "AdamW"
    return (
        f"{name}, weight decay {c.weight_decay:g}, batches of {c.batch_size:,}, {c.schedule} learning rate up to "
        f"{c.learning_rate:g} with {c.warm_up:.1%} warm-up"
        + (f", label smoothing {c.label_smoothing:g}" if c.label_smoothing else "")
        + (f", average of the weights with decay {c.ema:g}" if c.ema else "")
    )


def _augmentation(c: Config) -> str:
    if c.augmentation is None:
        text = "none"
    else:
        named = [name for name, known in AUGMENTATIONS.items() if known == c.augmentation]
        text = named[0] if named else "own: " + ", ".join(f"{k} {v}" for k, v in c.augmentation.to_json().items())
    return text + (f"; {c.pictures:,} pictures, shown again and again" if c.pictures else "")


def _loading(name: str, library: str, layer: str, outputs: int) -> str:
    lines = ["from safetensors.torch import load_file", "weights = load_file('model.safetensors')", ""]
    if library == "torchvision":
        lines += [
            "import torchvision" if outputs else "import torch, torchvision",
            f"model = torchvision.models.get_model('{name}', num_classes={outputs or 1000})",
            *([] if outputs else [f"model.{layer} = torch.nn.Identity()"]), "model.load_state_dict(weights)", "",
        ]  # fmt: skip
    lines += ["import timm", f"model = timm.create_model('{name}', num_classes={outputs})",
              "model.load_state_dict(weights)  # where timm's names are torchvision's, as for ResNets"]  # fmt: skip
    return "\n".join(["```python", *lines, "```"])
