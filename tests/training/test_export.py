"""Exported weights: strict in torchvision, timm and Anomalib; their own normalisation; a card that says it all."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from fracgen_eval.methods import METHODS, build_method, settings_for
from fracgen_eval.weights.backbones import WeightsSpec, load_weights
from safetensors.torch import load_file

from fracgen.networks import create
from fracgen.training import checkpoint
from fracgen.training.export import export
from fracgen.training.folder import RunFolder
from tests.fields import Fields

from .conftest import TINY, train

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return loaded


def trained(run: RunFolder) -> torch.nn.Module:
    model = create("resnet18", 2, 32, 1)
    model.load_state_dict(checkpoint.newest(run.checkpoints)[0]["model"])
    return model.eval()


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_it_loads_strictly(library: str, finished: RunFolder) -> None:
    model: torch.nn.Module
    if library == "timm":
        model = timm.create_model("resnet18", num_classes=2)
    else:
        model = torchvision.models.resnet18(num_classes=2)
    model.load_state_dict(weights(finished.export), strict=True)
    torch.testing.assert_close(model.eval()(IMAGES), trained(finished)(IMAGES))


def test_timm_opens_the_folder_with_our_normalisation(finished: RunFolder) -> None:
    model = timm.create_model(f"local-dir:{finished.export}", pretrained=True)
    torch.testing.assert_close(model.eval()(IMAGES), trained(finished)(IMAGES))
    about: Fields = vars(model)["pretrained_cfg"]
    assert about["tag"] == "fracgen_quick"
    assert (list(about["mean"]), list(about["std"])) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


def test_without_the_classifier(finished: RunFolder, tmp_path: Path) -> None:
    bare = weights(export(finished, tmp_path / "bare", classifier=False))
    assert not [name for name in bare if name.startswith("fc.")]
    timm.create_model("resnet18", num_classes=0).load_state_dict(bare, strict=True)
    model = torchvision.models.resnet18()
    model.fc = torch.nn.Identity()
    model.load_state_dict(bare, strict=True)
    assert json.loads((tmp_path / "bare/config.json").read_text())["num_classes"] == 0


def test_config_says_what_it_is_and_never_imagenet(finished: RunFolder) -> None:
    text = (finished.export / "config.json").read_text()
    about = json.loads(text)
    assert about["architecture"] == "resnet18"
    assert about["num_features"] == 512
    assert about["pretrained_cfg"]["mean"] == [0.1, 0.2, 0.3]
    assert about["pretrained_cfg"]["classifier"] == "fc"
    assert about["pretrained_cfg"]["first_conv"] == "conv1"
    assert "in1k" not in text
    assert "0.485" not in text
    assert about["fracgen"]["step"] == about["fracgen"]["steps"] == 3
    assert about["fracgen"]["images_seen"] == 20


def test_equal_runs_give_equal_files(finished: RunFolder, tmp_path: Path) -> None:
    again = train(TINY, tmp_path / "again", max_steps=2)
    again = train(TINY, again.path, resume="auto")
    for name in ("model.safetensors", "config.json", "README.md"):
        assert (again.export / name).read_bytes() == (finished.export / name).read_bytes()
    first, second = (json.loads((run.export / "environment.json").read_text()) for run in (finished, again))
    assert (len(first), len(second)) == (1, 2)
    assert first[0]["torch"] == torch.__version__
    assert first[0]["cpus"] >= 1


def test_card_names_recipe_bank_seed_accuracy_and_limits(finished: RunFolder) -> None:
    card = (finished.export / "README.md").read_text()
    sha256 = finished.read_config()[1]
    for told in (sha256, "`quick`, 32 px", "| Seed | 0", "`environment.json`", "of 8 images", "| Augmentation | none |",
                 "Known limits", "mean (0.1, 0.2, 0.3)", "20 (1.00 of 1 epochs of 20)"):  # fmt: skip
        assert told in card


@pytest.mark.parametrize("classifier", [True, False])
def test_loading_as_the_card_shows_it_works(
    classifier: bool, finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export(finished, tmp_path / "out", classifier=classifier)
    monkeypatch.chdir(folder)
    exec((folder / "README.md").read_text().split("```python")[1].split("```")[0], {})


def test_the_page_on_weights_runs(finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    export(finished, tmp_path / "weights", classifier=False)
    monkeypatch.chdir(tmp_path)
    names: Fields = {}
    blocks = [part.split("```")[0] for part in page.split("```python")[1:]]
    with warnings.catch_warnings():  # Anomalib's imports, as above
        warnings.simplefilter("ignore")
        for block in blocks:
            exec(block, names)
    assert len(blocks) == 5
    assert {name: tuple(found.shape) for name, found in names["found"].items()} == {
        "layer2": (8, 128, 16, 16), "layer3": (8, 256, 8, 8),
    }  # fmt: skip
    own = weights(tmp_path / "weights")
    for name in ("model.model.teacher_model.feature_extractor", "distillation.model.encoder.feature_extractor"):
        held = eval(name, names).state_dict()
        assert len(held) == 90
        assert all(torch.equal(tensor, own[key]) for key, tensor in held.items()), name


@pytest.mark.parametrize(
    ("name", "options", "where"),
    [
        ("Patchcore", {"layers": ("layer2", "layer3")}, "feature_extractor.feature_extractor"),
        ("Padim", {"layers": ["layer1", "layer3"], "n_features": 100}, "feature_extractor.feature_extractor"),
        ("Cflow", {"layers": ("layer2", "layer3")}, "encoder.feature_extractor"),
    ],
)
def test_anomalibs_models_take_the_folder_as_the_page_says(
    name: str, options: Fields, where: str, finished: RunFolder
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anomalib.models

        model = getattr(anomalib.models, name)(backbone=f"local-dir:{finished.export}", **options)
    held, own = model.model.get_submodule(where).state_dict(), weights(finished.export)
    assert len(held) == 90
    assert all(torch.equal(tensor, own[key]) for key, tensor in held.items())


@pytest.mark.parametrize("tensor", ["bn1.running_var", "layer2.0.conv1.weight", "fc.bias"])
def test_numbers_that_are_too_large_for_half_precision_are_not_exported(
    tensor: str, finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = checkpoint.newest(finished.checkpoints)[0]
    changed = state["model"][tensor]
    changed[(0,) * changed.dim()] = 70_000
    monkeypatch.setattr(RunFolder, "read_checkpoint", lambda *_: (state, tmp_path, []))
    with pytest.raises(ValueError, match=rf"tensor {tensor}: 1 of [\d,]+ numbers .*: export without --half"):
        export(finished, tmp_path / "half", half=True)
    assert not (tmp_path / "half").exists()
    assert weights(export(finished, tmp_path / "whole"))[tensor].max() == 70_000
    changed[(0,) * changed.dim()] = float("nan")
    with pytest.raises(ValueError, match=rf"tensor {tensor}: 1 of [\d,]+ numbers .*: export an earlier one"):
        export(finished, tmp_path / "nan")


def test_a_damaged_run_is_not_exported(finished: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(finished.path, run.path)
    run.bank.unlink()
    with pytest.raises(ValueError, match=r"the run's bank .* is missing"):
        export(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_networks_export_loads_in_all_eight_methods(tmp_path: Path) -> None:
    folder = train(dataclasses.replace(TINY, model="tf_efficientnet_lite0", epoch_size=16), tmp_path / "run")
    exported = load_weights(WeightsSpec("mine", export(folder) / "model.safetensors"), "tf_efficientnet_lite0")
    stored = weights(folder.export)
    normalisation = exported.normalisation
    assert (normalisation.mean, normalisation.std, exported.norm) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "file")
    for name in METHODS:
        held = build_method(name, exported, settings_for(name, trial=True)).frozen()
        assert all(torch.equal(tensor, stored[key]) for key, tensor in held.items()), name
        assert "conv_stem.weight" in held
