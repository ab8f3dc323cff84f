"""Anomalib's other models through the one adapter: proof of their tensors, and refusals before work begins."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.plan import Request, check_names, make_plan
from fracgen_eval.grid.run import run_plan
from fracgen_eval.methods import build_method, check_fit, settings_for
from fracgen_eval.methods.base import Table, normalised
from fracgen_eval.methods.others import OtherModel
from fracgen_eval.methods.quiet import quiet
from fracgen_eval.report import write_report
from fracgen_eval.weights.backbones import WeightsSpec
from fracgen_eval.weights.network import Normalisation

from tests.evaluation.grids import Silent, files_of
from tests.evaluation.methods import SMALL, check_frozen, made, pictures, random_weights
from tests.malformed import one_line

with quiet():
    import anomalib.models

OTHERS: dict[str, Table] = {
    "anomalib:fre": {"image_size": 64, "epochs": 1},
    "anomalib:mh_patchcore": {"image_size": 64, "memory_bank_size": 50, "local_coreset_size": 20},
    "anomalib:patchflow": {"image_size": 64, "epochs": 1},
    "anomalib:supersimplenet": {"image_size": 128, "epochs": 1, "batch": 4},
    "anomalib:uflow": {"image_size": 64, "epochs": 1, "flow_steps": 2},
}
"""Beside CFA, DFM and DFKDE, which have all tests of the eight (test_methods.py)."""


@pytest.mark.parametrize("name", OTHERS)
def test_the_backbone_holds_exactly_the_files_tensors_before_and_after_fitting(name: str) -> None:
    side = int(str(OTHERS[name]["image_size"]))
    method = build_method(name, random_weights(), OTHERS[name], seed=3)
    facts = check_frozen(method, random_weights(), 6, side)
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer2.1.bn2.running_var"} <= set(
        held := method.frozen()
    )
    assert facts["proven_tensors"] == len(held)


@pytest.mark.parametrize(
    ("name", "model", "changes", "message"),
    [
        ("anomalib:uninet", "resnet18", {}, "starts 2 networks from pre-trained weights"),
        ("anomalib:general_ad", "resnet18", {}, "takes the tokens of a plain transformer, and resnet18 gives none"),
        ("anomalib:cfa", "tf_efficientnet_lite0", {}, "cannot run on tf_efficientnet_lite0: ValueError: .*Supported"),
        ("anomalib:dfm", "resnet18", {"layer": "layer9"}, "resnet18 has no layer 'layer9': use some of"),
        ("anomalib:dfm", "resnet18", {"image_size": 64, "pooling_kernel_size": 8}, "cannot run on resnet18"),
        ("anomalib:dfm", "resnet18", {"image_size": 64, "score_type": "nll"}, "cannot run on resnet18: TypeError"),
        ("anomalib:supersimplenet", "resnet18", {"image_size": 64}, "cannot run on resnet18: RuntimeError"),
        ("anomalib:draem", "resnet18", {}, "takes no backbone, .*: use one of cfa, "),
        ("anomalib:padim", "resnet18", {}, "is a method of its own: use --method padim"),
        ("anomalib:cfaa", "resnet18", {}, "unknown model of Anomalib 'cfaa': use one of anomaly_dino, "),
        ("anomalib:cfa", "resnet18", {"gamma_c": 5000}, r"gamma_c = 5000 is out of range: use 4096 at most"),
        ("anomalib:uflow", "resnet18", {"flow_steps": 5000}, "use 64 at most"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(name: str, model: str, changes: Table, message: str) -> None:
    with one_line(message, EvaluationError):
        check_fit(name, model, settings_for(name, overrides=changes), 20)


def test_the_paper_protocol_is_the_eights(tmp_path: Path, surfaces: Path) -> None:
    request = Request(
        out=tmp_path, methods=("anomalib:cfa",), dataset="surfaces", root=surfaces, weights=(WeightsSpec("random"),),
        protocol="paper",
    )  # fmt: skip
    with pytest.raises(EvaluationError, match="'paper' is settings of the eight methods, anomalib:cfa has none"):
        check_names(request)


def nudge(model: torch.nn.Module) -> None:
    with torch.no_grad():
        model.get_submodule("feature_extractor.bn1").get_buffer("running_mean")[3] += 1e-6


def swap(model: torch.nn.Module) -> None:
    model.feature_extractor = copy.deepcopy(model.get_submodule("feature_extractor"))


def another(model: torch.nn.Module) -> None:
    model.more = timm.create_model("resnet26", pretrained=True)


def fetch(model: torch.nn.Module) -> None:
    torch.hub.load_state_dict_from_url("https://example.org/none-such-of-fracgen.pth")


@pytest.mark.parametrize(
    ("spoil", "when", "message"),
    [
        (nudge, "on_train_end", r"changed 1 of \d+ tensors of its backbone .* fitted, such as bn1.run"),
        (swap, "__init__", "keeps no tensor of the network that it asked for"),
        (another, "__init__", "cannot run on resnet18: it also starts from pre-trained weights of resn"),
        (fetch, "__init__", r"wants to download from example.org, and nothing is downloaded here"),
    ],
)
def test_a_model_that_does_something_else_with_its_backbone_is_found_out(
    spoil: Callable[[torch.nn.Module], None], when: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CFA does it where it is built, or at the end of its training."""
    usual = getattr(anomalib.models.Cfa, when)

    @functools.wraps(usual)
    def spoilt(self: anomalib.models.Cfa, *arguments: object, **options: object) -> None:
        usual(self, *arguments, **options)
        spoil(self.model)

    monkeypatch.setattr(anomalib.models.Cfa, when, spoilt)
    with pytest.raises(EvaluationError, match=message):
        build_method("anomalib:cfa", random_weights(), SMALL["anomalib:cfa"]).fit(pictures(4))


