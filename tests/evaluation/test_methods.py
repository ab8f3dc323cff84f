"""The eight methods and three of Anomalib's others: whose weights they use, and that scores hang on images alone."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import METHODS, Method, Prediction, Watch, build_method, settings_for
from fracgen_eval.methods.base import Table
from fracgen_eval.methods.cutpaste import CutPaste
from fracgen_eval.methods.engine import AnomalibMethod, AnomalibSettings
from fracgen_eval.methods.panda import Panda
from fracgen_eval.methods.settings import IMAGE_LEVEL, read_overrides
from fracgen_eval.weights.backbones import Weights, WeightsSpec, load_weights
from safetensors.torch import save_file
from torchvision.models import get_model

from fracgen.weights import read_weights
from tests.evaluation.methods import SMALL, check_frozen, made, pictures

assert set(METHODS) < set(SMALL)
Fitted = Callable[[str], Method]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """A file as a user brings it."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    torch.manual_seed(11)
    state = get_model("resnet18", weights=None).state_dict()
    for key, tensor in state.items():
        if "running_mean" in key or key.endswith("bn1.bias"):
            tensor.normal_(0, 0.05)
    save_file(state, path, {"mean": "[0.4, 0.5, 0.6]", "std": "[0.3, 0.4, 0.5]"})
    return load_weights(WeightsSpec("mine", path), "resnet18")


def build(
    name: str, weights: Weights, changes: Table | None = None, *, protocol: str = "honest"
) -> AnomalibMethod[AnomalibSettings]:
    """One of Anomalib's models."""
    return made(AnomalibMethod, name, weights, SMALL[name] | (changes or {}), protocol=protocol)


@pytest.fixture(scope="module")
def fitted(weights: Weights) -> Fitted:
    """Every method, fitted once."""

    @functools.cache
    def get(name: str) -> Method:
        method = build_method(name, weights, SMALL[name])
        check_frozen(method, weights, 8)
        return method

    return get


@pytest.mark.parametrize("name", SMALL)
def test_the_frozen_network_holds_exactly_the_files_tensors(name: str, fitted: Fitted) -> None:
    after = fitted(name).frozen()
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer2.1.bn2.running_var"} <= set(after)


@pytest.mark.parametrize("name", ["stfpm", "rd"])
def test_students_and_decoders_are_not_pretrained(name: str, weights: Weights) -> None:
    module = build(name, weights).module.model
    other = module.get_submodule("student_model.feature_extractor" if name == "stfpm" else "decoder")
    shapes = {tuple(v.shape): v for k, v in weights.tensors.items() if v.ndim == 4}
    for tensor in other.state_dict().values():
        if tuple(tensor.shape) in shapes:
            assert not any(torch.equal(tensor, w) for w in weights.tensors.values() if w.shape == tensor.shape)
    assert all(p.requires_grad for p in other.parameters())


def first_convolution(method: Method) -> torch.nn.Module:
    if not isinstance(method, AnomalibMethod):
        assert isinstance(method, (Panda, CutPaste))
        return method.network.get_submodule("conv1")
    (key,) = (key for key, tensor in method.places.items() if tensor == "conv1.weight")
    found: torch.nn.Module = method.module.model.get_submodule(key.removesuffix(".weight"))
    return found


