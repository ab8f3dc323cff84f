"""Anomalib's other models through the one adapter: proof of their tensors, and refusals before work begins."""

from __future__ import annotations

import copy
import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import torch
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.plan import Request, check_names, make_plan
from fracgen_eval.methods import build_method, check_fit, settings_for
from fracgen_eval.methods import others as others_module
from fracgen_eval.methods.quiet import quiet
from fracgen_eval.methods.settings import read_overrides
from fracgen_eval.weights.backbones import WeightsSpec, load_weights

from tests.evaluation.reporter import Silent

with quiet():
    import anomalib.models

SMALL = {
    "anomalib:fre": {"image_size": 64, "epochs": 1},
    "anomalib:mh_patchcore": {"image_size": 64, "memory_bank_size": 50, "local_coreset_size": 20},
    "anomalib:patchflow": {"image_size": 64, "epochs": 1},
    "anomalib:supersimplenet": {"image_size": 128, "epochs": 1, "batch": 4},
    "anomalib:uflow": {"image_size": 64, "epochs": 1, "flow_steps": 2},
}
"""Beside CFA, DFM and DFKDE, which have all tests of the eight (test_methods.py)."""


def pictures(number: Any, seed: int = 0, side: int = 64) -> Any:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 256, (number, 3, side, side), dtype=torch.uint8, generator=generator)
    return noise // 2 + torch.arange(side, dtype=torch.uint8)


@pytest.fixture(scope="module")
def weights() -> Any:
    return load_weights(WeightsSpec("random"), "resnet18")


