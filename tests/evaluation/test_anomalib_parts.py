"""What is replaced or rebuilt of Anomalib, beside Anomalib's own: a release that changes its side fails by name."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from fracgen_eval.methods.distillation import _bottleneck, _decoder
from fracgen_eval.methods.engine import _blur_by_lines
from fracgen_eval.methods.padim import DIAGONAL, PlaceBlocks
from fracgen_eval.methods.patchcore import PatchStore, _subsample
from fracgen_eval.methods.quiet import quiet, seeded

with quiet():
    from anomalib.models import ReverseDistillation, Stfpm
    from anomalib.models.components import GaussianBlur2d, MultiVariateGaussian, TimmFeatureExtractor
    from anomalib.models.components.backbone.resnet_decoder import ResNetDecoder, de_resnet18
    from anomalib.models.components.sampling import k_center_greedy
    from anomalib.models.image.fastflow.torch_model import FastflowModel
    from anomalib.models.image.padim.torch_model import PadimModel
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel
    from anomalib.models.image.reverse_distillation.components import bottleneck
    from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel

REPLACED: dict[str, tuple[Callable[..., object], str]] = {
    "patchcore.py: the search": (PatchcoreModel.nearest_neighbors, "ce80d0cbda50"),
    "patchcore.py: who asks the search": (PatchcoreModel.compute_anomaly_score, "d0f111e43419"),
    "patchcore.py: the bar that is switched off": (k_center_greedy.KCenterGreedy.select_coreset_idxs, "8f4c778594c3"),
    "patchcore.py: who keeps the patches": (PatchcoreModel.forward, "8bdab6f5ebc2"),
    "patchcore.py: the coreset": (PatchcoreModel.subsample_embedding, "71ebd9586eb1"),
    "padim.py: who keeps the embeddings": (PadimModel.forward, "c3d8e78309a7"),
    "padim.py: who fits them": (PadimModel.fit, "3ca20d98ffc3"),
    "padim.py: the Gaussians": (MultiVariateGaussian.forward, "c5aca209fa84"),
    "fastflow.py: who asks for maps by a known name": (FastflowModel.__init__, "f02316f5667b"),
    "distillation.py: who asks for the two parts": (ReverseDistillationModel.__init__, "dd8128b76f4c"),
    "distillation.py: the bottleneck's constructor": (bottleneck.OCBE.__init__, "3ead21948186"),
    "distillation.py: the decoder's constructor": (ResNetDecoder.__init__, "43ebbf10306a"),
    "distillation.py: the optimiser": (ReverseDistillation.configure_optimizers, "9131367a1a0b"),
    "stfpm.py: the optimiser": (Stfpm.configure_optimizers, "62d1f6204105"),
    "inject.py: who asks for features": (TimmFeatureExtractor.__init__, "0bda02daac10"),
}  # fmt: skip
"""Anomalib's functions that files of methods stand in for or rely on, as they were when that was written."""


def code_of(function: Callable[..., object]) -> str:
    """First 12 hex digits of a SHA-256 over a function's source, without docstring and indentation."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    (node,) = ast.parse("\n".join(lines)).body
    assert isinstance(node, ast.FunctionDef)
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        del lines[first.lineno - 1 : first.end_lineno]
    words = " ".join(line.strip() for line in lines if line.strip())
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def check(place: str, function: Callable[..., object], written: str) -> None:
    assert code_of(function) == written, (
        f"Anomalib changed {function.__qualname__}, for which methods/{place} was written: compare the two, "
        f"then write {code_of(function)} here"
    )


@pytest.mark.parametrize("place", list(REPLACED))
def test_anomalibs_side_is_as_it_was(place: str) -> None:
    check(place, *REPLACED[place])


def test_a_change_is_told_by_name() -> None:
    def forward(self: object) -> int:
        return 2

    with pytest.raises(AssertionError, match=r"changed .*forward, for which methods/padim.py"):
        check("padim.py: the Gaussians", forward, REPLACED["padim.py: the Gaussians"][1])


def blocks_of(embedding: torch.Tensor, batch: int) -> PlaceBlocks:
    blocks = PlaceBlocks()
    blocks.expect(len(embedding))
    for part in embedding.split(batch):
        blocks.append(part)
    assert len(blocks) == len(embedding)
    return blocks


def test_the_gaussians_are_anomalibs() -> None:
    embedding = torch.randn(9, 20, 6, 5, generator=torch.Generator().manual_seed(0))
    (mean, inverse), (ours_mean, ours) = MultiVariateGaussian().fit(embedding), blocks_of(embedding, 4).gaussians()
    assert torch.allclose(ours_mean, mean, atol=1e-6)
    assert torch.allclose(ours, inverse, rtol=1e-3, atol=1e-3 * inverse.abs().max().item())


def all_places_at_once(embedding: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and inverse covariances without blocks of places."""
    vectors = embedding.flatten(2)
    mean = vectors.mean(0)
    centred = (vectors - mean).permute(2, 1, 0)
    covariance = centred @ centred.mT / (len(vectors) - 1) + torch.eye(vectors.shape[1]) * DIAGONAL
    return mean, torch.cholesky_inverse(torch.linalg.cholesky(covariance))


