"""Runs that were killed and resumed, and runs that changed their number of processes, against one that was not."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fracgen.networks import create

from .killed_runs import CASES, CONFIGS


class Runs:
    """What `killed_runs.py` wrote down."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.results = json.loads((base / "results.json").read_text())

    def steps(self, log: str) -> dict[int, list[tuple[list[int], float]]]:
        """Per step, in order of rank: samples and sum of the pixels they were rendered to."""
        steps: dict[int, list[tuple[list[int], float]]] = {}
        for line in sorted(json.loads(text) for text in (self.base / log).read_text().splitlines()):
            steps.setdefault(line[0], []).append((line[2], line[3]))
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


def test_dropout_is_part_of_what_was_compared() -> None:
    assert any(isinstance(part, torch.nn.Dropout) for part in create(CONFIGS["ifs"].model, 2, 32, 0).modules())