@pytest.mark.parametrize("name", SMALL)
def test_the_backbone_holds_exactly_the_files_tensors_before_and_after_fitting(name: str, weights: Any) -> None:
    settings: Any = SMALL[name]
    method = build_method(name, weights, settings, seed=3)
    before = method.frozen()
    facts = method.fit(pictures(6, side=settings["image_size"]))
    after = method.frozen()
    assert set(before) == set(after)
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer2.1.bn2.running_var"} <= set(after)
    assert facts["proven_tensors"] == len(after)
    for key in before:
        assert torch.equal(before[key], weights.tensors[key]), key
        assert torch.equal(after[key], weights.tensors[key]), key
    judged = method.predict(pictures(2, seed=1, side=settings["image_size"]))
    assert judged.maps is not None
    assert judged.maps.shape == (2, settings["image_size"], settings["image_size"])
    assert judged.maps.std() > 0


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
        ("anomalib:cfa", "resnet18", {"gamma": 1}, "unknown setting of anomalib:cfa 'gamma'"),
        ("anomalib:cfa", "resnet18", {"gamma_c": 5000}, r"gamma_c = 5000 is out of range: use 4096 at most"),
        ("anomalib:uflow", "resnet18", {"flow_steps": 5000}, "use 64 at most"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(name: str, model: Any, changes: Any, message: str) -> None:
    with pytest.raises(EvaluationError, match=message) as caught:
        check_fit(name, model, settings_for(name, overrides=changes), 20)
    assert "\n" not in str(caught.value)


def test_an_unfit_model_is_refused_before_work_begins(surfaces: Path, tmp_path: Path) -> None:
    request = Request(
        out=tmp_path / "out", methods=("patchcore", "anomalib:uninet"), dataset="surfaces", root=surfaces,
        weights=(WeightsSpec("random"),), model="resnet18",
    )  # fmt: skip
    with pytest.raises(EvaluationError, match="uninet cannot run on resnet18"):
        make_plan(request)
    assert not (tmp_path / "out").exists()


def test_the_paper_protocol_is_the_eights(tmp_path: Path, surfaces: Path) -> None:
    request = Request(
        out=tmp_path, methods=("anomalib:cfa",), dataset="surfaces", root=surfaces, weights=(WeightsSpec("random"),),
        protocol="paper",
    )  # fmt: skip
    with pytest.raises(EvaluationError, match="'paper' is settings of the eight methods, anomalib:cfa has none"):
        check_names(request)


class Spoilt:
    """CFA with something wrong in it, in the place of the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, spoil: Any = None, hook: Any = None) -> None:
        class Cfa(anomalib.models.Cfa):
            def __init__(
                self,
                backbone: Any = "",
                pre_processor: Any = True,
                post_processor: Any = True,
                evaluator: Any = True,
                visualizer: Any = True,
            ) -> None:
                super().__init__(
                    backbone, pre_processor=pre_processor, post_processor=post_processor, evaluator=evaluator,
                    visualizer=visualizer,
                )  # fmt: skip
                if spoil is not None:
                    spoil(self.model)

            def on_train_end(self) -> None:
                if hook is not None:
                    hook(self.model)

        monkeypatch.setitem(others_module._classes(), "cfa", Cfa)


def settings() -> Any:
    return {"image_size": 64, "batch": 4, "epochs": 1}


def test_a_backbone_that_changes_while_it_is_fitted_is_found_out(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nudge(model: Any) -> None:
        with torch.no_grad():
            model.feature_extractor.bn1.running_mean[3] += 1e-6

    Spoilt(monkeypatch, hook=nudge)
    method = build_method("anomalib:cfa", weights, settings())
    with pytest.raises(EvaluationError, match=r"changed 1 of \d+ tensors of its backbone .* fitted, such as bn1.run"):
        method.fit(pictures(4))


def test_a_copy_of_the_backbone_is_no_proof(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def swap(model: Any) -> None:
        model.feature_extractor = copy.deepcopy(model.feature_extractor)

    Spoilt(monkeypatch, spoil=swap)
    with pytest.raises(EvaluationError, match="keeps no tensor of the network that it asked for"):
        build_method("anomalib:cfa", weights, settings())


def test_weights_of_another_network_are_not_fetched(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def another(model: Any) -> None:
        import timm

        model.more = timm.create_model("resnet26", pretrained=True)

    Spoilt(monkeypatch, spoil=another)
    with pytest.raises(
        EvaluationError, match="cannot run on resnet18: it also starts from pre-trained weights of resn"
    ):
        build_method("anomalib:cfa", weights, settings())


def test_a_download_is_refused(weights: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(model: Any) -> None:
        torch.hub.load_state_dict_from_url("https://example.org/none-such-of-fracgen.pth")

    Spoilt(monkeypatch, spoil=fetch)
    with pytest.raises(EvaluationError, match=r"wants to download from example.org, and nothing is downloaded here"):
        build_method("anomalib:cfa", weights, settings())


def test_the_scores_are_those_of_anomalibs_own_with_the_same_weights(weights: Any) -> None:
    """DFM, built by Anomalib, filled by hand and fitted without the adapter."""
    plain = anomalib.models.Dfm("resnet18", pre_trained=False, pooling_kernel_size=2)
    inner = plain.model.feature_extractor.feature_extractor
    inner.load_state_dict({k: v for k, v in weights.tensors.items() if k in inner.state_dict()})
    mean, std = (torch.tensor(values)[:, None, None] for values in astuple(weights.normalisation))
    images = (pictures(8).float() / 255 - mean) / std
    plain.model.train()
    with torch.no_grad():
        plain.model(images)
        plain.model.fit()
        theirs = plain.model.eval()(images[:3]).pred_score
    changes: Any = {"image_size": 64, "pooling_kernel_size": 2}
    method = build_method("anomalib:dfm", weights, changes)
    method.fit(pictures(8))
    assert torch.allclose(torch.from_numpy(method.predict(pictures(8)[:3]).scores), theirs, rtol=1e-3)


def test_settings_of_a_model_are_a_table_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('["anomalib:cfa"]\nnum_nearest_neighbors = 5\n')
    overrides = read_overrides(tmp_path / "s.toml")
    assert settings_for("anomalib:cfa", overrides=overrides["anomalib:cfa"])["num_nearest_neighbors"] == 5


def test_a_grid_with_one_of_them_and_its_report(surfaces: Path, tmp_path: Path) -> None:
    from fracgen_eval.grid.run import run_plan
    from fracgen_eval.report import write_report

    from tests.evaluation.results import files_of

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