@pytest.mark.parametrize(("images", "channels", "side", "batch"), [(40, 20, 16, 7), (9, 448, 12, 4), (35, 550, 12, 32)])
def test_gaussians_of_blocks_are_those_of_all_places_to_the_last_bit(
    images: int, channels: int, side: int, batch: int
) -> None:
    embedding = torch.randn(images, channels, side, side, generator=torch.Generator().manual_seed(0))
    blocks = blocks_of(embedding, batch)
    mean, inverse = blocks.gaussians()
    expected = all_places_at_once(embedding)
    assert torch.equal(mean, expected[0])
    assert torch.equal(inverse, expected[1])
    assert not blocks._blocks  # each was let go


def test_the_bank_is_anomalibs_to_the_last_bit() -> None:
    patches = torch.randn(6 * 16, 12, generator=torch.Generator().manual_seed(1))
    theirs = PatchcoreModel(["layer1"], "resnet18", pre_trained=False)
    theirs.embedding_store = list(patches.split(32))
    with quiet(), seeded(2):  # it warns of its own argument
        theirs.subsample_embedding(0.25)
    ours, store = PatchcoreModel(["layer1"], "resnet18", pre_trained=False), PatchStore(16)
    store.expect(6)
    for part in patches.split(32):
        store.append(part)
    with seeded(2):
        _subsample(ours, store, 0.25)
    assert torch.equal(ours.memory_bank, theirs.memory_bank)
    assert len(store) == 0


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


def shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in module.state_dict().items()}


def test_the_optimisers_that_the_paper_protocol_replaces_are_still_the_newer_ones() -> None:
    anything = SimpleNamespace(parameters=lambda: iter([torch.nn.Parameter(torch.zeros(1))]))
    teacher = SimpleNamespace(model=SimpleNamespace(decoder=anything, bottleneck=anything))
    student = SimpleNamespace(model=SimpleNamespace(student_model=anything))
    rd = ReverseDistillation.configure_optimizers(teacher).defaults  # type: ignore[arg-type]
    stfpm = Stfpm.configure_optimizers(student).defaults  # type: ignore[arg-type]
    assert (rd["lr"], rd["betas"]) == (0.005, (0.5, 0.99)), "protocol 'paper' uses betas (0.5, 0.999)"
    assert (stfpm["lr"], stfpm["momentum"], stfpm["weight_decay"]) == (0.4, 0.9, 0.001), "'paper' decays by 1e-4"


def test_the_objective_damage_compares_the_patches_that_anomalibs_patchcore_compares() -> None:
    from fracgen.training.losses import neighbourhoods

    model = PatchcoreModel(layers=["layer2", "layer3"], backbone="resnet18", pre_trained=False)
    maps = [torch.randn(2, 4, 12, 12), torch.randn(2, 6, 6, 6)]
    pooled = {f"layer{i + 2}": model.feature_pooler(x) for i, x in enumerate(maps)}
    assert torch.allclose(neighbourhoods(maps), model.generate_embedding(pooled), atol=1e-6)


@pytest.mark.parametrize(("channels", "padding"), [(1, "same"), (3, "same"), (2, "valid")])
def test_a_blur_by_lines_is_the_blur(channels: int, padding: str) -> None:
    maps = torch.rand(2, channels, 40, 50, generator=torch.Generator().manual_seed(0))
    blur = GaussianBlur2d(sigma=4.0, channels=channels, padding=padding)
    expected = blur(maps)
    _blur_by_lines(blur)
    assert "forward" in vars(blur)
    torch.testing.assert_close(blur(maps), expected)
