"""The model card: what the weights are, how they were made, how to load them, and their limits."""

from __future__ import annotations

from typing import Any

from fracgen.loading.augment import AUGMENTATIONS
from fracgen.training.config import Config


def card(config: Config, about: dict[str, Any]) -> str:
    """Markdown with the front matter that model hubs read, from an export's config.json."""
    own, name = about["fracgen"], about["architecture"]
    recipe = config.recipe
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
  classifier, where it is included, {_classifier(config)}.
- They expect the normalisation above, not ImageNet's.
- Validation measures the objective on pictures that training never showed. It says little about another task.
{_unfinished(own)}"""


def _classifier(c: Config) -> str:
    return "was not trained" if c.task == "damage" else f"tells `{c.recipe.formula}` codes apart and nothing else"


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


def _unfinished(own: dict[str, Any]) -> str:
    if own["step"] >= own["steps"]:
        return ""
    return f"- The run was not finished: {own['step']:,} of {own['steps']:,} steps were taken.\n"
