"""One description for every network: stages, pooled feature, names; and all eight methods on foreign ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import timm
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import METHODS, build_method, settings_of
from fracgen_eval.methods.patchcore import PatchCore
from fracgen_eval.weights.backbones import Weights, WeightsSpec, build_backbone, load_backbone, load_weights
from fracgen_eval.weights.network import named_stages, network
from safetensors.torch import save_file
from torchvision.models import get_model

from tests.evaluation.methods import SMALL, check_frozen, made, random_weights
from tests.evaluation.support_table import NETWORKS, OTHERS, cell, written
from tests.fields import Fields
from tests.malformed import one_line

FOREIGN = ("tf_efficientnet_lite0", "convnext_atto", "mobilenetv3_small_050", "regnety_002")
SLOW = (
    "mobilenetv3_small_050", "regnety_002", "swin_tiny_patch4_window7_224", "vit_small_patch14_dinov2",
    "vit_small_patch16_dinov3", "mobileone_s0",
)  # fmt: skip
SETTINGS = SMALL | {"panda": SMALL["panda"] | {"variant": "early", "max_steps": 1}}


def slow_marked(models: Sequence[str]) -> list[object]:
    return [pytest.param(name, marks=[pytest.mark.study] * (name in SLOW)) for name in models]


@pytest.fixture(scope="module", params=slow_marked(FOREIGN))
def weights(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Another network's file as a user brings it, no two of its tensors alike."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    torch.manual_seed(11)
    state = timm.create_model(request.param, num_classes=7).state_dict()
    for key, tensor in state.items():
        if "running_mean" in key or key.endswith("bias"):
            tensor.normal_(0, 0.05)
    save_file(state, path)
    return load_weights(WeightsSpec("mine", path), request.param)


@pytest.mark.parametrize("name", [name for name in SMALL if name != "anomalib:cfa"])  # it knows its networks by name
def test_every_method_holds_exactly_the_files_tensors_before_and_after_fitting(name: str, weights: Weights) -> None:
    check_frozen(build_method(name, weights, SETTINGS[name], seed=3), weights, 5)


def test_features_are_those_of_the_whole_network(weights: Weights) -> None:
    """Each stage's map, filled by name, equals what timm's network of the same file computes at that module."""
    net = weights.network
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen: dict[str, torch.Tensor] = {}
    whole = build_backbone(weights)
    for stage in net.stages:
        whole.get_submodule(stage.module).register_forward_hook(
            lambda module, inputs, out, layer=stage.layer: seen.update({layer: out})
        )
    part = timm.create_model(net.name, features_only=True).eval()
    load_backbone(part, weights)
    with torch.no_grad():
        pooled, features = whole(images), part(images)
    assert pooled.shape == (2, net.pooled)
    maps = net.maps(64)
    for stage, feature in zip(net.stages, features, strict=True):
        assert tuple(feature.shape[1:]) == maps[stage.layer]
        assert feature.shape[1:] == (stage.channels, 64 // stage.stride, 64 // stage.stride)
        if seen[stage.layer].shape == feature.shape:
            assert torch.allclose(feature, seen[stage.layer], atol=1e-5), stage
    assert [net.stage(f"layer{n}").stride for n in (1, 2, 3, 4)] == [4, 8, 16, 32]
    assert net.stage("layer2") is net.stage(net.stage("layer2").module)


@pytest.mark.parametrize("model", ["coat_tiny", "coat_lite_tiny", "resnet18"])
def test_stages_that_share_a_module_are_told_apart(model: str) -> None:
    """A CoaT's `parallel_blocks` gives the features of three strides; extractors take each by its number."""
    net = network(model)
    stages = net.chosen(["layer2", "layer3", "layer4"])
    assert [stage.stride for stage in stages] == [8, 16, 32]
    assert len(set(net.maps(224))) == len(net.stages)
    settings = {"image_size": 224, "layers": ["layer2", "layer3", "layer4"]}
    method = made(PatchCore, "patchcore", random_weights(model), settings)
    features = method.module.model.get_submodule("feature_extractor")(torch.zeros(1, 3, 224, 224))
    assert [tuple(f.shape[1:]) for f in features.values()] == [net.maps(224)[stage.layer] for stage in stages]
    assert [f.shape[2] for f in features.values()] == [28, 14, 7]


