"""PANDA against a direct computation, and what its variants may and may not change."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import build_method, settings_for
from fracgen_eval.methods.fisher import check_task
from fracgen_eval.weights.backbones import WeightsSpec, load_weights
from safetensors.torch import save_file
from torchvision.models import get_model


@pytest.fixture(scope="module")
def weights() -> Any:
    return load_weights(WeightsSpec.parse("random"), "resnet18")


def pictures(number: Any, seed: int = 0) -> Any:
    return torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def settings(**changes: Any) -> Any:
    return settings_for("panda", overrides={"resize": 32, "crop": 32} | changes)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_scores_equal_a_direct_computation(weights: Any, k: Any) -> None:
    method: Any = build_method("panda", weights, settings(k=k))
    train, test = pictures(9), pictures(5, seed=1)
    method.fit(train)
    network = get_model("resnet18", weights=None)
    network.load_state_dict(weights.tensors, strict=False)
    network.fc = torch.nn.Identity()
    network.eval()

    def features(images: Any) -> Any:
        mean, std = (np.float32(values).reshape(3, 1, 1) for values in astuple(weights.normalisation))
        x = (images.numpy().astype(np.float32) / 255 - mean) / std
        with torch.no_grad():
            return network(torch.from_numpy(x)).numpy().astype(np.float64)

    bank, judged = features(train), features(test)
    squared = ((judged[:, None] - bank[None]) ** 2).sum(2)
    expected = np.sort(squared, axis=1)[:, :k].sum(1)
    assert method.predict(test).scores == pytest.approx(expected, rel=1e-5)
    assert method.predict(test).maps is None


def test_a_training_image_has_its_neighbour_as_only_distance(weights: Any) -> None:
    method: Any = build_method("panda", weights, settings(k=1))
    method.fit(pictures(6))
    assert method.predict(pictures(6), batch=6).scores == pytest.approx(np.zeros(6), abs=1e-6)


def test_early_changes_the_last_two_stages_alone_and_never_the_running_statistics(weights: Any) -> None:
    method: Any = build_method("panda", weights, settings(variant="early", max_steps=3, lr=100.0))
    facts = method.fit(pictures(9))
    assert facts["steps"] == 3
    changed = {k for k, v in method.network.state_dict().items() if not torch.equal(v, weights.tensors[k])}
    assert changed
    assert all(k.startswith(("layer3.", "layer4.")) for k in changed)
    assert not any("running" in k for k in changed)
    assert not any(k.startswith(("layer3.", "layer4.")) for k in method.frozen())


def test_early_makes_normal_features_more_compact(weights: Any) -> None:
    def spread(method: Any) -> Any:
        features = method._features(pictures(12), 12)
        return ((features - features.mean(0)) ** 2).mean().item()

    plain = build_method("panda", weights, settings())
    early = build_method("panda", weights, settings(variant="early", max_steps=6, clip=100.0))
    early.fit(pictures(12))
    assert spread(early) < 0.9 * spread(plain)


def test_ewc_is_refused_without_the_pretraining_task(weights: Any) -> None:
    method: Any = build_method("panda", weights, settings(variant="ewc"))
    with pytest.raises(EvaluationError, match=r"lacks its classifier .*bank_spec in its metadata.*'dn2' or 'early'"):
        method.fit(pictures(3))


@pytest.fixture(scope="module")
def with_task(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Weights that know their bank, recipe and classifier."""
    import fracgen
    from fracgen.formulas.ifs import BankSpec

    path = tmp_path_factory.mktemp("ewc") / "w.safetensors"
    torch.manual_seed(0)
    metadata = {
        "recipe": json.dumps(fracgen.preset("paper").recipe.at_size(32).to_json()),
        "bank_spec": json.dumps(BankSpec(20, 10, (2, 4)).to_json()), "bank_seed": "3",
    }  # fmt: skip
    save_file(get_model("resnet18", weights=None, num_classes=10).state_dict(), path, metadata)
    return load_weights(WeightsSpec("task", path), "resnet18")


def test_ewc_holds_the_weights_closer_than_early_does(with_task: Any) -> None:
    def moved(variant: Any) -> Any:
        common = {"max_steps": 4, "clip": 1.0, "fisher_images": 4, "batch": 4, "ewc_lambda": 1e6}
        method: Any = build_method("panda", with_task, settings(variant=variant, **common))
        method.fit(pictures(8))
        now = method.network.state_dict()
        return sum(((now[k] - v) ** 2).sum().item() for k, v in with_task.tensors.items() if v.is_floating_point())

    assert 0 < moved("ewc") < moved("early")


def test_the_task_is_also_read_from_an_exports_config(with_task: Any, tmp_path: Path) -> None:
    state = with_task.tensors | with_task.head
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    task = with_task.metadata
    config = {"recipe": json.loads(task["recipe"]), "bank": json.loads(task["bank_spec"]), "bank_seed": 3}
    about = {"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}, "fracgen": {"config": config}}
    (tmp_path / "config.json").write_text(json.dumps(about))
    exported = load_weights(WeightsSpec("exported", tmp_path / "model.safetensors"), "resnet18")
    check_task(exported)
    assert {k: json.loads(str(exported.metadata[k])) for k in task} == {k: json.loads(task[k]) for k in task}
    assert (exported.normalisation.mean, exported.norm) == ((0.5, 0.5, 0.5), "file")


def test_the_fisher_is_the_mean_squared_gradient_of_a_batch(with_task: Any) -> None:
    from fracgen_eval.methods.base import normalised
    from fracgen_eval.methods.fisher import _pretraining_batches, diagonal_fisher
    from fracgen_eval.weights.backbones import build_backbone

    options = settings(variant="ewc", fisher_images=8, batch=4)
    network = build_backbone(with_task)
    found = diagonal_fisher(network, with_task, options, "cpu")
    expected = torch.zeros(())
    for images, labels in _pretraining_batches(with_task, options):
        network.zero_grad()
        features = network(normalised(images, with_task, "cpu"))
        logits = features @ with_task.head["fc.weight"].T + with_task.head["fc.bias"]
        torch.nn.functional.cross_entropy(logits, labels).backward()
        expected = expected + network.layer4[1].conv2.weight.grad ** 2 / 2
    assert torch.allclose(found["layer4.1.conv2.weight"], expected, rtol=1e-4)
    assert all(k.startswith(("layer3", "layer4")) for k in found)
