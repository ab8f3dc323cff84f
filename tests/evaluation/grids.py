"""A small grid on the demo dataset, which several tests run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fracgen_eval.grid.plan import Request, make_plan
from fracgen_eval.grid.run import run_plan
from fracgen_eval.weights.backbones import WeightsSpec

from tests.evaluation.reporter import Silent
from tests.evaluation.results import files_of

QUICK = {
    "panda": {"resize": 64, "crop": 64},
    "cutpaste": {"image_size": 64, "steps": 2, "frozen_steps": 1, "batch": 4},
    "patchcore": {"image_size": 64},
    "padim": {"image_size": 64, "features": 20},
    "stfpm": {"image_size": 64, "epochs": 2},
}


def request(out: Path, surfaces: Path, **changes: Any) -> Request:
    """PANDA on one category with random weights; anything may be changed."""
    options: dict[str, Any] = {
        "out": out, "methods": ("panda",), "dataset": "surfaces", "root": surfaces,
        "weights": (WeightsSpec.parse("random"),), "categories": ("gravel",), "model": "resnet18", "limit": "12",
        "overrides": QUICK,
    }  # fmt: skip
    return Request(**(options | changes))


def run(wanted: Request, **options: Any) -> tuple[list[str], int]:
    """What became of each cell that was run, and how many failed."""
    reporter = Silent()
    failed = run_plan(make_plan(wanted), reporter, **options)
    return reporter.ends, failed


def numbers(out: Path) -> dict[str, dict[str, Any]]:
    """What must not depend on when or where a cell was run."""
    found = {}
    for result in files_of(out):
        parts = ("status", "metrics", "by_defect", "beside", "images", "fit", "mask_threshold")
        found[result["path"]] = {k: result[k] for k in parts}
    return found
