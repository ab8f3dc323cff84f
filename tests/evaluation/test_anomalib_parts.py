"""What is replaced or rebuilt of Anomalib, beside Anomalib's own: a release that changes its side fails by name."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from fracgen_eval.methods.anomalib.distillation import _bottleneck, _decoder
from fracgen_eval.methods.anomalib.fastflow import build_fastflow
from fracgen_eval.methods.anomalib.padim_gaussian import DIAGONAL, PlaceBlocks, block_gaussian
from fracgen_eval.methods.anomalib.parts import Parts
from fracgen_eval.methods.anomalib.patchcore import PatchStore, _nearest, _subsample
from fracgen_eval.methods.anomalib.quiet import quiet, seeded
from fracgen_eval.methods.anomalib.stfpm import build_stfpm
from fracgen_eval.methods.settings import settings_for
from fracgen_eval.weights.network import network

with quiet():
    from anomalib.models import Fastflow, ReverseDistillation, Stfpm
    from anomalib.models.components import AnomalibModule, MultiVariateGaussian, TimmFeatureExtractor
    from anomalib.models.components.backbone.resnet_decoder import ResNetDecoder, de_resnet18
    from anomalib.models.components.sampling import k_center_greedy
    from anomalib.models.image.fastflow.torch_model import FastflowModel
    from anomalib.models.image.padim.torch_model import PadimModel
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from anomalib.models.image.reverse_distillation.components import bottleneck
    from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel
    from anomalib.models.image.stfpm.torch_model import STFPMModel

REPLACED = {
    "patchcore.py: the search": (PatchcoreModel.nearest_neighbors, "ce80d0cbda50"),
    "patchcore.py: who asks the search": (PatchcoreModel.compute_anomaly_score, "d0f111e43419"),
    "patchcore.py: the bar that is switched off": (k_center_greedy.KCenterGreedy.select_coreset_idxs, "8f4c778594c3"),
    "patchcore.py: who keeps the patches": (PatchcoreModel.forward, "8bdab6f5ebc2"),
    "patchcore.py: the coreset": (PatchcoreModel.subsample_embedding, "71ebd9586eb1"),
    "padim_gaussian.py: who keeps the embeddings": (PadimModel.forward, "c3d8e78309a7"),
    "padim_gaussian.py: who fits them": (PadimModel.fit, "3ca20d98ffc3"),
    "padim_gaussian.py: the Gaussians": (MultiVariateGaussian.forward, "c5aca209fa84"),
    "padim_gaussian.py: who calls them": (MultiVariateGaussian.fit, "28a7096cfae6"),
    "stfpm.py: the model's constructor": (STFPMModel.__init__, "726f8202c57d"),
    "stfpm.py: the module's constructor": (Stfpm.__init__, "85d05280e559"),
    "fastflow.py: the model's constructor": (FastflowModel.__init__, "f02316f5667b"),
    "fastflow.py: the module's constructor": (Fastflow.__init__, "ca931a6a5acf"),
    "distillation.py: the model's constructor": (ReverseDistillationModel.__init__, "dd8128b76f4c"),
    "distillation.py: the module's constructor": (ReverseDistillation.__init__, "dda4087606d2"),
    "distillation.py: the bottleneck's constructor": (bottleneck.OCBE.__init__, "3ead21948186"),
    "distillation.py: the decoder's constructor": (ResNetDecoder.__init__, "43ebbf10306a"),
    "models.py: STFPM's optimiser": (Stfpm.configure_optimizers, "62d1f6204105"),
    "models.py: Reverse Distillation's optimiser": (ReverseDistillation.configure_optimizers, "9131367a1a0b"),
    "parts.py: every module's constructor": (AnomalibModule.__init__, "f9382895e110"),
    "needs.py: names with 'vit'": (TimmFeatureExtractor.__init__, "0bda02daac10"),
}  # fmt: skip
"""Anomalib's functions that files of methods/anomalib stand in for or rely on, as they were when that was written."""


