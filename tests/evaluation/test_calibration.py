"""`surfaces` tells good weights from none: a small version of the calibration in docs/evaluation.md."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from fracgen_eval.grid.plan import Request, make_plan
from fracgen_eval.grid.result import CellResult
from fracgen_eval.grid.results import read_results
from fracgen_eval.grid.run import run_plan
from fracgen_eval.weights.backbones import WeightsSpec

from tests.evaluation.reporter import Silent


def test_imagenet_finds_faint_defects_that_random_features_do_not_see(surfaces: Path, tmp_path: Path) -> None:
    """PatchCore, EfficientNet-Lite0, three of ten categories, 28 of 56 test images: 90 against 50 in full."""
    request = Request(
        out=tmp_path, methods=("patchcore",), dataset="surfaces", root=surfaces, categories=("brick", "coins", "stars"),
        weights=(WeightsSpec("imagenet"), WeightsSpec("random")), model="tf_efficientnet_lite0", limit="28",
        overrides={"patchcore": {"image_size": 128}},
    )  # fmt: skip
    assert run_plan(make_plan(request), Silent()) == 0
    results = [result for _, result in read_results(tmp_path) if isinstance(result, CellResult)]
    means = {
        weights: fmean(r.metrics["image_auroc"] for r in results if r.cell.weights.name == weights)
        for weights in ("imagenet", "random")
    }
    print(means)
    assert means["imagenet"] > 0.8
    assert means["random"] < 0.62
