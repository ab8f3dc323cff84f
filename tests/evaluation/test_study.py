"""Longer checks of the whole: fractal weights tell an easy category's defects apart in all eight methods."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fracgen_eval.methods import METHODS
from fracgen_eval.methods.base import Table
from fracgen_eval.weights.backbones import WeightsSpec

from tests.evaluation.grids import files_of, request, run

pytestmark = pytest.mark.study
SETTINGS: dict[str, Table] = {
    "fastflow": {"image_size": 128, "epochs": 15},
    "cflow": {"image_size": 128, "epochs": 4, "fiber_batch": 256},
    "patchcore": {"image_size": 128},
    "padim": {"image_size": 128},
    "rd": {"image_size": 128, "epochs": 30},
    "stfpm": {"image_size": 128, "epochs": 40},
    "panda": {"resize": 128, "crop": 128},
    "cutpaste": {"image_size": 128, "steps": 40, "frozen_steps": 5, "batch": 16},
}


@pytest.mark.parametrize("method", METHODS)
def test_fractal_weights_tell_an_easy_categorys_defects_apart(method: str, surfaces: Path, tmp_path: Path) -> None:
    wanted = request(
        tmp_path, surfaces, methods=(method,), categories=("brick",), limit=None, overrides=SETTINGS,
        weights=(WeightsSpec("fractal"),),
    )  # fmt: skip
    assert run(wanted)[1] == 0
    (result,) = files_of(tmp_path)
    print(method, json.dumps(result["metrics"] | result["beside"]), f"{result['wall_s']:.0f} s")
    assert result["metrics"]["image_auroc"] >= 0.75


@pytest.mark.parametrize(
    ("options", "cells", "most_seconds", "most_gb"),
    [(["--model", "resnet18"], 16, 600, 6), (["--category", "brick"], 8, math.inf, 14)],
    ids=["two categories", "a wide ResNet"],
)
def test_all_methods_take_so_long_and_so_much_memory(
    options: list[str], cells: int, most_seconds: float, most_gb: float, tmp_path: Path
) -> None:
    script = "import sys; from fracgen.cli import main; main(['eval', 'run', *sys.argv[1:]])"
    given = ["--method", "all", "--weights", "random", "--dataset", "surfaces", "--limit", "small", "-o", str(tmp_path)]
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", script, *given, *options], check=True, cwd=Path(__file__).parents[2])
    seconds, results = time.perf_counter() - start, files_of(tmp_path)
    # Cells reset the kernel's mark, so the process's own would show the last cell only.
    peak = max(r["peak_memory_mb"] for r in results) / 1024
    print(f"{seconds:.0f} s, {peak:.1f} GB")
    assert len(results) == cells
    assert seconds < most_seconds
    assert peak < most_gb
