"""The eight methods and three of Anomalib's others: whose weights they use, and that scores hang on images alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import METHODS, Watch, build_method, settings_for
from fracgen_eval.methods.settings import IMAGE_LEVEL, read_overrides
from fracgen_eval.weights.backbones import WeightsSpec, load_weights
from safetensors.torch import save_file
from torchvision.models import get_model

from fracgen.weights import read_weights

SMALL = {
    "fastflow": {"image_size": 64, "epochs": 2, "flow_steps": 2},
    "cflow": {"image_size": 64, "epochs": 1, "fiber_batch": 256, "blocks": 2},
    "patchcore": {"image_size": 64},
    "padim": {"image_size": 64, "features": 20},
    "rd": {"image_size": 64, "epochs": 2},
    "stfpm": {"image_size": 64, "epochs": 2},
    "panda": {"resize": 64, "crop": 64},
    "cutpaste": {"image_size": 64, "steps": 2, "frozen_steps": 1, "batch": 4},
    "anomalib:cfa": {"image_size": 64, "epochs": 2, "batch": 4},
    "anomalib:dfm": {"image_size": 64, "pooling_kernel_size": 2},
    "anomalib:dfkde": {"image_size": 64, "n_pca_components": 4},
}
ALL = tuple(SMALL)
"""The eight, and those of Anomalib's others that are held to the same tests."""
assert set(METHODS) < set(ALL)


def pictures(number: Any, seed: int = 0, side: int = 64) -> Any:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (number, 3, side, side), dtype=torch.uint8, generator=generator)
    return noise // 2 + torch.arange(side, dtype=torch.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A file as a user brings it."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    torch.manual_seed(11)
    state = get_model("resnet18", weights=None).state_dict()
    for key, tensor in state.items():
        if "running_mean" in key or key.endswith("bn1.bias"):
            tensor.normal_(0, 0.05)
    save_file(state, path, {"mean": "[0.4, 0.5, 0.6]", "std": "[0.3, 0.4, 0.5]"})
    return load_weights(WeightsSpec("mine", path), "resnet18")


def build(name: str, weights: Any, **options: Any) -> Any:
    settings = SMALL[name] | options.pop("changes", {})
    return build_method(name, weights, settings, **options)


@pytest.fixture(scope="module")
def fitted(weights: Any) -> Any:
    """Every method, fitted once."""
    cache = {}

    def get(name: str) -> Any:
        if name not in cache:
            method = build(name, weights)
            before = method.frozen()
            facts = method.fit(pictures(8))
            cache[name] = method, before, facts
        return cache[name]

    return get


@pytest.mark.parametrize("name", ALL)
def test_the_frozen_network_holds_exactly_the_files_tensors(name: str, weights: Any, fitted: Any) -> None:
    method, before, _ = fitted(name)
    after = method.frozen()
    assert set(before) == set(after)
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer2.1.bn2.running_var"} <= set(after)
    for key in before:
        assert torch.equal(before[key], weights.tensors[key]), key
        assert torch.equal(after[key], weights.tensors[key]), key


@pytest.mark.parametrize("name", ["stfpm", "rd"])
def test_students_and_decoders_are_not_pretrained(name: str, weights: Any) -> None:
    module = build(name, weights).module.model
    other = module.student_model.feature_extractor if name == "stfpm" else module.decoder
    shapes = {tuple(v.shape): v for k, v in weights.tensors.items() if v.ndim == 4}
    for tensor in other.state_dict().values():
        if tuple(tensor.shape) in shapes:
            assert not any(torch.equal(tensor, w) for w in weights.tensors.values() if w.shape == tensor.shape)
    assert all(p.requires_grad for p in other.parameters())


def first_convolution(method: Any) -> Any:
    if hasattr(method, "network"):
        return method.network.conv1
    (key,) = (key for key, tensor in method.places.items() if tensor == "conv1.weight")
    return method.module.model.get_submodule(key.removesuffix(".weight"))


