"""The diagonal Fisher information of a network's pre-training task, for PANDA's `ewc`.

It needs what the network was pre-trained on: the classifier, and images with classes. For fractal
weights these are a few files small: the weights keep their head, and the file's metadata names the
bank (`bank_spec`, `bank_seed`) and the recipe from which the images are drawn again.
"""

from __future__ import annotations

from typing import Any

from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods.base import normalised
from fracgen_eval.methods.needs import adapted_part
from fracgen_eval.methods.settings import Settings
from fracgen_eval.weights.backbones import Weights

NEEDED = ("recipe", "bank_spec", "bank_seed")


def diagonal_fisher(network: Any, weights: Weights, settings: Settings, device: str) -> dict[str, Any]:
    """Mean over batches of the squared gradient of the batch's cross-entropy, per adapted parameter by name.

    Raises:
        EvaluationError: the weights come without classifier, or do not say what they were pre-trained on.
    """
    import torch

    check_task(weights)
    assert weights.linear_head is not None
    weight, bias = (tensor.to(device) for tensor in weights.linear_head)
    adapted = adapted_part(weights.network)
    parameters = {k: p for k, p in network.named_parameters() if k in adapted}
    total = {k: torch.zeros_like(p) for k, p in parameters.items()}
    number = 0
    for images, labels in _pretraining_batches(weights, settings):
        features = network(normalised(images, weights, device))
        logits = torch.nn.functional.linear(features, weight, bias)
        loss = torch.nn.functional.cross_entropy(logits, labels.to(device))
        for name, gradient in zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True):
            total[name] += gradient**2
        number += 1
    return {k: v / number for k, v in total.items()}


def check_task(weights: Weights) -> None:
    """Refuse weights that do not say what they were pre-trained on. Raises EvaluationError."""
    wanted = weights.network.linear_head
    if wanted is None:
        raise EvaluationError(
            f"panda.variant 'ewc' needs a classifier of one linear layer, which {weights.model} has not: use 'early'"
        )
    missing = [] if weights.head is not None else [f"its classifier ({', '.join(wanted)})"]
    missing += [f"{key} in its metadata" for key in NEEDED if key not in weights.metadata]
    if missing:
        raise EvaluationError(
            f"{weights.name}: panda.variant 'ewc' needs the pre-training task, but the file lacks "
            f"{', '.join(missing)}: export it with its classifier, or use 'dn2' or 'early'"
        )


def _pretraining_batches(weights: Weights, settings: Settings) -> Any:
    """Batches of (uint8 [B, 3, S, S], int64 [B]) from the recipe and bank the weights were trained on."""
    import torch

    import fracgen
    from fracgen.order import labels_of
    from fracgen.recipes.recipe import Recipe, Spec
    from fracgen.support.decode import parse_json

    spec = Spec.from_json(parse_json(weights.metadata["bank_spec"]))
    recipe = Recipe.from_json(parse_json(weights.metadata["recipe"]))
    bank = fracgen.make_bank(spec, int(weights.metadata["bank_seed"]))
    renderer = fracgen.make_renderer(bank, recipe, "cpu")
    for start in range(0, settings["fisher_images"], settings["batch"]):
        index = range(start, min(start + settings["batch"], settings["fisher_images"]))
        images = renderer.render(index).images
        yield images, torch.from_numpy(labels_of(index, spec.classes))
