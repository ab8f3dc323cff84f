"""The bench of cells beside plain Anomalib: what it measures, and the lines that it prints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import cells


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A category of six normal pictures and two to judge."""
    folder = tmp_path_factory.mktemp("cells")
    draw = np.random.default_rng(0)
    for name in (*(f"train/good/{n}" for n in range(6)), "test/good/0", "test/cut/0", "ground_truth/cut/0_mask"):
        path = folder / "gravel" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 2, (64, 64, 3), np.uint8) * 255).convert(
            "L" if "mask" in name else "RGB"
        ).save(path)
    return folder


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["coreset/fracgen", "coreset/anomalib", "padim/fracgen", "padim/anomalib"])
def test_a_side_is_measured(root: Path, name: str) -> None:
    options = argparse.Namespace(root=root, category="gravel", model="resnet18", size=64, epochs=1)
    method, side = name.split("/")
    found = cells._measure(method, side, options)
    assert found["seconds"] > 0
    assert found["peak"] > 100


def test_sides_are_compared_round_by_round(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Ratios are medians of a round's, the sum leaves out what Anomalib lacks and the coreset."""
    seconds = {"coreset/fracgen": [1.0, 9.0, 1.0], "coreset/anomalib": [4.0, 9.0, 4.0],
               "stfpm/fracgen": [2.0, 3.0, 3.0], "stfpm/anomalib": [4.0, 4.0, 4.0],
               "panda/fracgen": [5.0, 5.0, 5.0]}  # fmt: skip
    left = {name: iter(numbers) for name, numbers in seconds.items()}
    monkeypatch.setattr(cells, "_process", lambda name: {"seconds": next(left[name]), "peak": 100.0})
    monkeypatch.setattr(
        "sys.argv", ["cells", "--root", ".", "--methods", "coreset,stfpm,panda", "-o", str(tmp_path / "c.json")]
    )
    cells.main()
    coreset, stfpm, panda, total = capsys.readouterr().out.splitlines()
    assert "0.25 (0.25 to 1.00) of Anomalib's time" in coreset
    assert "0.75 (0.50 to 0.75) of Anomalib's time, 1.00 of its peak" in stfpm
    assert panda.endswith("(not in Anomalib)")
    assert total == "sum of 1 methods: 0.67 of Anomalib's processor time"
    assert json.loads((tmp_path / "c.json").read_text())["results"]["stfpm/fracgen/seconds"]["median"] == 3.0