def test_a_module_of_several_stages_names_none_of_them() -> None:
    with pytest.raises(EvaluationError, match=r"gives 3 stages in its module 'parallel_blocks': use .* layer2 \(par"):
        network("coat_tiny").stage("parallel_blocks")
    assert network("coat_tiny").stage("serial_blocks1").layer == "layer1"
    made = named_stages([("layer2", 1, 4), ("layer2", 1, 4), ("layer3", 1, 16), ("stem", 1, 16)])
    assert [stage.layer for stage in made] == ["layer2:0", "layer1", "layer3:2", "layer3"]


@pytest.mark.parametrize(
    ("model", "modules"),
    [
        ("vit_tiny_patch16_224", [2, 5, 8, 11]),
        ("vit_small_patch14_dinov2", [2, 5, 8, 11]),
        ("mixer_s16_224", [1, 3, 5, 7]),
    ],
)
def test_layers_of_a_network_of_one_stride_end_the_quarters_of_its_depth(model: str, modules: list[int]) -> None:
    net = network(model)
    assert [net.stage(f"layer{n}").module for n in (1, 2, 3, 4)] == [f"blocks.{n}" for n in modules]
    assert net.chosen(["0.5", "1"]) == net.chosen(["layer2", "layer4"])
    assert net.stage("blocks.0").stride == net.stage("0.01").stride == net.stages[-1].stride


TRANSFORMERS = {
    "vit_tiny_patch16_224": ("fastflow", "cflow", "patchcore", "padim", "stfpm", "panda", "cutpaste"),
    "swin_tiny_patch4_window7_224": ("stfpm",), "efficientvit_b0": ("patchcore", "rd"),
    "fastvit_t8": ("padim",), "tiny_vit_5m_224": ("patchcore",), "mixer_s16_224": ("patchcore",),
}  # fmt: skip