@pytest.mark.parametrize("name", ALL)
def test_the_backbones_own_normalisation_reaches_the_network(
    name: str, weights: Any, fitted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frozen network's first layer sees (x / 255 - mean) / std of the file."""
    method, _, _ = fitted(name)
    seen = []
    first = first_convolution(method)
    hook = first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    images = pictures(2, seed=5)
    method.predict(images)
    hook.remove()
    expected = (images.float() / 255 - torch.tensor([0.4, 0.5, 0.6])[:, None, None]) / torch.tensor([0.3, 0.4, 0.5])[
        :, None, None
    ]
    assert torch.allclose(seen[0], expected, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_scores_have_the_right_form(name: str, fitted: Any) -> None:
    method, _, _ = fitted(name)
    found = method.predict(pictures(3, seed=2))
    assert found.scores.shape == (3,)
    assert found.scores.dtype == np.float32
    assert np.isfinite(found.scores).all()
    if name in IMAGE_LEVEL:
        assert found.maps is None
    else:
        assert found.maps.shape == (3, 64, 64)
        assert np.isfinite(found.maps).all()
        assert found.maps.std() > 0


@pytest.mark.parametrize("name", [m for m in ALL if m != "cflow"])
def test_scores_do_not_depend_on_the_batch_size(name: str, fitted: Any) -> None:
    method, _, _ = fitted(name)
    images = pictures(7, seed=3)
    whole, single = method.predict(images, batch=7), method.predict(images, batch=1)
    assert single.scores == pytest.approx(whole.scores, rel=1e-5)
    if whole.maps is not None:
        assert np.allclose(single.maps, whole.maps, rtol=1e-5, atol=1e-5 * np.abs(whole.maps).max())


def test_cflow_is_judged_in_batches_of_sixteen_whatever_is_asked(fitted: Any) -> None:
    method, _, _ = fitted("cflow")
    images = pictures(7, seed=3)
    assert np.array_equal(method.predict(images, batch=1).maps, method.predict(images, batch=7).maps)


@pytest.mark.parametrize("name", ALL)
def test_a_fitted_state_can_be_saved_and_taken_up(name: str, weights: Any, fitted: Any, tmp_path: Path) -> None:
    method, _, _ = fitted(name)
    save_file(method.state(), tmp_path / "fitted.safetensors")
    other = build(name, weights, seed=99)
    other.restore(read_weights(tmp_path / "fitted.safetensors").tensors)
    images = pictures(3, seed=4)
    assert np.array_equal(other.predict(images).scores, method.predict(images).scores)


@pytest.mark.parametrize("name", ALL)
def test_fitting_again_with_the_same_seed_gives_the_same_scores(name: str, weights: Any, fitted: Any) -> None:
    method, _, _ = fitted(name)
    again = build(name, weights)
    torch.rand(3), np.random.rand(3)  # the state of global generators must not matter
    again.fit(pictures(8))
    images = pictures(3, seed=4)
    assert np.array_equal(again.predict(images).scores, method.predict(images).scores)


def test_global_generators_are_left_as_they_were(weights: Any) -> None:
    torch.manual_seed(3), np.random.seed(3)
    expected = torch.rand(2), np.random.rand(2)
    torch.manual_seed(3), np.random.seed(3)
    build("padim", weights).fit(pictures(4))
    assert torch.equal(torch.rand(2), expected[0])
    assert np.array_equal(np.random.rand(2), expected[1])


@pytest.mark.parametrize("name", ["patchcore", "stfpm", "anomalib:cfa"])
def test_nothing_is_printed_and_no_file_written(
    name: str, weights: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    method = build(name, weights)
    method.fit(pictures(6))
    method.predict(pictures(2))
    assert capfd.readouterr() == ("", "")
    assert not os.listdir(tmp_path)


def test_paper_protocol_stops_early_and_keeps_the_best_state(weights: Any) -> None:
    numbers = iter([0.5, 0.9, 0.6, 0.7, 0.8, 0.95])
    states = []
    method = build("stfpm", weights, protocol="paper", changes={"most_epochs": 6, "patience": 3})

    def score(prediction: Any) -> Any:
        states.append(prediction.scores.copy())
        return next(numbers)

    facts = method.fit(pictures(6), Watch(pictures(2, seed=1), score))
    assert facts.pop("proven_tensors") > 0
    assert facts == {"epochs": 5, "best_epoch": 1, "watched": [0.5, 0.9, 0.6, 0.7, 0.8]}
    assert np.array_equal(method.predict(pictures(2, seed=1)).scores, states[1])


@pytest.mark.parametrize("name", [*(m for m in METHODS if settings_for(m).get("patience")), "anomalib:cfa"])
def test_honest_protocol_runs_its_epochs_and_never_looks(name: str, weights: Any) -> None:
    """It is given the test images all the same, and must not judge them."""

    def score(prediction: Any) -> float:
        raise AssertionError("the honest protocol judged the test images")

    facts = build(name, weights).fit(pictures(6), Watch(pictures(2, seed=1), score))
    assert facts.pop("proven_tensors") > 0
    assert facts == {"epochs": SMALL[name]["epochs"]}


def test_paper_protocol_uses_the_era_s_optimisers_and_crop(weights: Any) -> None:
    stfpm = build("stfpm", weights, protocol="paper").module.configure_optimizers()
    rd = build("rd", weights, protocol="paper").module.configure_optimizers()
    assert stfpm.defaults["weight_decay"] == 1e-4
    assert rd.defaults["betas"] == (0.5, 0.999)
    assert build_method("patchcore", weights, protocol="paper").geometry.side == 224


@pytest.mark.parametrize("name", ["patchcore", "padim"])
def test_layers_can_be_chosen(name: str, weights: Any) -> None:
    method = build(name, weights, layers=("layer1", "layer2"))
    method.fit(pictures(4))
    assert method.predict(pictures(2)).maps.shape == (2, 64, 64)
    assert not any(k.startswith("layer3") for k in method.frozen())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[patchcor]\ncoreset = 0.1", "unknown method"),
        ("[patchcore]\ncorset = 0.1", "unknown setting of patchcore 'corset'"),
        ("[patchcore]\ncoreset = 'x'", "patchcore.coreset is 'x' instead of a number"),
        ("[patchcore]\nneighbours = -1", "out of range"),
        ("[panda]\nvariant = 'dn3'", "panda.variant is 'dn3' instead of 'dn2' or 'early'"),
        ("coreset = 1", "one table per method"),
        ("[patchcore]\nlayers = []", "patchcore.layers is empty"),
        ("[panda]\nvariant = 'ewc'", "panda.variant 'ewc', .* is gone: use 'early' or 'dn2'"),
        ("[patchcore", "give a table per method in TOML or JSON"),
    ],
)
def test_bad_overrides_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "o.toml").write_text(text)

    def read() -> None:
        for method, table in read_overrides(tmp_path / "o.toml").items():
            settings_for(method, overrides=table)

    with pytest.raises(EvaluationError, match=message):
        read()


