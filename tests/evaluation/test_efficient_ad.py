"""EfficientAD: its teacher is the one of the weights, its penalty pictures are rendered, and nothing is fetched."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import build_method, check_fit, settings_for
from fracgen_eval.methods.efficient_ad import EfficientAd, EfficientAdSettings
from fracgen_eval.weights.backbones import WeightsSpec, load_weights
from safetensors.torch import save_file
from torch import Tensor

from fracgen.networks import patch_description


def method(seed: int = 0, weights: str = "random", side: int = 128) -> EfficientAd:
    own = EfficientAdSettings(image_size=side, steps=2, penalty_pictures=2)
    return EfficientAd(own, load_weights(WeightsSpec.parse(weights), "pdn_small"), seed, "cpu")


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randint(0, 256, (3, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def fitted(images: Tensor) -> EfficientAd:
    made = method()
    facts = made.fit(images)
    assert facts["steps"] == 2
    assert facts["held_for_quantiles"] == 1
    assert facts["proven_tensors"] == 8
    return made


def test_the_teacher_is_anomalibs_with_the_files_tensors(fitted: EfficientAd, images: Tensor) -> None:
    from anomalib.models.image.efficient_ad.torch_model import SmallPatchDescriptionNetwork

    theirs = SmallPatchDescriptionNetwork(384)
    theirs.load_state_dict(fitted.weights.tensors, strict=True)
    mine = patch_description()
    mine.load_state_dict(fitted.weights.tensors, strict=True)
    net = load_weights(WeightsSpec.parse("random"), "pdn_small")
    shown, mean, std = images / 255, *(torch.tensor(part)[:, None, None] for part in (
        net.normalisation.mean, net.normalisation.std))  # fmt: skip
    wanted = theirs(shown)
    assert torch.equal(mine((shown - mean) / std), wanted)
    assert torch.equal(fitted.module.model.teacher(shown), wanted)


def test_equal_seeds_give_equal_scores_which_a_kept_state_repeats(fitted: EfficientAd, images: Tensor) -> None:
    found = fitted.predict(images)
    assert found.maps is not None
    assert found.maps.shape == (3, 128, 128)
    assert (found.scores == found.maps.max((1, 2))).all()
    again = method()
    again.fit(images)
    assert (again.predict(images, batch=1).scores == pytest.approx(found.scores, rel=1e-4))
    restored = method(seed=5)
    restored.restore(fitted.state())
    assert (restored.predict(images).scores == found.scores).all()


def test_the_held_pictures_set_the_quantiles(fitted: EfficientAd) -> None:
    quantiles = {name: float(value.detach()) for name, value in fitted.module.model.quantiles.items()}
    assert 0 < quantiles["qa_st"] < quantiles["qb_st"]
    assert 0 < quantiles["qa_ae"] < quantiles["qb_ae"]


def test_penalty_pictures_are_rendered_and_seeded() -> None:
    one, same, other = (method(seed)._penalty() for seed in (1, 1, 2))
    drawn = [next(one)[0] for _ in range(6)]
    assert all(torch.equal(picture, next(same)[0]) for picture in drawn)
    assert not all(torch.equal(picture, next(other)[0]) for picture in drawn)
    for picture in drawn:
        assert picture.shape == (1, 3, 128, 128)
        assert 0 <= picture.amin() < picture.amax() <= 1


@pytest.mark.parametrize(("side", "kernel"), [(128, 4), (192, 6), (256, 8), (320, 8)])
def test_the_autoencoder_is_anomalibs_but_for_small_pictures(side: int, kernel: int) -> None:
    made = method(side=side)
    assert made.module.model.ae.encoder.enconv6.kernel_size == (kernel, kernel)
    with torch.no_grad():
        maps = made.module.model.eval()(torch.rand(1, 3, side, side)).anomaly_map
    assert maps.shape[-2:] == (side, side)


def test_what_does_not_fit_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = settings_for("efficient_ad")
    with pytest.raises(EvaluationError, match="resnet18 is none: use --model pdn_small"):
        check_fit("efficient_ad", "resnet18", usual, 9)
    with pytest.raises(EvaluationError, match="pdn_small is for efficient_ad and no other method"):
        check_fit("patchcore", "pdn_small", settings_for("patchcore"), 9)
    with pytest.raises(EvaluationError, match="pdn_small is for efficient_ad and no other method"):
        check_fit("panda", "pdn_small", settings_for("panda"), 9)
    with pytest.raises(EvaluationError, match="needs pictures of 128 px or more, and these have 96"):
        check_fit("efficient_ad", "pdn_small", usual | {"image_size": 96}, 9)
    with pytest.raises(EvaluationError, match="needs 2 training images or more"):
        check_fit("efficient_ad", "pdn_small", usual, 1)
    with pytest.raises(EvaluationError, match=r"batch = 4 is out of range: use 1 at most"):
        settings_for("efficient_ad", overrides={"batch": 4})
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_: tmp_path)
    with pytest.raises(EvaluationError, match="teacher is not in Anomalib's cache, and nothing is downloaded"):
        method(weights="imagenet")
    file = tmp_path / "pre_trained" / "efficientad_pretrained_weights" / "pretrained_teacher_small.pth"
    file.parent.mkdir(parents=True)
    torch.save(patch_description().state_dict(), file)
    assert method(weights="imagenet").places
    wrong = {name: value[:, :2] if name == "conv2.weight" else value
             for name, value in patch_description().state_dict().items()}  # fmt: skip
    save_file({name: value.contiguous() for name, value in wrong.items()}, tmp_path / "wrong.safetensors")
    with pytest.raises(EvaluationError, match="not the tensors of a pdn_small"):
        method(weights=f"mine={tmp_path / 'wrong.safetensors'}")


def test_it_is_built_by_its_name() -> None:
    weights = load_weights(WeightsSpec.parse("random"), "pdn_small")
    assert isinstance(build_method("efficient_ad", weights, {"image_size": 128}), EfficientAd)
