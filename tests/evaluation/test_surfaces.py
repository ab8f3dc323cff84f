"""`surfaces`: a pure function of its seed, exact masks, parts that never meet, and defects that are faint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from fracgen_eval.datasets import check_files, dataset, write_surfaces
from fracgen_eval.datasets.surfaces import PHOTOGRAPHS, photographs, views
from fracgen_eval.datasets.surfaces.defects import DEFECTS
from fracgen_eval.datasets.surfaces.pictures import damaged_picture, normal_picture
from fracgen_eval.datasets.surfaces.views import SIDE
from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.backbones import WeightsSpec

from tests.evaluation.grids import files_of, request, run


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_files_are_a_pure_function_of_seed_and_strength(
    few_surfaces: Callable[[int], None], tmp_path: Path
) -> None:
    few_surfaces(2)
    first = write_surfaces(tmp_path / "first")
    assert tree(write_surfaces(tmp_path / "again")) == tree(first)
    assert write_surfaces(tmp_path / "again") == tmp_path / "again"
    other = tree(write_surfaces(tmp_path / "seed", seed=1))
    assert all(other[name] != content for name, content in tree(first).items() if name.endswith("good/000.png"))
    fainter = tree(write_surfaces(tmp_path / "fainter", strength=0.5))
    changed = {name for name, content in tree(first).items() if fainter[name] != content}
    assert {name.split("/")[-2] for name in changed - {"surfaces.json"}} == set(DEFECTS)
    assert not any("ground_truth" in name for name in changed)
    with pytest.raises(EvaluationError, match="seed 1, strength 1"):
        write_surfaces(tmp_path / "again", seed=1)
    with pytest.raises(EvaluationError, match=r"strength 0\.5"):
        write_surfaces(tmp_path / "again", strength=0.5)
    assert "CC BY 2.0" in str(photographs.PHOTOGRAPHS["petals"].licence)
    assert json.loads((first / "surfaces.json").read_text())["photographs"]["brick"].endswith("CC0")


@pytest.mark.parametrize("strength", [0.0, -1.0, 4.5, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused_and_nothing_is_written(strength: float, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="use a number above 0"):
        write_surfaces(tmp_path / "out", strength=strength)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", list(PHOTOGRAPHS))
def test_every_category_loads_and_passes_its_own_check(surfaces: Path, name: str) -> None:
    category = dataset("surfaces").load(surfaces, name)
    check_files(category)
    assert len(category.train) == 40
    assert category.has_masks
    assert {s.defect for s in category.test} == {"good", *DEFECTS}
    assert sum(s.anomalous for s in category.test) == sum(not s.anomalous for s in category.test) == 28


@pytest.mark.parametrize("name", list(PHOTOGRAPHS))
def test_no_training_picture_sees_what_a_test_picture_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of the one part stay the same to the last bit when the other part is painted over."""
    photograph, pixels = PHOTOGRAPHS[name], photographs.read_photograph(name)
    for mine, others in ((photograph.train, photograph.test), (photograph.test, photograph.train)):
        painted = pixels.copy()
        for top, left, bottom, right in others:
            painted[top:bottom, left:right] = 255 - painted[top:bottom, left:right]
        views._part.cache_clear()
        before = [normal_picture(name, mine, [n]) for n in range(3)]
        views._part.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(views, "read_photograph", lambda category, painted=painted: painted)
            after = [normal_picture(name, mine, [n]) for n in range(3)]
            views._part.cache_clear()
            assert not np.array_equal(normal_picture(name, others, [0]), before[0])
        views._part.cache_clear()
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", list(PHOTOGRAPHS))
def test_every_window_lies_inside_its_part(name: str) -> None:
    """The most turned and largest window fits every box, so that no picture is filled up at its edge."""
    turn = np.deg2rad(views.ROTATION)
    widest = (np.cos(turn) + np.sin(turn)) * PHOTOGRAPHS[name].window * np.exp(views.SCALE)
    height, width = photographs.read_photograph(name).shape[:2]
    for top, left, bottom, right in (*PHOTOGRAPHS[name].train, *PHOTOGRAPHS[name].test):
        assert min(bottom - top, right - left) - 1 > widest
        assert top >= 0
        assert left >= 0
        assert bottom <= height
        assert right <= width


@pytest.mark.parametrize("defect", list(DEFECTS))
@pytest.mark.parametrize("name", ["brick", "petals", "stars"])
def test_masks_are_exact(defect: str, name: str) -> None:
    for n in range(3):
        clean, _ = damaged_picture(name, defect, [7, n], strength=0.0)
        damaged, mask = damaged_picture(name, defect, [7, n])
        changed = (damaged != clean).any(-1)
        assert not changed[~mask].any()
        assert changed[mask].mean() > 0.3  # dark sky has little to stain or tint
        assert 20 < mask.sum() < 0.2 * mask.size


def test_a_stronger_defect_differs_more() -> None:
    for defect in DEFECTS:
        clean, *pictures = (
            damaged_picture("gravel", defect, [3, 0], strength)[0].astype(int) for strength in (0.0, 0.3, 0.6, 1.2)
        )
        differences = [np.abs(picture - clean).sum() for picture in pictures]
        assert differences == sorted(differences)
        assert differences[0] < differences[-1]


def test_normal_pictures_vary_in_light_colour_and_sharpness() -> None:
    """Every nuisance on its own is larger between two normal pictures than a faint defect is in one."""
    cameras = [views.Camera.drawn(np.random.default_rng(n)) for n in range(40)]
    grey = np.full((SIDE, SIDE, 3), 128.0)
    means = np.array([camera.shoot(grey).mean((0, 1)) for camera in cameras])
    assert means.mean(1).std() > 8  # light and gamma, in grey levels
    assert (means / means.mean(1, keepdims=True)).std() > 0.015  # tint
    assert np.ptp([camera.blur for camera in cameras]) > 0.4
    assert np.ptp([camera.noise.std() for camera in cameras]) > 2


def test_imagenet_finds_faint_defects_that_random_features_do_not_see(surfaces: Path, tmp_path: Path) -> None:
    """PatchCore, EfficientNet-Lite0, two of ten categories, 28 of 56 test images: 90 against 50 in full."""
    wanted = request(
        tmp_path, surfaces, methods=("patchcore",), categories=("brick", "coins"), limit="28",
        weights=(WeightsSpec("imagenet"), WeightsSpec("random")), model="tf_efficientnet_lite0",
        overrides={"patchcore": {"image_size": 128}},
    )  # fmt: skip
    assert run(wanted)[1] == 0
    means = {
        weights: fmean(r["metrics"]["image_auroc"] for r in files_of(tmp_path) if r["cell"]["weights"] == weights)
        for weights in ("imagenet", "random")
    }
    assert means["imagenet"] > 0.8
    assert means["random"] < 0.62
