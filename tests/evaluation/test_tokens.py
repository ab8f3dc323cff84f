"""Anomalib's models of transformers: their networks hold the file's tensors, and read what they should."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import timm
import timm.models.vision_transformer as vit
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import build_method, check_fit, settings_for
from fracgen_eval.methods.others import _classes
from fracgen_eval.methods.quiet import quiet
from fracgen_eval.methods.settings import DEFAULTS, read_overrides
from fracgen_eval.methods.tokens import MODELS, known_as_small
from fracgen_eval.weights.backbones import WeightsSpec, load_weights
from fracgen_eval.weights.network import network
from fracgen_eval.weights.tokens import tokens_of
from safetensors.torch import save_file

from tests.evaluation.methods import check_frozen, pictures, random_weights
from tests.evaluation.support_table import NAMED_HERE, OTHERS, side_of, small
from tests.malformed import one_line

with quiet():
    from anomalib.models.image.rad.torch_model import RadModel

TRANSFORMERS = ("vit_tiny_patch16_224", "vit_small_patch14_dinov2", "vit_small_patch16_dinov3")
PAIRS = [
    pytest.param(name, model, marks=[] if model == TRANSFORMERS[0] or name in NAMED_HERE else pytest.mark.study)
    for name in OTHERS
    if name != "efficient_ad"
    for model in TRANSFORMERS
]


@pytest.mark.parametrize(("name", "model"), PAIRS)
def test_the_backbone_holds_exactly_the_files_tensors_before_and_after_fitting(name: str, model: str) -> None:
    weights, side = random_weights(model), side_of(model)
    if (name, model) == ("anomalib:general_ad", "vit_small_patch16_dinov3"):
        with one_line(r"leaves out one token before the grid .*dinov3 has 5: use another", EvaluationError):
            build_method(name, weights, small(name, side))
        return
    method = build_method(name, weights, small(name, side), seed=3)
    assert method.frozen().keys() == weights.tensors.keys()
    facts = check_frozen(method, weights, 4, side)
    assert facts["proven_tensors"] in (len(weights.tensors), 2 * len(weights.tensors))  # SuperADD's has two names
    images = pictures(5, 1, side)
    judged, single = method.predict(images), method.predict(images[3:4])
    assert single.scores[0] == pytest.approx(judged.scores[3], rel=1e-3)
    other = build_method(name, weights, small(name, side), seed=9)
    other.restore(method.state())
    assert other.predict(images).scores.tolist() == judged.scores.tolist()


def test_their_scores_are_those_of_anomalibs_own_with_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """RAD of ViT-Tiny at its own size, built by Anomalib, filled by hand and fitted without the adapter."""
    monkeypatch.setattr(vit, "resample_abs_pos_embed", vars(vit)["resample_abs_pos_embed"])  # put back afterwards
    weights = random_weights("vit_tiny_patch16_224")
    with quiet():
        plain = RadModel("vit_tiny_patch16_224", pre_trained=False)
    plain.get_submodule("feature_extractor.feature_extractor").load_state_dict(weights.tensors, strict=False)
    images, (mean, std) = pictures(4, side=224), (weights.normalisation.mean, weights.normalisation.std)
    inputs = (images.float() / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    plain.train()(inputs)
    plain.build_memory_bank()
    theirs = plain.eval()(inputs.flip(3))[0]
    method = build_method("rad", weights, {"image_size": 224})
    method.fit(images)
    ours = torch.from_numpy(method.predict(images.flip(3)).scores)
    assert torch.allclose(ours, theirs, rtol=1e-4)


def test_settings_that_stand_here_are_anomalibs() -> None:
    for name in ("anomaly_dino", "rad"):
        theirs = inspect.signature(_classes()[name].__init__).parameters
        for key, value in DEFAULTS[name].items():
            if key in theirs and key != "layers":
                assert theirs[key].default == value, (name, key)


def test_usual_sizes_are_those_of_the_models_own_preprocessing() -> None:
    for name, model in MODELS.items():
        if name != "patchflow":  # 768 px there, and one size with other models of flows here
            resized = _classes()[name].configure_pre_processor()(torch.zeros(1, 3, 9, 9))
            assert resized.shape[2:] == (model.side, model.side), name


@pytest.mark.parametrize(
    ("model", "blocks"), [("vit_tiny_patch16_224", range(2, 10)), ("vit_large_patch16_224", range(4, 19, 2))]
)
def test_shares_of_the_depth_name_dinomalys_own_blocks(model: str, blocks: range) -> None:
    net = network(model)
    assert [net.index(stage) for stage in net.chosen(MODELS["dinomaly"].layers)] == [*blocks]


def test_tables_of_small_networks_are_put_back() -> None:
    from anomalib.models.image.inp_former.torch_model import DINOV2_ARCHITECTURES as TABLE

    tokens, before = tokens_of("vit_tiny_patch16_224"), dict(TABLE["small"])
    assert tokens is not None
    with known_as_small("inp_former", tokens):
        assert (TABLE["small"]["embed_dim"], TABLE["small"]["num_heads"]) == (192, 3)
    assert TABLE["small"] == before


@pytest.mark.parametrize(
    ("name", "model", "changes", "message"),
    [
        ("rad", "resnet18", {}, "rad takes the tokens of a plain transformer, and resnet18 gives none .*: use --model"),
        ("anomaly_dino", "swin_tiny_patch4_window7_224", {}, "and swin_tiny_patch4_window7_224 gives none on one grid"),
        ("rad", "vit_base_patch16_siglip_224", {}, "reads a class token, and vit_base_patch16_siglip_224 has none"),
        ("rad", "vit_tiny_patch16_224", {"image_size": 250}, "takes no images of 250 x 250 px .*: set 240 px with"),
        ("anomalib:super_add", "vit_tiny_patch16_224", {"image_size": 64}, "use patch_size = 64 and patch_overlap = 1"),
        ("anomalib:super_add", "vit_small_patch14_dinov2", {}, "multiples of the 14 px of .*: use patch_size = 448 a"),
        ("anomalib:l2bt", "vit_tiny_patch16_224", {"layers": ["blocks.12"]}, "no layer 'blocks.12'"),
        ("rad", "vit_tiny_patch16_224", {"layers": ["blocks.3", "0.1"]}, "in rising order"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(name: str, model: str, changes: dict[str, object], message: str) -> None:
    with one_line(message, EvaluationError):
        check_fit(name, model, settings_for(name, overrides=changes), 20)


def test_both_names_mean_one_method(tmp_path: Path) -> None:
    from fracgen_eval.grid.plan import parse_methods

    assert parse_methods(["anomalib:rad,anomalib:padim,anomalib:l2bt"]) == ("rad", "padim", "anomalib:l2bt")
    (tmp_path / "s.toml").write_text('["anomalib:rad"]\nk_image = 5\n')
    assert read_overrides(tmp_path / "s.toml") == {"rad": {"k_image": 5}}


def test_positions_are_resampled_the_same_whatever_was_built_before() -> None:
    """Anomalib takes the low-pass away from position embeddings of the whole process; it is put back."""
    weights = random_weights("vit_tiny_patch16_224")
    made = timm.create_model("vit_tiny_patch16_224", num_classes=0, dynamic_img_size=True).eval()
    before = made(torch.ones(1, 3, 112, 112))
    build_method("anomaly_dino", weights, {"image_size": 112})
    assert torch.equal(made(torch.ones(1, 3, 112, 112)), before)


def bad_file(kind: str, path: Path) -> Path:
    """A file that holds no ViT-Tiny with patches of 16 px."""
    state = timm.create_model("vit_tiny_patch16_224", patch_size=8 if kind == "patch" else 16).state_dict()
    save_file({k: v for k, v in state.items() if k.startswith("head.") or kind != "head"}, path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:100_000])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("head", "expected the tensors of one vit_tiny_patch16_224, found none among 2 tensors: save the one backbone"),
        ("patch", r"2 wrongly shaped: .*pos_embed is \[1, 785, 192\] instead of .*Give the file of a vit_tiny_patch1"),
        ("cut", "is no whole safetensors file .*: copy or download it again"),
    ],
)
def test_a_bad_file_of_a_transformer_is_one_line(kind: str, message: str, tmp_path: Path) -> None:
    spec = WeightsSpec("mine", bad_file(kind, tmp_path / "w.safetensors"))
    with one_line(message, EvaluationError):
        load_weights(spec, "vit_tiny_patch16_224")