@pytest.mark.parametrize("name", SMALL)
def test_the_backbones_own_normalisation_reaches_the_network(name: str, fitted: Fitted) -> None:
    """The frozen network's first layer sees (x / 255 - mean) / std of the file."""
    seen: list[torch.Tensor] = []
    first = first_convolution(fitted(name))
    hook = first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach().clone()))
    images = pictures(2, seed=5)
    fitted(name).predict(images)
    hook.remove()
    mean, std = (torch.tensor(values)[:, None, None] for values in ([0.4, 0.5, 0.6], [0.3, 0.4, 0.5]))
    assert torch.allclose(seen[0], (images.float() / 255 - mean) / std, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_scores_have_the_right_form_and_do_not_depend_on_the_batch_size(name: str, fitted: Fitted) -> None:
    """CFLOW's maps do, which is why it is judged in batches of sixteen whatever is asked."""
    images, near = pictures(7, seed=3), 0 if name == "cflow" else 1e-5
    whole, parts = (fitted(name).predict(images, batch=size) for size in (7, 3))  # the last part is a single picture
    assert whole.scores.shape == (7,)
    assert whole.scores.dtype == np.float32
    assert np.isfinite(whole.scores).all()
    assert np.allclose(parts.scores, whole.scores, rtol=near, atol=0)
    assert (whole.maps is None) == (name in IMAGE_LEVEL)
    if whole.maps is not None:
        assert parts.maps is not None
        assert np.isfinite(whole.maps).all()
        assert np.allclose(parts.maps, whole.maps, rtol=near, atol=near * np.abs(whole.maps).max())


@pytest.mark.parametrize("name", SMALL)
def test_a_fitted_state_can_be_saved_and_taken_up(name: str, weights: Weights, fitted: Fitted, tmp_path: Path) -> None:
    save_file(fitted(name).state(), tmp_path / "fitted.safetensors")
    other = build_method(name, weights, SMALL[name], seed=99)
    other.restore(read_weights(tmp_path / "fitted.safetensors").tensors)
    images = pictures(3, seed=4)
    assert np.array_equal(other.predict(images).scores, fitted(name).predict(images).scores)


@pytest.mark.parametrize("name", SMALL)
def test_fitting_again_with_the_same_seed_gives_the_same_scores(name: str, weights: Weights, fitted: Fitted) -> None:
    again = build_method(name, weights, SMALL[name])
    torch.rand(3), np.random.rand(3)  # the state of global generators must not matter
    again.fit(pictures(8))
    images = pictures(3, seed=4)
    assert np.array_equal(again.predict(images).scores, fitted(name).predict(images).scores)


def test_global_generators_are_left_as_they_were(weights: Weights) -> None:
    torch.manual_seed(3), np.random.seed(3)
    expected = torch.rand(2), np.random.rand(2)
    torch.manual_seed(3), np.random.seed(3)
    build("padim", weights).fit(pictures(4))
    assert torch.equal(torch.rand(2), expected[0])
    assert np.array_equal(np.random.rand(2), expected[1])


@pytest.mark.parametrize("name", ["patchcore", "stfpm", "anomalib:cfa"])
def test_nothing_is_printed_and_no_file_written(
    name: str, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    method = build(name, weights)
    method.fit(pictures(6))
    method.predict(pictures(2))
    assert capfd.readouterr() == ("", "")
    assert not os.listdir(tmp_path)


def test_paper_protocol_stops_early_and_keeps_the_best_state(weights: Weights) -> None:
    numbers = iter([0.5, 0.9, 0.6, 0.7, 0.8, 0.95])
    states = []
    method = build("stfpm", weights, {"most_epochs": 6, "patience": 3}, protocol="paper")

    def score(prediction: Prediction) -> float:
        states.append(prediction.scores.copy())
        return next(numbers)

    facts = method.fit(pictures(6), Watch(pictures(2, seed=1), score))
    assert facts.pop("proven_tensors")
    assert facts == {"epochs": 5, "best_epoch": 1, "watched": [0.5, 0.9, 0.6, 0.7, 0.8]}
    assert np.array_equal(method.predict(pictures(2, seed=1)).scores, states[1])


@pytest.mark.parametrize("name", [*(m for m in METHODS if settings_for(m).get("patience")), "anomalib:cfa"])
def test_honest_protocol_runs_its_epochs_and_never_looks(name: str, weights: Weights) -> None:
    """It is given the test images all the same, and must not judge them."""

    def score(prediction: Prediction) -> float:
        raise AssertionError("the honest protocol judged the test images")

    facts = build(name, weights).fit(pictures(6), Watch(pictures(2, seed=1), score))
    assert facts.pop("proven_tensors")
    assert facts == {"epochs": SMALL[name]["epochs"]}


def test_paper_protocol_uses_the_era_s_optimisers_and_crop(weights: Weights) -> None:
    stfpm, rd = (build(name, weights, protocol="paper").module.configure_optimizers() for name in ("stfpm", "rd"))
    assert isinstance(stfpm, torch.optim.Optimizer)
    assert isinstance(rd, torch.optim.Optimizer)
    assert stfpm.defaults["weight_decay"] == 1e-4
    assert rd.defaults["betas"] == (0.5, 0.999)
    assert build_method("patchcore", weights, protocol="paper").geometry.side == 224


@pytest.mark.parametrize("name", ["patchcore", "padim"])
def test_layers_can_be_chosen(name: str, weights: Weights) -> None:
    method = build_method(name, weights, SMALL[name], layers=("layer1", "layer2"))
    method.fit(pictures(4))
    maps = method.predict(pictures(2)).maps
    assert maps is not None
    assert maps.shape == (2, 64, 64)
    assert not any(k.startswith("layer3") for k in method.frozen())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[patchcor]\ncoreset = 0.1", "unknown method"),
        ("[patchcore]\ncorset = 0.1", "unknown setting of patchcore 'corset'"),
        ("[patchcore]\nneighbours = -1", "out of range"),
        ("[panda]\nvariant = 'dn3'", "panda.variant is 'dn3' instead of 'dn2' or 'early'"),
        ("coreset = 1", "one table per method"),
        ("[patchcore]\nlayers = []", "patchcore.layers is empty"),
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


def test_ctrl_c_while_lightning_trains_is_an_interruption(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    method = build("stfpm", weights)

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(method.module, "training_step", press)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            method.fit(pictures(8))
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores it from then on