def test_glass_undoes_the_normalisation_of_the_weights() -> None:
    weights = dataclasses.replace(random_weights(), normalisation=Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    state = made(OtherModel, "anomalib:glass", weights, {"image_size": 64}).state()
    assert state["_img_mean"].flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert state["_img_std"].flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])


def test_the_scores_are_those_of_anomalibs_own_with_the_same_weights() -> None:
    """DFM, built by Anomalib, filled by hand and fitted without the adapter."""
    plain, weights = anomalib.models.Dfm("resnet18", pre_trained=False, pooling_kernel_size=2), random_weights()
    inner = plain.model.feature_extractor.feature_extractor
    inner.load_state_dict({k: v for k, v in weights.tensors.items() if k in inner.state_dict()})
    images = normalised(pictures(8), weights, "cpu")
    plain.model.train()
    with torch.no_grad():
        plain.model(images)
        plain.model.fit()
        theirs = plain.model.eval()(images[:3]).pred_score
    method = build_method("anomalib:dfm", weights, SMALL["anomalib:dfm"])
    method.fit(pictures(8))
    assert torch.allclose(torch.from_numpy(method.predict(pictures(8)[:3]).scores), theirs, rtol=1e-3)


@pytest.mark.usefixtures("undrawn")
def test_a_grid_with_one_of_them_and_its_report(surfaces: Path, tmp_path: Path) -> None:
    request = Request(
        out=tmp_path, methods=("anomalib:dfm", "panda"), dataset="surfaces", root=surfaces, categories=("coins",),
        weights=(WeightsSpec("random"),), model="resnet18", limit="small",
        overrides={"anomalib:dfm": {"image_size": 64, "pooling_kernel_size": 2}},
    )  # fmt: skip
    plan = make_plan(request)
    assert [c.method.name for c in plan.pending] == ["panda", "anomalib:dfm"]
    assert ":" not in plan.pending[1].path
    assert run_plan(plan, Silent()) == 0
    assert not make_plan(request).pending
    result = next(r for r in files_of(tmp_path) if r["cell"]["method"] == "anomalib:dfm")
    assert set(result["metrics"]) >= {"image_auroc", "pixel_auroc", "aupro"}
    assert result["fit"]["proven_tensors"] > 60
    report = write_report(tmp_path)
    assert not report.problems
    page = report.html.read_text()
    assert "DFM" in page
    assert "PANDA" in page
    assert json.loads(json.dumps(result["cell"]))["settings"]["pooling_kernel_size"] == 2
