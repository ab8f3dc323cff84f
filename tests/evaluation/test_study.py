"""Longer checks of the whole: fractal weights tell an easy category's defects apart in all eight methods."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fracgen_eval.methods import METHODS
from fracgen_eval.weights.backbones import WeightsSpec
from safetensors.torch import save_file

import fracgen
from tests.evaluation.grids import files_of, request, run

pytestmark = pytest.mark.study

SIDE, STEPS, BATCH, CLASSES = 64, 200, 32, 20
SETTINGS = {
    "fastflow": {"image_size": 128, "epochs": 15},
    "cflow": {"image_size": 128, "epochs": 4, "fiber_batch": 256},
    "patchcore": {"image_size": 128},
    "padim": {"image_size": 128},
    "rd": {"image_size": 128, "epochs": 30},
    "stfpm": {"image_size": 128, "epochs": 40},
    "panda": {"resize": 128, "crop": 128},
    "cutpaste": {"image_size": 128, "steps": 40, "frozen_steps": 5, "batch": 16},
}


@pytest.fixture(scope="module")
def fractal_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ResNet-18 after a short pre-training on fractals, in a plain loop."""
    from torchvision.models import resnet18

    path = tmp_path_factory.mktemp("weights") / "fractal.safetensors"
    bank = fracgen.CodeBank.sample(2 * CLASSES, seed=0, classes=CLASSES)
    recipe = fracgen.preset("paper").recipe.at_size(SIDE)
    renderer = fracgen.make_renderer(bank, recipe, "cpu")
    torch.manual_seed(0)
    network = resnet18(num_classes=CLASSES)
    optimiser = torch.optim.SGD(network.parameters(), 0.05, 0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.05, STEPS)
    for step in range(STEPS):
        index = range(step * BATCH, (step + 1) * BATCH)
        images = renderer.render(index, seed=0).images.float() / 127.5 - 1
        loss = torch.nn.functional.cross_entropy(network(images), torch.tensor(index) % CLASSES)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    save_file(network.state_dict(), path, {"mean": "[0.5, 0.5, 0.5]", "std": "[0.5, 0.5, 0.5]"})
    return path


@pytest.mark.parametrize("method", METHODS)
def test_fractal_weights_tell_an_easy_categorys_defects_apart(
    method: str, fractal_weights: Path, surfaces: Path, tmp_path: Path
) -> None:
    wanted = request(
        tmp_path, surfaces, methods=(method,), categories=("brick",), limit=None, overrides=SETTINGS,
        weights=(WeightsSpec("fractal", fractal_weights),),
    )  # fmt: skip
    assert run(wanted)[1] == 0
    (result,) = files_of(tmp_path)
    print(method, json.dumps(result["metrics"] | result["beside"]), f"{result['wall_s']:.0f} s")
    assert result["metrics"]["image_auroc"] >= 0.75


def grid_in_a_process(out: Path, *arguments: str) -> tuple[float, float, int]:
    """Seconds, peak memory in GB and the number of results of a grid of its own process."""
    script = "import sys; from fracgen.cli import main; main(['eval', 'run', *sys.argv[1:]])"
    start = time.perf_counter()
    options = ["--weights", "random", "--dataset", "surfaces", "--limit", "small", "-o", str(out), *arguments]
    subprocess.run([sys.executable, "-c", script, *options], check=True, cwd=Path(__file__).parents[2])
    seconds = time.perf_counter() - start
    results = files_of(out)
    # Cells reset the kernel's mark, so the process's own would show the last cell only.
    return seconds, max(r["peak_memory_mb"] for r in results) / 1024, len(results)


def test_all_methods_on_two_categories_take_under_ten_minutes_and_6_gb(tmp_path: Path) -> None:
    seconds, peak, results = grid_in_a_process(tmp_path, "--method", "all", "--model", "resnet18")
    print(f"{seconds:.0f} s, {peak:.1f} GB")
    assert results == 16
    assert seconds < 600
    assert peak < 6


def test_all_methods_with_a_wide_resnet_stay_under_14_gb(tmp_path: Path) -> None:
    seconds, peak, results = grid_in_a_process(tmp_path, "--method", "all", "--category", "brick")
    print(f"{seconds:.0f} s, {peak:.1f} GB")
    assert results == 8
    assert peak < 14