def code_of(function: Any) -> Any:
    """First 12 hex digits of a SHA-256 over a function's source, without docstring and indentation."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    (function,) = ast.parse("\n".join(lines)).body
    assert isinstance(function, ast.FunctionDef)
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        del lines[first.lineno - 1 : first.end_lineno]
    words = " ".join(line.strip() for line in lines if line.strip())
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def check(place: Any, function: Any, written: Any) -> None:
    assert code_of(function) == written, (
        f"Anomalib changed {function.__qualname__}, for which methods/anomalib/{place} was written: compare the two, "
        f"then write {code_of(function)} here"
    )


@pytest.mark.parametrize("place", list(REPLACED))
def test_anomalibs_side_is_as_it_was(place: Any) -> None:
    check(place, *REPLACED[place])


def test_a_change_is_told_by_name() -> None:
    def forward(self: Any) -> Any:
        return 2

    with pytest.raises(AssertionError, match=r"changed .*forward, for which methods/anomalib/padim_gaussian.py"):
        check("padim_gaussian.py: the Gaussians", forward, REPLACED["padim_gaussian.py: the Gaussians"][1])


def parts(model: Any, method: Any, side: int = 64, layers: Any = ("layer1", "layer2", "layer3")) -> Any:
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Resize

    net = network(model)
    lightning = {
        "pre_processor": PreProcessor(transform=Resize((side, side))),
        "post_processor": False, "evaluator": False, "visualizer": False,
    }  # fmt: skip
    return Parts(net, net.chosen(layers), settings_for(method), side, lightning)


def same_tensors(ours: Any, theirs: Any) -> None:
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        assert torch.equal(ours[key], tensor), key


def test_the_search_finds_what_anomalibs_finds() -> None:
    torch.manual_seed(0)
    model = PatchcoreModel(["layer1"], "resnet18", pre_trained=False)
    model.memory_bank = torch.randn(200, 16)
    queries = torch.randn(50, 16)
    for k in (1, 5):
        ours, theirs = _nearest(model, queries, k), model.nearest_neighbors(queries, k)
        assert torch.equal(ours[1], theirs[1])
        assert torch.allclose(ours[0], theirs[0], rtol=1e-4)


def test_the_gaussians_are_anomalibs() -> None:
    embedding = torch.randn(9, 20, 6, 5, generator=torch.Generator().manual_seed(0))
    (mean, inverse), (ours_mean, ours) = MultiVariateGaussian().fit(embedding), block_gaussian().fit(embedding)
    assert torch.allclose(ours_mean, mean, atol=1e-6)
    assert torch.allclose(ours, inverse, rtol=1e-3, atol=1e-3 * inverse.abs().max().item())


def all_places_at_once(embedding: Any) -> Any:
    """Means and inverse covariances without blocks of places."""
    vectors = embedding.flatten(2)
    mean = vectors.mean(0)
    centred = (vectors - mean).permute(2, 1, 0)
    covariance = centred @ centred.mT / (len(vectors) - 1) + torch.eye(vectors.shape[1]) * DIAGONAL
    return mean, torch.cholesky_inverse(torch.linalg.cholesky(covariance))


@pytest.mark.parametrize(("images", "channels", "side", "batch"), [(40, 20, 16, 7), (9, 448, 16, 4), (35, 550, 16, 32)])
def test_gaussians_of_blocks_are_those_of_all_places_to_the_last_bit(
    images: Any, channels: Any, side: int, batch: Any
) -> None:
    embedding = torch.randn(images, channels, side, side, generator=torch.Generator().manual_seed(0))
    blocks = PlaceBlocks()
    blocks.expect(images)
    for part in embedding.split(batch):
        blocks.append(part)
    assert len(blocks) == images
    mean, inverse = block_gaussian().fit(blocks)
    expected = all_places_at_once(embedding)
    assert torch.equal(mean, expected[0])
    assert torch.equal(inverse, expected[1])
    assert blocks.places == 0  # each was let go


def test_the_bank_is_anomalibs_to_the_last_bit() -> None:
    patches = torch.randn(6 * 16, 12, generator=torch.Generator().manual_seed(1))
    theirs = PatchcoreModel(["layer1"], "resnet18", pre_trained=False)
    theirs.embedding_store = list(patches.split(32))
    with quiet(), seeded(2):  # it warns of its own argument
        theirs.subsample_embedding(0.25)
    ours = SimpleNamespace(embedding_store=PatchStore(16))
    ours.embedding_store.expect(6)
    for part in patches.split(32):
        ours.embedding_store.append(part)
    with seeded(2):
        _subsample(ours, 0.25)
    assert torch.equal(ours.memory_bank, theirs.memory_bank)
    assert len(ours.embedding_store) == 0


def test_fastflow_on_a_network_that_anomalib_knows_is_anomalibs() -> None:
    torch.manual_seed(0)
    theirs = FastflowModel((64, 64), "resnet18", pre_trained=False, flow_steps=8, conv3x3_only=True, hidden_ratio=1.0)
    torch.manual_seed(0)
    ours = build_fastflow(parts("resnet18", "fastflow")).model
    same_tensors(ours.state_dict(), theirs.state_dict())
    assert set(vars(theirs)) == set(vars(ours))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images).anomaly_map, theirs.eval()(images).anomaly_map)


def test_stfpm_without_a_download_is_anomalibs(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **more: create(name, pretrained=False, **more)
                        if pretrained else create(name, **more))  # fmt: skip
    torch.manual_seed(0)
    theirs = STFPMModel(["layer1", "layer2", "layer3"], "resnet18")
    torch.manual_seed(0)
    ours = build_stfpm(parts("resnet18", "stfpm")).model
    same_tensors(ours.state_dict(), theirs.state_dict())
    assert set(vars(theirs)) == set(vars(ours))


def test_distillations_parts_are_anomalibs_but_for_what_is_documented() -> None:
    ours, theirs = _bottleneck([64, 128, 256]), bottleneck.get_bottleneck_layer("resnet18")
    unused = {k for k in theirs.state_dict() if k.startswith(("conv4.", "bn4."))}
    assert shapes(ours) == {k: v for k, v in shapes(theirs).items() if k not in unused}
    decoder = _decoder([64, 128, 256])
    assert {k: v for k, v in shapes(decoder).items() if not k.startswith("ends.")} == shapes(de_resnet18())
    ours.load_state_dict({k: v for k, v in theirs.state_dict().items() if k not in unused})
    features = [torch.rand(2, c, s, s) for c, s in ((64, 16), (128, 8), (256, 4))]
    with torch.no_grad():
        code = ours.eval()(features)
        assert torch.equal(code, theirs.eval()(features))
        assert [tuple(part.shape) for part in decoder(code)] == [tuple(part.shape) for part in features]


def shapes(module: Any) -> Any:
    return {k: tuple(v.shape) for k, v in module.state_dict().items()}


def test_the_optimisers_that_the_paper_protocol_replaces_are_still_the_newer_ones() -> None:
    anything = SimpleNamespace(parameters=lambda: iter([torch.nn.Parameter(torch.zeros(1))]))
    teacher: Any = SimpleNamespace(model=SimpleNamespace(decoder=anything, bottleneck=anything))
    student: Any = SimpleNamespace(model=SimpleNamespace(student_model=anything))
    rd = ReverseDistillation.configure_optimizers(teacher).defaults
    stfpm = Stfpm.configure_optimizers(student).defaults
    assert (rd["lr"], rd["betas"]) == (0.005, (0.5, 0.99)), "protocol 'paper' uses betas (0.5, 0.999)"
    assert (stfpm["lr"], stfpm["momentum"], stfpm["weight_decay"]) == (0.4, 0.9, 0.001), "'paper' decays by 1e-4"


def test_the_objective_damage_compares_the_patches_that_anomalibs_patchcore_compares() -> None:
    from fracgen.training.losses import neighbourhoods

    model = PatchcoreModel(layers=["layer2", "layer3"], backbone="resnet18", pre_trained=False)
    maps = [torch.randn(2, 4, 12, 12), torch.randn(2, 6, 6, 6)]
    pooled = {f"layer{i + 2}": model.feature_pooler(x) for i, x in enumerate(maps)}
    assert torch.allclose(neighbourhoods(maps), model.generate_embedding(pooled), atol=1e-6)
