"""Runs that begin with given weights: which tensors they take, that a resumed run needs none, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fracgen.cli.pretrain import first_weights
from fracgen.networks import create, last_layer
from fracgen.support.decode import read_json
from fracgen.training import built_in, checkpoint
from fracgen.training.built_in import digest, initial_file
from fracgen.training.config import Machine
from fracgen.training.export import export
from fracgen.training.folder import RunFolder
from fracgen.training.run import prepare

from .conftest import TINY

SIZE = TINY.recipe.size


@pytest.fixture
def weights(finished: RunFolder) -> Path:
    return finished.export / "model.safetensors"


def begun(sha256: str, folder: Path, *, path: Path | None, max_steps: int | None = None) -> RunFolder:
    """A run that begins with weights, or, without their file, goes on."""
    config = dataclasses.replace(TINY, seed=7, ema=0.5, initial=sha256)
    resume = "auto" if path is None else None
    run = prepare(config, RunFolder(folder), Machine("cpu", max_steps=max_steps), initial=path, resume=resume)
    run.train()
    return run.folder


def test_all_but_the_last_layer_is_as_given(weights: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, seed=7, ema=0.5, initial=digest(weights))
    run = prepare(config, RunFolder(tmp_path / "run"), Machine("cpu"), initial=weights)
    given, model, outputs = load_file(weights), run.model, 2
    fresh = create(TINY.model, outputs, SIZE, 7).state_dict()
    assert run.average is not None
    for name, tensor in model.state_dict().items():
        last = name.startswith(last_layer(model, outputs) + ".")
        assert torch.equal(tensor, fresh[name] if last else given[name]), name
        assert torch.equal(run.average.model.state_dict()[name], tensor)


def test_a_run_that_is_resumed_needs_no_file_and_ends_with_the_same_bits(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = digest(weights)
    whole = begun(sha256, tmp_path / "whole", path=weights)
    begun(sha256, tmp_path / "parts", path=weights, max_steps=1)
    parts = begun(sha256, tmp_path / "parts", path=None)
    one, two = (checkpoint.newest(run.checkpoints)[0]["model"] for run in (whole, parts))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert f"those of SHA-256 `{sha256}`, but for the last layer" in (whole.export / "README.md").read_text()
    shutil.copytree(weights.parent, tmp_path / "resnet18.twins_3")
    monkeypatch.setattr(built_in, "WEIGHTS", tmp_path)
    assert f"resnet18.twins_3 of SHA-256 `{sha256}`" in (export(whole) / "README.md").read_text()
    assert read_json(whole.export / "config.json")["fracgen"]["initial"] == "resnet18.twins_3"


def test_the_same_command_goes_on_when_the_file_is_gone(weights: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    folder = RunFolder(tmp_path / "run")
    assert first_weights(str(copy), TINY.model, None) == (copy, digest(weights))
    begun(digest(weights), folder.path, path=copy, max_steps=1)
    copy.unlink()
    assert first_weights(str(copy), TINY.model, folder.read_config()[0]) == (None, digest(weights))
    with pytest.raises(FileNotFoundError, match="no initial weights at"):
        first_weights(str(copy), TINY.model, None)


def test_a_file_stands_for_itself_its_folder_or_the_packages(weights: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.safetensors"
    page.write_text("<html>")
    assert initial_file(str(weights), TINY.model) == initial_file(str(weights.parent), TINY.model) == weights
    assert initial_file("fractal", "resnet18").parent.name.startswith("resnet18.")
    with pytest.raises(FileNotFoundError, match="no initial weights at nowhere"):
        initial_file("nowhere", "resnet18")
    with pytest.raises(ValueError, match="is an HTML page and no weights file"):
        initial_file(str(page), "resnet18")
    with pytest.raises(ValueError, match="brings no fractal weights of 'vgg11'"):
        initial_file("fractal", "vgg11")


def test_weights_of_another_network_a_damaged_file_and_another_one_are_refused(weights: Path, tmp_path: Path) -> None:
    def refused(path: Path, message: str, initial: str = "") -> None:
        config = dataclasses.replace(TINY, initial=initial or digest(path))
        with pytest.raises(ValueError, match=message):
            prepare(config, RunFolder(tmp_path / "run"), Machine("cpu"), initial=path)
        assert not (tmp_path / "run").exists()

    tensors, first, file = load_file(weights), "conv1.weight", tmp_path / "altered.safetensors"
    for changed, message in (
        ({name: tensor for name, tensor in tensors.items() if name != first}, f"1 missing: {first}"),
        (tensors | {first: tensors[first] * float("nan")}, f"tensor {first}: .* NaN"),
        (tensors | {first: tensors[first].int()}, f"not of floats: {first} is int32"),
    ):
        save_file(changed, file)
        refused(file, message)
    file.write_bytes(weights.read_bytes()[:1000])
    refused(file, "no whole safetensors file")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(weights.read_bytes())
    (other / "config.json").write_text('{"architecture": "seresnet18"}')
    refused(other / "model.safetensors", "weights of seresnet18, as config.json beside it says")
    refused(weights, "begins with weights of SHA-256 0000", "0" * 64)
