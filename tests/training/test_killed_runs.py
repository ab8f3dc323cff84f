"""Runs that were killed and resumed, and runs that changed their number of processes, against one that was not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from fracgen.recipes.presets import preset

IFS = [
    "in the first step", "in a step", "in a checkpoint", "after a checkpoint, before the old ones are removed",
    "between epochs, in validation", "between epochs, in the checkpoint", "in the last step",
]  # fmt: skip
CASES = [("ifs", kill) for kill in IFS] + [("mandelbulb", "in a step"), ("mandelbulb", "in a checkpoint")]
CASES += [("twins", "in a step"), ("twins", "between epochs, in validation")]


class Runs:
    """What `killed_runs.py` wrote down."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.results: dict[str, Any] = json.loads((base / "results.json").read_text())

    def steps(self, log: str) -> dict[int, list[Any]]:
        """Per step, in order of rank: samples and sum of the pixels they were rendered to."""
        steps: dict[int, list[Any]] = {}
        for line in sorted(json.loads(text) for text in (self.base / log).read_text().splitlines()):
            steps.setdefault(line[0], []).append(line[2:])
        return steps


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    base = tmp_path_factory.mktemp("runs")
    script, root = Path(__file__).with_name("killed_runs.py"), Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script), str(base)], cwd=root, capture_output=True, text=True,
        env={"PATH": "", "PYTHONPATH": str(root), "HOME": str(base), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    said = "".join(path.read_text()[-2000:] for path in base.glob("*.err"))
    assert done.returncode == 0, done.stderr[-2000:] + said
    return Runs(base)


@pytest.mark.parametrize(("formula", "kill"), CASES)
def test_a_killed_run_ends_as_if_it_had_not_been(runs: Runs, formula: str, kill: str) -> None:
    whole, resumed = runs.results[formula], runs.results[f"{formula} {kill}"]
    assert resumed["killed"] == [-signal.SIGKILL]
    assert resumed["codes"] == [0]
    assert resumed["sha256"] == whole["sha256"]
    assert resumed["metrics"] == whole["metrics"]
    assert resumed["left"] == whole["left"]  # nothing half-written stays behind
    exports = [runs.base / name / "export/model.safetensors" for name in (formula, resumed["folder"])]
    assert exports[0].read_bytes() == exports[1].read_bytes()


@pytest.mark.parametrize(("formula", "kill"), CASES)
def test_a_killed_run_sees_the_same_samples(runs: Runs, formula: str, kill: str) -> None:
    whole, name = runs.steps(f"{formula}.run.log"), runs.results[f"{formula} {kill}"]["folder"]
    killed, resumed = runs.steps(f"{name}.killed.log"), runs.steps(f"{name}.resumed.log")
    assert killed | resumed == whole
    assert all(whole[step] == fed for step, fed in killed.items())
    assert min(resumed) > 0 or kill == "in the first step"


@pytest.mark.parametrize(("formula", "first", "second"), [("ifs", 1, 2), ("ifs", 2, 1), ("twins", 2, 1)])
def test_a_run_goes_on_with_another_number_of_processes(runs: Runs, formula: str, first: int, second: int) -> None:
    result, whole = runs.results[f"{formula} {first} to {second}"], runs.steps(f"{formula}.run.log")
    assert result["codes"] == [0, 0, 0]
    assert result["step"] == 9
    before, after = (runs.steps(f"{result['folder']}.{part}.log") for part in ("first", "second"))
    assert sorted(before) == [0, 1, 2, 3]
    assert sorted(after) == [4, 5, 6, 7, 8]
    for ranks, log in ((first, before), (second, after)):
        for step, shares in log.items():
            assert len(shares) == ranks
            dealt: list[int] = [0] * len(whole[step][0][0])
            for rank, (samples, _) in enumerate(shares):
                dealt[rank::ranks] = samples
            assert dealt == whole[step][0][0]
            assert sum(pixels for _, pixels in shares) == pytest.approx(whole[step][0][1], rel=1e-9)


def test_dropout_is_part_of_what_was_compared(runs: Runs) -> None:
    import torch

    from fracgen.networks import create

    assert any(isinstance(part, torch.nn.Dropout) for part in create("mobilenet_v3_small", 2, 32, 0).modules())


def test_a_mandelbulb_runs_weights_load_in_torchvision_timm_and_anomalib(runs: Runs) -> None:
    import timm
    import torch
    import torchvision
    from safetensors.torch import load_file

    with warnings.catch_warnings():  # its imports use old names of timm's and strings that Python will refuse
        warnings.simplefilter("ignore")
        from anomalib.models.components.feature_extractors import TimmFeatureExtractor

    folder = runs.base / runs.results["mandelbulb in a step"]["folder"] / "export"
    weights = load_file(folder / "model.safetensors")
    models = [torchvision.models.resnet18(num_classes=4), timm.create_model("resnet18", num_classes=4)]
    for model in models:
        model.load_state_dict(weights, strict=True)
    models.append(timm.create_model(f"local-dir:{folder}", pretrained=True))
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = models[0].eval()(images)
    for model in models[1:]:
        torch.testing.assert_close(model.eval()(images), expected)
    mean, std = (models[2].pretrained_cfg[name] for name in ("mean", "std"))
    recipe = preset("mandelbulb").recipe
    assert (tuple(mean), tuple(std)) == (recipe.mean, recipe.std)
    first = models[0]
    layer1 = first.layer1(first.maxpool(first.relu(first.bn1(first.conv1(images)))))
    features = TimmFeatureExtractor(models[1], ["layer1", "layer3"]).eval()(images)
    torch.testing.assert_close(features["layer1"], layer1)
    assert features["layer3"].shape == (2, 256, 4, 4)