@pytest.mark.parametrize(("model", "name"), [(model, name) for model, names in TRANSFORMERS.items() for name in names])
def test_no_network_is_refused_for_its_name(model: str, name: str) -> None:
    """Tokens are maps on their grid, channels that come last are turned, and letters of a name mean nothing."""
    weights, side = random_weights(model), 224 if model == "mixer_s16_224" else 64
    sizes = {"image_size": side} if name != "panda" else {}
    check_frozen(build_method(name, weights, SETTINGS[name] | sizes, seed=3), weights, 3, side)


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_tokens_lie_where_they_were_in_the_picture(model: str) -> None:
    """Of a picture with one bright spot the features differ there, and each is the block's own token."""
    method = made(PatchCore, "patchcore", random_weights(model), {"image_size": 128, "layers": ["0.01"]})
    plain, spot = torch.zeros(2, 1, 3, 128, 128)
    spot[..., 64:96, 0:16] = 1.0
    (features,) = method.module.model.get_submodule("feature_extractor")(torch.cat([plain, spot])).values()
    changed = (features[0] - features[1]).abs().sum(0)
    step = 128 // changed.shape[0]
    assert changed.argmax().item() // changed.shape[1] in range(64 // step, 96 // step)
    assert changed.argmax().item() % changed.shape[1] in range(16 // step)


def test_what_panda_adapts_lies_behind_stride_eight() -> None:
    assert network("resnet18").after(network("resnet18").stage("layer2"))[0] == "layer3.0.conv1.weight"
    lite = network("tf_efficientnet_lite0")
    names = lite.after(lite.stage("layer2"))
    assert names[0] == "blocks.3.0.conv_pw.weight"
    assert {"conv_head.weight", "bn2.running_var"} <= set(names)
    assert not {"classifier.weight", "blocks.2.0.conv_pw.weight"} & set(names)
    xception = network("xception41")  # a stage that is an activation inside a block
    assert xception.after(xception.stage("layer2"))[0].startswith("blocks.3.")


@pytest.mark.parametrize(
    ("model", "method", "options", "message"),
    [
        ("resnet19", "patchcore", {}, "unknown model 'resnet19'.*did you mean"),
        ("resnet50.a1_in1k", "patchcore", {}, "did you mean resnet50"),
        ("tf_efficientnet_lite0", "patchcore", {"layers": ("blocks.3",)}, r"no layer 'blocks.3'.* layer1 \(b"),
        ("convnext_atto", "padim", {"layers": ("layer3", "layer1")}, "in rising order"),
        ("convnext_atto", "panda", {"layers": ("layer3",)}, "the layers of panda cannot be chosen"),
        ("convnext_atto", "padim", {"changes": {"features": 500}}, "padim.features = 500: .* have 280 in all"),
        ("levit_128s", "patchcore", {}, r"has no layer 'layer2': use some of layer3 \(stages.0\), layer4"),
        ("beit_base_patch16_224", "panda", {"changes": {"crop": 256}}, "no images of 256 x 256 px .*: set 224 px with"),
        ("vit_tiny_patch16_224", "patchcore", {"changes": {"image_size": 250}}, "no images of 250 .*: set 240 px with"),
        ("vit_small_patch14_dinov2", "stfpm", {}, "takes no images of 256 x 256 px .*: set 252 px with --settings"),
        ("vit_tiny_patch16_224", "rd", {}, "rd needs three layers of vit_tiny.* 16, 16, 16: use anomalib:dinomaly or"),
        ("vit_tiny_patch16_224", "padim", {"layers": ("1.1",)}, "no layer '1.1': use some of blocks.0, blocks.1, lay"),
        ("tf_efficientnet_lite0", "rd", {"changes": {"image_size": 80}}, "rd needs three layers .* have 20, 10, 5"),
        ("tf_efficientnet_lite0", "rd", {"changes": {"layers": ["layer1", "layer3", "layer4"]}}, "have 64, 16, 8"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_serve_is_one_line(
    model: str, method: str, options: Fields, message: str
) -> None:
    with one_line(message, EvaluationError):
        settings_of(method, options.get("changes", {}), layers=options.get("layers")).stages(network(model))


def test_a_backbone_without_features_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.models.create_model

    def refuse(name: str, **options: object) -> torch.nn.Module:
        if options.get("features_only"):
            raise RuntimeError("features_only not implemented\nfor this model")
        return create(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(timm.models, "create_model", refuse)
    with one_line(r"'resnet26' gives no features by stage .*: use a net", EvaluationError):
        network("resnet26")


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("regnety_002").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(EvaluationError, match="expected the tensors of one convnext_atto, found none"):
        load_weights(WeightsSpec("mine", tmp_path / "w.safetensors"), "convnext_atto")
    with pytest.raises(EvaluationError, match=r"not the tensors of a regnety_004: .*wrongly shaped: s1.b1"):
        load_weights(WeightsSpec("mine", tmp_path / "w.safetensors"), "regnety_004")


def test_torchvisions_network_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    """`fracgen pretrain --model efficientnet_b0` trains torchvision's, whose tensors have other names."""
    save_file(get_model("efficientnet_b0").state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"fracgen": {"library": "torchvision"}}')
    with pytest.raises(EvaluationError, match=r"torchvision's .* names .*: pre-train timm/efficientnet_b0"):
        load_weights(WeightsSpec("mine", tmp_path / "model.safetensors"), "efficientnet_b0")


@pytest.mark.parametrize("model", slow_marked(["repvgg_a0", "mobileone_s0", "fastvit_t8"]))
def test_a_fused_file_is_loaded_to_the_last_bit_and_computes_the_same(model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = timm.create_model(model, num_classes=0).eval()
    fused = timm.models.reparameterize_model(plain).state_dict()
    save_file(fused, tmp_path / "w.safetensors")
    weights = load_weights(WeightsSpec("mine", tmp_path / "w.safetensors"), model)
    assert weights.model == f"{model}:fused"
    assert weights.tensors.keys() == fused.keys()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        pooled = plain(images)
        assert torch.allclose(build_backbone(weights)(images), pooled, atol=1e-3 * pooled.abs().max().item())
    check_frozen(build_method("patchcore", weights, {"image_size": 64}), weights, 3)


@pytest.mark.parametrize("model", slow_marked(NETWORKS))
def test_the_documents_table_says_what_runs_and_what_refuses(model: str) -> None:
    """Each pair is built, and the backbone's tensors are compared with the weights; the script writes what is found."""
    row = written()[model]
    assert row == {method.rpartition(":")[2]: cell(method, model) for method in (*METHODS, *OTHERS)}


def test_random_weights_differ_by_network_and_not_by_call() -> None:
    first = load_weights(WeightsSpec.parse("random"), "convnext_atto")
    assert first.digest == load_weights(WeightsSpec.parse("random"), "timm/convnext_atto").digest
    assert first.source == "timm's initialisation, seed 0"
    assert first.digest != load_weights(WeightsSpec.parse("random"), "convnext_femto").digest