def test_overrides_reach_the_settings(tmp_path: Path) -> None:
    (tmp_path / "o.toml").write_text("[patchcore]\ncoreset = 1\n[padim]\nlayers = ['layer1', 'layer2']\n")
    overrides = read_overrides(tmp_path / "o.toml")
    assert settings_for("patchcore", overrides=overrides["patchcore"])["coreset"] == 1.0
    assert settings_for("padim", overrides=overrides["padim"])["layers"] == ["layer1", "layer2"]


def test_the_lengths_in_the_documents_are_the_settings() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text().partition("### What a method needs")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in text.splitlines() if line.startswith("| ")]
    lengths = {row[0]: row[1:] for row in rows if row[0] in METHODS and len(row) == 4}
    trained = {name: table for name in METHODS if "most_epochs" in (table := settings_for(name))}
    assert set(trained) == {"fastflow", "cflow", "rd", "stfpm"}
    for name, table in trained.items():
        written = [str(table[key] or "none") for key in ("epochs", "most_epochs", "patience")]
        assert lengths[name] == written, name


def test_patchcore_finds_the_nearest_neighbours(weights: Any, fitted: Any) -> None:
    method, _, _ = fitted("patchcore")
    model = method.module.model
    queries = torch.randn(50, model.memory_bank.shape[1], generator=torch.Generator().manual_seed(1)) * 0.1 + 0.5
    distance, place = model.nearest_neighbors(queries, 3)
    exact = ((queries[:, None].double() - model.memory_bank[None].double()) ** 2).sum(2).sqrt()
    nearest = exact.topk(3, largest=False)
    assert torch.allclose(distance.double(), nearest.values, rtol=1e-6)
    assert torch.equal(place, nearest.indices)
    assert torch.equal(model.nearest_neighbors(queries, 1)[0], distance[:, 0])


def test_ctrl_c_while_lightning_trains_is_an_interruption(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build("stfpm", weights)

    def press(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(method.module, "training_step", press)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            method.fit(pictures(8))
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores it from then on
