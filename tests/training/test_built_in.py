"""Weights that come with the package: what is in the box, and how it is opened."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.backbones import WeightsSpec, build_backbone, load_weights
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

import fracgen
from fracgen.networks import create
from fracgen.training import built_in, checkpoint
from fracgen.training.built_in import WEIGHTS, digest, initial_file, models, name_of, names, weights_file
from fracgen.training.export import export
from fracgen.training.folder import RunFolder
from tests.malformed import one_line

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

NINTH = "resnet18.twins_9"


@pytest.fixture
def box(finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A box with the small run's ResNet-18, the ninth of its kind."""
    export(finished, tmp_path / NINTH, classifier=False, half=True)
    monkeypatch.setattr(built_in, "WEIGHTS", tmp_path)
    return tmp_path


def features(run: RunFolder) -> torch.Tensor:
    model = create("resnet18", 2, 32, 1)
    model.load_state_dict(checkpoint.newest(run.checkpoints)[0]["model"])
    model.fc = torch.nn.Identity()
    made: torch.Tensor = model.eval()(IMAGES)
    return made


def test_the_network_is_ready_and_says_what_it_expects(box: Path, finished: RunFolder) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    network = fracgen.pretrained("resnet18")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not network.training
    assert {part.dtype for part in network.parameters()} == {torch.float32}
    torch.testing.assert_close(network(IMAGES), features(finished), rtol=0.02, atol=0.02)  # 11 bits a weight
    assert network.pretrained_cfg["mean"] == [0.1, 0.2, 0.3]  # type: ignore[index]


def test_a_plain_name_means_the_newest_and_a_tag_its_own(box: Path, tmp_path: Path) -> None:
    tenth = tmp_path / "resnet18.other_10"
    shutil.copytree(box / NINTH, tenth)
    (tmp_path / "resnet18.notes").mkdir()
    tensors = {name: tensor + 1 for name, tensor in load_file(tenth / "model.safetensors").items()}
    save_file(tensors, tenth / "model.safetensors")
    assert names() == [NINTH, "resnet18.other_10"]
    assert models() == ["resnet18"]
    bias = [fracgen.pretrained(name).state_dict()["bn1.bias"] for name in (NINTH, "resnet18", "resnet18.other_10")]
    torch.testing.assert_close(bias[0] + 1, bias[1], rtol=0, atol=1e-3)
    assert torch.equal(bias[1], bias[2])
    texts = ("fractal.twins_9", "fractal", f"mine={box / NINTH}")
    records = [load_weights(WeightsSpec.parse(text), "resnet18").describe() for text in texts]
    assert [record["tag"] for record in records] == ["twins_9", "other_10", "twins_9"]
    assert records[0]["source"] == records[2]["source"] == "fracgen's resnet18.twins_9"
    assert records[0]["digest"] == records[2]["digest"] != records[1]["digest"]
    assert name_of(digest(weights_file(NINTH))) == NINTH
    assert initial_file("fractal.twins_9", "resnet18") == weights_file(NINTH)
    with one_line("weights 'resnet18.twins_8': of resnet18 it has resnet18.twins_9, resnet18.other_10"):
        fracgen.pretrained("resnet18.twins_8")
    with pytest.raises(EvaluationError, match=r"weights 'resnet18\.twins_8': of resnet18 it has"):
        load_weights(WeightsSpec.parse("fractal.twins_8"), "resnet18")
    with pytest.raises(EvaluationError, match=r"unknown weights 'fractal\.eight': use .*, fractal\.TAG or name=FILE"):
        WeightsSpec.parse("fractal.eight")


def test_half_precision_halves_the_file(box: Path, finished: RunFolder, tmp_path: Path) -> None:
    whole = export(finished, tmp_path / "whole", classifier=False)
    sizes = [(where / "model.safetensors").stat().st_size for where in (box / NINTH, whole)]
    assert 0.49 < sizes[0] / sizes[1] < 0.51


def test_timm_and_the_evaluation_take_it_strictly(box: Path) -> None:
    opened = timm.create_model(f"local-dir:{box / NINTH}", pretrained=True).eval()
    network = fracgen.pretrained("resnet18")
    torch.testing.assert_close(opened(IMAGES), network(IMAGES))
    weights = load_weights(WeightsSpec.parse("fractal"), "resnet18")
    assert (weights.normalisation.mean, weights.norm) == ((0.1, 0.2, 0.3), "file")
    torch.testing.assert_close(build_backbone(weights)(IMAGES), network(IMAGES))


def test_models_that_are_not_in_the_box_are_refused(box: Path) -> None:
    with pytest.raises(ValueError, match=r"weights of 'resnet50' \(there are those of resnet18\): make some with"):
        fracgen.pretrained("resnet50")
    with pytest.raises(EvaluationError, match="no fractal weights of 'resnet50'"):
        load_weights(WeightsSpec.parse("fractal"), "resnet50")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "is a Git LFS pointer"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "no whole safetensors file"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.with_name("config.json").write_text("{"), r"config\.json .*: restore it"),
    ],
)
def test_a_damaged_box_is_one_line(change: Callable[[Path], object], message: str, box: Path) -> None:
    change(box / NINTH / "model.safetensors")
    with one_line(message):
        fracgen.pretrained("resnet18")


@pytest.mark.skipif(not models(), reason="this release brings no weights")
def test_what_the_package_brings_is_whole_and_small() -> None:
    for model in names():
        network = fracgen.pretrained(model)
        assert not any(value.isnan().any() for value in network.state_dict().values())
        beside = {path.name for path in weights_file(model).parent.iterdir()}
        assert beside == {"model.safetensors", "README.md", "config.json", "environment.json"}
    newest, every = (sum(weights_file(name).stat().st_size for name in some) for some in (models(), names()))
    assert newest <= 45_000_000
    assert every <= 58_000_000  # so that a wheel stays below 60 MB


@pytest.mark.parametrize("name", [name for name in names() if timm.is_model(name.partition(".")[0])])
def test_timm_alone_gives_the_same_features_at_any_size(name: str) -> None:
    model, file = name.partition(".")[0], weights_file(name)
    create = partial(timm.create_model, model, num_classes=0)
    bare = (create(dynamic_img_size=True) if "vit" in model else create()).eval()
    bare.load_state_dict(load_file(file), strict=True)
    opened, network = timm.create_model(f"local-dir:{file.parent}", pretrained=True).eval(), fracgen.pretrained(name)
    for side in (96, 128, 224):
        images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))
        with torch.no_grad():
            made = network(images)
            assert torch.equal(opened(images), made)
            if isinstance(network, VisionTransformer) and isinstance(bare, VisionTransformer):
                tokens = network.forward_features(images)
                assert tokens.shape == (1, 1 + (side // 16) ** 2, 192)
                assert torch.equal(bare.forward_features(images), tokens)
            else:
                assert torch.equal(bare(images), made)


@pytest.mark.parametrize("name", names())
def test_the_files_in_the_box_are_those_their_cards_speak_of(name: str) -> None:
    about = json.loads((WEIGHTS / name / "config.json").read_text())
    sha256, card = digest(weights_file(name)), (WEIGHTS / name / "README.md").read_text()
    assert sha256 == about["fracgen"]["weights_sha256"]
    assert name == f"{about['architecture']}.{about['pretrained_cfg']['tag']}"
    assert f"`{sha256}`" in card
    assert f"\n# {name}\n" in card


@pytest.mark.parametrize("name", names())
def test_loading_as_the_cards_in_the_box_show_it_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WEIGHTS / name)
    exec((WEIGHTS / name / "README.md").read_text().split("```python")[1].split("```")[0], {})
