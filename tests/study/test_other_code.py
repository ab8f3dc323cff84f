"""Studies beside other people's code: what they say without it, and their comparisons with stand-ins for it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fracgen_eval.metrics import aupro

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.study import mvtec_aupro, panda_code, plain_anomalib
from bench.study.others import MissingCodeError, load_code


@pytest.mark.parametrize(
    ("study", "options", "missing"),
    [
        (mvtec_aupro, [], "pro_curve_util.py, generic_util.py: give the folder of MVTec's"),
        (panda_code, ["--root", "."], "panda.py, utils.py, losses.py, ResNet.py: give the folder of PANDA's"),
    ],
)
def test_a_study_without_its_code_says_so_in_one_line(
    study: Any, options: list[str], missing: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "argv", ["study", "--path", str(tmp_path / "nowhere"), *options])
    with pytest.raises(SystemExit) as stop:
        study.main()
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert missing in said.err
    assert (said.err.count("\n"), said.out) == (1, "")


def test_a_package_that_the_code_needs_is_named(tmp_path: Path) -> None:
    (tmp_path / "needy_stand_in.py").write_text("import no_such_package_anywhere\n")
    with pytest.raises(MissingCodeError, match="needs the package no_such_package_anywhere: run with `uv run --with"):
        load_code(tmp_path, ("needy_stand_in",), "a stand-in")
    assert str(tmp_path) not in sys.path


def test_code_with_sampled_thresholds_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "generic_util.py").write_text("")
    (tmp_path / "pro_curve_util.py").write_text("def compute_pro(maps, masks, num_thresholds):\n    pass\n")
    for name in ("generic_util", "pro_curve_util"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingCodeError, match="MVTec 3D-AD's code"):
        mvtec_aupro.mvtec(tmp_path)
    for name in ("generic_util", "pro_curve_util"):
        del sys.modules[name]


def test_the_comparison_of_aupros_sees_a_difference_of_one_set() -> None:
    same = mvtec_aupro.compare(aupro, 4)
    assert [(line["limit"], line["largest_difference"]) for line in same] == [(0.3, 0.0), (0.05, 0.0)]
    third = mvtec_aupro.random_set(2)[0]

    def off(maps: Any, masks: Any, limit: float) -> float:
        return aupro(maps, masks, limit) + 0.25 * np.array_equal(maps, third)

    for line in mvtec_aupro.compare(off, 4):
        assert (line["worst_set"], line["largest_difference"]) == (2, pytest.approx(0.25))
        assert line["mean_difference"] == pytest.approx(0.0625)


def test_random_sets_have_a_good_image_defects_and_ties() -> None:
    for seed in range(8):
        maps, masks = mvtec_aupro.random_set(seed)
        assert maps.shape == masks.shape
        assert not masks[0].any()
        assert all(mask.any() for mask in masks[1:])
        levels = mvtec_aupro.LEVELS[seed % 4]
        assert len(np.unique(maps)) <= levels + 1 or not levels


def test_pandas_loader_gets_the_order_of_ours_in_its_epochs() -> None:
    import torch

    order = panda_code.OurOrder(7, 3, seed=5)
    generator = torch.Generator().manual_seed(5)
    for _ in range(2):
        assert list(order) == [[0, 1, 2], [3, 4, 5], [6]]
        assert [n for part in order for n in part] == torch.randperm(7, generator=generator).tolist()


def test_differences_are_shares() -> None:
    assert panda_code.relative(np.array([1.0, 4.2]), np.array([1.0, 4.0])) == pytest.approx(0.05)
    assert plain_anomalib.apart(np.array([0.0, 10.0]), np.array([0.0, 9.0])) == pytest.approx(0.1)


def test_the_mean_and_deviation_over_seeds() -> None:
    def one(auroc: float) -> dict[str, Any]:
        return {side: {"image_auroc": auroc, "pixel_auroc": 0.5} for side in plain_anomalib.SIDES}

    found = SimpleNamespace(**plain_anomalib.over_seeds([one(0.6), one(0.8)]))
    assert found.anomalib["image_auroc"] == [pytest.approx(0.7), pytest.approx(0.02**0.5)]
    assert found.fracgen["pixel_auroc"] == [0.5, 0.0]
