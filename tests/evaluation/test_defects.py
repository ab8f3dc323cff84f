"""Defects on one's own good pictures, and the table of what a detector finds of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fracgen_eval.datasets import check_files, dataset
from fracgen_eval.datasets.defects import NOTE, damage, write_defects
from fracgen_eval.datasets.surfaces.defects import DEFECTS
from fracgen_eval.errors import EvaluationError
from fracgen_eval.pictures import read_mask, read_picture
from fracgen_eval.predict.page import PAGE, Strengths
from fracgen_eval.predict.request import Choice, Request
from fracgen_eval.predict.run import predict
from fracgen_eval.weights.backbones import WeightsSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fracgen.cli import run


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    for n in range(20):
        Image.fromarray(rng.normal(120, 12, (64, 96, 3)).clip(0, 255).astype(np.uint8)).save(folder / f"{n}.png")
    Image.fromarray(read_picture(folder / "0.png")).save(folder / "0.jpg")
    return folder


@given(
    st.sampled_from(sorted(DEFECTS)),
    st.integers(0, 1 << 20),
    st.sampled_from([0.25, 1.0, 4.0]),
    st.sampled_from([(64, 64), (40, 90), (70, 33)]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_masks_are_exact_and_the_key_says_all(kind: str, key: int, strength: float, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(key).integers(0, 256, (*shape, 3), np.uint8)
    before = picture.copy()
    damaged, mask = damage(picture, kind, [key], strength)
    assert np.array_equal(picture, before)
    assert np.array_equal(damaged[~mask], picture[~mask])
    assert mask.any()
    again, same = damage(picture, kind, [key], strength)
    assert np.array_equal(again, damaged)
    assert np.array_equal(same, mask)
    assert np.array_equal(damage(picture, kind, [key], strength / 2)[1], mask)  # the same defect, only fainter


def test_the_dataset_is_one_of_mvtec_layout_and_a_function_of_the_seed(good: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        write_defects(good, folder, seed, [1.0, 2.0])
    files = [{p.relative_to(f): p.read_bytes() for p in sorted(f.rglob("*")) if p.is_file()} for f in folders]
    assert files[0] == files[1]
    assert files[0] != files[2]
    category = dataset("folder").load(folders[0], "a")
    check_files(category)
    assert len(category.train) == 13
    defects = [sample for sample in category.test if sample.anomalous]
    assert len(category.test) - len(defects) == 8
    assert {s.defect for s in defects} == {f"{kind}-{strength}" for kind in DEFECTS for strength in (1, 2)}
    assert len(defects) == 8 * 14
    originals = {p.stem if p.stem != "0" else p.name: p for p in good.iterdir()}
    for sample in defects[::9]:
        (mask,) = sample.masks
        outside = read_mask(mask) == 0
        own = read_picture(originals[sample.path.stem])
        assert np.array_equal(read_picture(sample.path)[outside], own[outside])
    assert json.loads((folders[0] / NOTE).read_text())["strengths"] == [1.0, 2.0]


def test_the_page_tells_from_which_strength_on_defects_are_found(good: Path, tmp_path: Path) -> None:
    assert run(["eval", "data", "defects", str(good), "-o", str(tmp_path / "d"), "--strength", "4"]) == 0
    choice = Choice(weights=WeightsSpec("random"), overrides={"patchcore": {"image_size": 64}})
    request = Request(
        train=tmp_path / "d" / "train" / "good", choice=choice, out=tmp_path / "o", false_alarms=0.1
    )  # fmt: skip
    verdict = predict([tmp_path / "d" / "test"], request)
    judged = [(Path(row.path), row.flagged) for row in verdict.rows]
    table = Strengths.of(judged)
    assert table is not None
    assert table.columns == ("4",)
    for kind, (cell,), first in table.rows:
        flags = [flagged for path, flagged in judged if path.parent.name == f"{kind}-4"]
        assert cell == f"{sum(map(bool, flags))} of 8"
        assert first == ("4" if 2 * sum(map(bool, flags)) >= 8 else "none of these")
    page = (tmp_path / "o" / PAGE).read_text()
    assert "Detection by kind and strength" in page
    assert f"{table.good} good pictures flagged" in page


@pytest.mark.parametrize(
    ("strengths", "number", "says"),
    [([0.0], 3, "strength 0.0 of the defects: use numbers above 0, up to 4"),
     ([1.0, float("nan")], 3, "strength nan of the defects"), ([1.0], 1, "1 pictures .* need two good ones at least")],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(strengths: list[float], number: int, says: str, tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    for n in range(number):
        Image.new("RGB", (40, 40)).save(tmp_path / "good" / f"{n}.png")
    with pytest.raises(EvaluationError, match=says):
        write_defects(tmp_path / "good", tmp_path / "out", 0, strengths)
    assert not (tmp_path / "out").exists()
