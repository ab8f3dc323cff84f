"""Datasets: layouts, counts and what is refused before work begins."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fracgen_eval.datasets import check_files, dataset, draw_shots, limited
from fracgen_eval.datasets.counts import Counts, published_counts
from fracgen_eval.datasets.surfaces.defects import DEFECTS
from fracgen_eval.datasets.surfaces.views import SIDE
from fracgen_eval.errors import EvaluationError

from tests.evaluation.image_files import flat
from tests.malformed import one_line


def mvtec_category(root: Path, name: str, want: Counts) -> None:
    """A tree of tiny pictures."""
    for kind, number in [("train/good", want.train), ("test/good", want.test_good)]:
        for n in range(number):
            flat(root / name / kind / f"{n:03d}.png")
    for defect, number in want.defects.items():
        for n in range(number):
            flat(root / name / "test" / defect / f"{n:03d}.png")
            flat(root / name / "ground_truth" / defect / f"{n:03d}_mask.png", value=255)


def test_mvtec_with_published_counts(tmp_path: Path, few: Callable[[str], dict[str, Counts]]) -> None:
    assert published_counts("mvtec")["toothbrush"].train == 60
    mvtec_category(tmp_path, "toothbrush", few("mvtec")["toothbrush"])
    category = dataset("mvtec").load(tmp_path, "toothbrush")
    check_files(category)
    assert len(category.train) == 14
    assert len(dataset("mvtec").categories(tmp_path)) == 15
    (tmp_path / "toothbrush" / "train" / "good" / "007.png").unlink()
    with pytest.raises(EvaluationError, match=r"13 training images instead of 14.*CC BY-NC-SA"):
        dataset("mvtec").load(tmp_path, "toothbrush")


def test_missing_category_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"bottle: no such folder; expected <category>/train/good"):
        dataset("mvtec").load(tmp_path, "bottle")
    with pytest.raises(EvaluationError, match="unknown category of mvtec 'botle'"):
        dataset("mvtec").load(tmp_path, "botle")
    with pytest.raises(EvaluationError, match="split_csv"):
        dataset("visa").load(tmp_path, "candle")


@pytest.mark.parametrize("layout", ["raw", "prepared"])
def test_visa_in_both_layouts(
    tmp_path: Path, layout: str, few: Callable[[str], dict[str, Counts]]
) -> None:
    full, want, rows = published_counts("visa")["cashew"], few("visa")["cashew"], []
    assert (full.train, full.test_good + full.test_anomalous) == (450, 150)
    plan = [
        ("train", "normal", want.train), ("test", "normal", want.test_good), ("test", "anomaly", want.test_anomalous),
    ]  # fmt: skip
    for split, label, number in plan:
        for n in range(number):
            kind = "good" if label == "normal" else "bad"
            if layout == "prepared":
                flat(tmp_path / "1cls" / "cashew" / split / kind / f"{n:03d}.png")
                mask = tmp_path / "1cls" / "cashew" / "ground_truth" / kind / f"{n:03d}.png"
            else:
                image = f"cashew/Data/Images/{label}/{split}{n:03d}.JPG"
                flat(tmp_path / image)
                mask = tmp_path / "cashew" / "Data" / "Masks" / f"{n:03d}.png"
                truth = str(mask.relative_to(tmp_path)) if kind == "bad" else ""
                rows.append(["cashew", split, label, image, truth])
            if kind == "bad":
                flat(mask, value=3)  # VisA's masks hold class numbers
    if layout == "raw":
        (tmp_path / "split_csv").mkdir()
        with (tmp_path / "split_csv" / "1cls.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["object", "split", "label", "image", "mask"], *rows])
    category = dataset("visa").load(tmp_path, "cashew")
    check_files(category)
    assert (len(category.train), len(category.test)) == (14, 19)
    assert category.has_masks


def test_a_folder_of_ones_own_without_masks(surfaces: Path, tmp_path: Path) -> None:
    shutil.copytree(surfaces / "brick", tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "ground_truth")
    category = dataset("folder").load(tmp_path / "mine", "mine")
    check_files(category)
    assert not category.has_masks
    assert dataset("folder").categories(tmp_path) == ["mine"]


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


MASK = "ground_truth/stain/001_mask.png"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: flat(f / MASK, 255, (5, 7)), r"001_mask\.png: the mask is 5x7 pixels, its image 001\.png is 128"),
        (lambda f: (f / MASK).unlink(), r"001\.png: its mask .*001_mask\.png is missing"),
        (lambda f: flat(f / MASK, 0, (SIDE, SIDE)), r"001_mask\.png: the mask is empty"),
        (lambda f: os.truncate(f / "train/good/003.png", 2000), r"003\.png: cannot be read as an image .*replace the"),
        (lambda f: empty(f / "train/good"), r"good: no training images; put the normal ones there"),
        (lambda f: shutil.rmtree(f / "test"), r"test: no test images; expected"),
        (lambda f: shutil.rmtree(f / "test/good"), r"must be of both kinds"),
    ],
)
def test_bad_data_is_refused_with_the_file_and_the_remedy(
    surfaces: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(surfaces / "gravel", tmp_path / "gravel")
    damage(tmp_path / "gravel")
    with one_line(message, EvaluationError):
        check_files(dataset("folder").load(tmp_path, "gravel"))


def test_shots_are_drawn_by_the_seed(surfaces: Path) -> None:
    category = dataset("surfaces").load(surfaces, "grass")
    drawn = [tuple(s.path.name for s in draw_shots(category, 4, seed).train) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 4
    assert draw_shots(category, None, 0) is category
    with pytest.raises(EvaluationError, match="use 1 to 40"):
        draw_shots(category, 41, 0)


def test_a_limit_keeps_both_kinds_and_every_defect_type(surfaces: Path) -> None:
    small = limited(dataset("surfaces").load(surfaces, "grass"), 14)
    assert len(small.train) == len(small.test) == 14
    assert {s.defect for s in small.test} == {"good", *DEFECTS}
