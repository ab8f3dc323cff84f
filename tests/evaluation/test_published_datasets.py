"""MVTec LOCO AD, MVTec AD 2, BTAD, MPDD and Real-IAD: trees of a few tiny pictures."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fracgen_eval.datasets import DATASETS, check_files, dataset, limited, published
from fracgen_eval.datasets.counts import Counts, published_counts
from fracgen_eval.errors import EvaluationError
from PIL import Image

from tests.evaluation.grids import files_of, request, run
from tests.malformed import one_line

SIDE = 16
CATEGORY = {
    "mvtec-loco": "pushpins", "mvtec-ad2": "sheet_metal", "btad": "03", "mpdd": "connector", "real-iad": "pcb",
}  # fmt: skip
"""The category that the tests make of each dataset."""
LOCO_KINDS = [
    {"defect_name": "missing", "pixel_value": 255, "saturation_threshold": 4, "relative_saturation": False},
    {"defect_name": "broken", "pixel_value": 254, "saturation_threshold": 1.0, "relative_saturation": True},
]


def picture(path: Path, seed: int = 0, spot: bool = False, size: tuple[int, int] = (SIDE, SIDE)) -> None:
    pixels = np.random.default_rng([seed, 1]).integers(60, 120, (size[1], size[0], 3), dtype=np.uint8)
    if spot:
        pixels[4:9, 5:10] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def mask(path: Path, value: int = 255, size: tuple[int, int] = (SIDE, SIDE), at: tuple[int, int] = (4, 9)) -> None:
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels[at[0] : at[1], 5:10] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def pictures(folder: Path, number: int, suffix: str = ".png", spot: bool = False) -> None:
    for n in range(number):
        picture(folder / f"{n:03d}{suffix}", n, spot)


def make_loco(root: Path, name: str, want: Counts) -> None:
    for part, number in [("train", want.train), ("validation", want.validation), ("test", want.test_good)]:
        pictures(root / name / part / "good", number)
    for kind, number in want.defects.items():
        pictures(root / name / "test" / kind, number, spot=True)
        for n in range(number):
            folder = root / name / "ground_truth" / kind / f"{n:03d}"
            mask(folder / "000.png", 255 if kind.startswith("logical") else 254)
            if n % 2:
                mask(folder / "001.png", 254, at=(11, 14))
    (root / name / "defects_config.json").write_text(json.dumps(LOCO_KINDS))


def make_ad2(root: Path, name: str, want: Counts) -> None:
    pictures(root / name / "train" / "good", want.train)
    pictures(root / name / "validation" / "good", want.validation)
    pictures(root / name / "test_public" / "good", want.test_good)
    pictures(root / name / "test_public" / "bad", want.test_anomalous, spot=True)
    for n in range(want.test_anomalous):
        mask(root / name / "test_public" / "ground_truth" / "bad" / f"{n:03d}_mask.png")


def make_btad(root: Path, name: str, want: Counts) -> None:
    pictures(root / name / "train" / "ok", want.train, ".bmp")
    pictures(root / name / "test" / "ok", want.test_good, ".bmp")
    pictures(root / name / "test" / "ko", want.test_anomalous, ".bmp", spot=True)
    for n in range(want.test_anomalous):
        mask(root / name / "ground_truth" / "ko" / f"{n:03d}.png", 0 if n == 3 else 1)


def make_mpdd(root: Path, name: str, want: Counts) -> None:
    pictures(root / name / "train" / "good", want.train)
    pictures(root / name / "test" / "good", want.test_good)
    for kind, number in want.defects.items():
        pictures(root / name / "test" / kind, number, spot=True)
        for n in range(number):
            mask(root / name / "ground_truth" / kind / f"{n:03d}_mask.png")


def make_realiad(root: Path, name: str, want: Counts | None) -> None:
    images = root / "realiad_1024" / name
    lists: dict[str, Any] = {"meta": {"normal_class": "OK", "prefix": f"{name}/"}, "train": [], "test": []}
    for part, kind, number in [("train", "OK", 14), ("test", "OK", 8), ("test", "AK", 6), ("test", "HS", 5)]:
        for n in range(number):
            folder = f"OK/{part}{n:04d}" if kind == "OK" else f"NG/{kind}/S{n:04d}"
            row: dict[str, Any] = {"category": name, "anomaly_class": kind, "mask_path": None}
            row["image_path"] = f"{folder}/{name}_C1.jpg"
            picture(images / row["image_path"], n, kind != "OK")
            if kind != "OK":
                row["mask_path"] = f"{folder}/{name}_C1.png"
                mask(images / row["mask_path"])
            lists[part].append(row)
    path = root / "realiad_jsons" / "realiad_jsons_sv" / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(lists))


Few = Callable[[str], dict[str, Counts]]
Trees = Callable[[str], Path]
Damage = Callable[[Path], object]
MAKERS: dict[str, Callable[..., None]] = {
    "mvtec-loco": make_loco, "mvtec-ad2": make_ad2, "btad": make_btad, "mpdd": make_mpdd, "real-iad": make_realiad,
}  # fmt: skip
COUNTED = [name for name in MAKERS if name != "real-iad"]


@pytest.fixture(scope="module")
def made() -> dict[str, Path]:
    return {}


@pytest.fixture
def trees(made: dict[str, Path], few: Few, tmp_path_factory: pytest.TempPathFactory) -> Trees:
    """A category of each dataset, made once; tests that damage it take a copy."""

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            MAKERS[name](made[name], CATEGORY[name], few(name).get(CATEGORY[name]))
        return made[name]

    return get


@pytest.mark.parametrize("name", MAKERS)
def test_a_tree_is_found_and_counted(name: str, trees: Trees, few: Few) -> None:
    source, category = dataset(name), CATEGORY[name]
    found = source.load(trees(name), category)
    check_files(found)
    assert category in source.categories(trees(name))
    assert found.has_masks
    if want := few(name).get(category):
        good = sum(not s.anomalous for s in found.test)
        assert (len(found.train), len(found.validation), good) == (want.train, want.validation, want.test_good)
        assert {d: sum(s.defect == d for s in found.test) for d in want.defects} == want.defects


def test_the_counts_are_the_published_ones() -> None:
    def totals(name: str) -> list[int]:
        fields = ("train", "validation", "test_good", "test_anomalous")
        return [sum(getattr(count, field) for count in published_counts(name).values()) for field in fields]

    assert totals("mvtec-loco") == [1778, 305, 575, 993]
    assert totals("mvtec-ad2") == [2528, 302, 379, 705]
    assert totals("btad") == [1799, 0, 451, 290]
    assert totals("mpdd") == [888, 0, 176, 282]
    assert len(dataset("real-iad").categories(Path())) == 30
    assert [len(published_counts(name)) for name in DATASETS][:7] == [15, 12, 5, 8, 3, 6, 0]


@pytest.mark.parametrize("name", ["mvtec-loco", "mvtec-ad2"])
def test_two_methods_evaluate_it(name: str, trees: Trees, tmp_path: Path) -> None:
    wanted = request(
        tmp_path, trees(name), dataset=name, methods=("patchcore", "panda"), categories=(CATEGORY[name],), limit="10"
    )
    assert run(wanted)[1] == 0
    results = {r["cell"]["method"]: r for r in files_of(tmp_path)}
    assert set(results) == {"patchcore", "panda"}
    found = results["patchcore"]["metrics"]
    assert {"image_auroc", "pixel_auroc", "aupro", "aupro_05"} <= set(found)
    assert found["pixel_auroc"] > 0.9  # a bright spot on noise
    assert ("au_spro" in found) == (name == "mvtec-loco")
    assert ("seg_f1" in found) == (name == "mvtec-ad2")
    assert "pixel_auroc" not in results["panda"]["metrics"]
    assert results["patchcore"]["held_out_images"] == 10  # the dataset's own validation images
    if name == "mvtec-loco":
        apart = results["patchcore"]["by_defect"]
        assert set(apart) == {"logical_anomalies", "structural_anomalies"}
        assert all({"image_auroc", "au_spro"} <= set(values) for values in apart.values())


FIRST_MASK = {
    "mvtec-loco": "ground_truth/logical_anomalies/002/000.png",
    "mvtec-ad2": "test_public/ground_truth/bad/002_mask.png",
    "btad": "ground_truth/ko/002.png",
    "mpdd": "ground_truth/parts_mismatch/002_mask.png",
    "real-iad": "NG/AK/S0002/pcb_C1.png",
}
TRAIN = {
    "mvtec-loco": "train/good/007.png",
    "mvtec-ad2": "train/good/007.png",
    "btad": "train/ok/007.bmp",
    "mpdd": "train/good/007.png",
    "real-iad": "OK/train0007/pcb_C1.jpg",
}


def damaged(root: Path, copy: Path, name: str, damage: Damage) -> str:
    """The message about a copy of a tree to which something was done."""
    shutil.copytree(root, copy)
    damage(copy / "realiad_1024" / "pcb" if name == "real-iad" else copy / CATEGORY[name])
    with pytest.raises(EvaluationError) as caught:
        check_files(dataset(name).load(copy, CATEGORY[name]))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def renamed(path: Path) -> None:
    if path.parent.parent.name == "logical_anomalies":
        path.parent.rename(path.parent.with_name("777"))
    else:
        path.rename(path.with_name(path.name.replace("002", "777")))


def one_more(path: Path) -> None:
    mask(path.parent.with_name("777") / "000.png" if path.name == "000.png" else path.with_name("777.png"))


DAMAGES: dict[str, tuple[Callable[[str], Damage], list[str], str]] = {
    "one picture less": (lambda name: lambda folder: (folder / TRAIN[name]).unlink(), COUNTED,
                         "training images instead of"),
    "no listed picture": (lambda name: lambda folder: (folder / TRAIN[name]).unlink(), ["real-iad"], "not there"),
    "one picture more": (lambda name: lambda folder: picture(folder / TRAIN[name].replace("007", "one_more")), COUNTED,
                         "training images instead of"),
    "no mask": (lambda name: lambda folder: (folder / FIRST_MASK[name]).unlink(), list(MAKERS), "missing|not there"),
    "another picture's mask": (lambda name: lambda folder: mask(folder / FIRST_MASK[name], 255, (SIDE + 2, SIDE)),
                               list(MAKERS), "the mask is 18x16 pixels"),
    "a picture for a mask": (lambda name: lambda folder: picture(folder / FIRST_MASK[name], 5), list(MAKERS),
                             "a picture in the place of the mask"),
    "a mask of another name": (lambda name: lambda folder: renamed(folder / FIRST_MASK[name]), COUNTED, "mask"),
    "one mask more": (lambda name: lambda folder: one_more(folder / FIRST_MASK[name]), COUNTED,
                      "the mask of no test image"),
}  # fmt: skip
"""What is done to a dataset, of which ones, and what is said."""


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, (_, names, _) in DAMAGES.items() for name in names])
def test_a_damaged_tree_is_one_line(what: str, name: str, trees: Trees, few: Few, tmp_path: Path) -> None:
    damage, _, says = DAMAGES[what]
    message = damaged(trees(name), tmp_path / "copy", name, damage(name))
    assert re.search(says, message)
    if says == "training images instead of":
        want = few(name)[CATEGORY[name]].train
        assert f"{want + (1 if 'more' in what else -1)} training images instead of {want}" in message
        assert "CC BY" in message


@pytest.mark.parametrize("name", MAKERS)
def test_an_absent_dataset_says_what_is_expected_and_under_which_licence(name: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"expected .*\(.*CC BY") as caught:
        dataset(name).load(tmp_path, CATEGORY[name])
    assert "\n" not in str(caught.value)
    with pytest.raises(EvaluationError, match="use one of"):
        dataset(name).load(tmp_path, "none")


def test_a_folder_that_is_missing_is_named(trees: Trees, tmp_path: Path) -> None:
    name = "mvtec-ad2"
    message = damaged(trees(name), tmp_path / "copy", name, lambda folder: shutil.rmtree(folder / "validation"))
    assert "validation/good: no such folder; expected <category>/train/good, <category>/validation/good" in message


def test_more_empty_masks_than_btad_has_are_one_line(trees: Trees, tmp_path: Path) -> None:
    check_files(dataset("btad").load(trees("btad"), "03"))

    def empty(folder: Path) -> None:
        for n in range(11):
            mask(folder / "ground_truth" / "ko" / f"{n:03d}.png", 0)

    assert "the mask is empty" in damaged(trees("btad"), tmp_path / "copy", "btad", empty)


def test_splicing_connectors_may_have_the_numbers_of_the_paper(
    tmp_path: Path, few: Few, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert published.LOCO_PAPER == {"splicing_connectors": (354, 59)}
    monkeypatch.setattr(published, "LOCO_PAPER", {"splicing_connectors": (13, 9)})
    make_loco(tmp_path, "splicing_connectors", few("mvtec-loco")["splicing_connectors"])
    folder = tmp_path / "splicing_connectors"
    assert len(dataset("mvtec-loco").load(tmp_path, "splicing_connectors").train) == 14
    (folder / "train" / "good" / "013.png").unlink()
    with pytest.raises(EvaluationError, match="13 training images instead of 14"):
        dataset("mvtec-loco").load(tmp_path, "splicing_connectors")
    (folder / "validation" / "good" / "009.png").unlink()
    assert len(dataset("mvtec-loco").load(tmp_path, "splicing_connectors").validation) == 9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "thresholds above 0"),
        ("[{]", "no list of pixel_value"),
        ('[{"pixel_value": 255}]', "no list of pixel_value"),
        ('[{"pixel_value": 0, "saturation_threshold": 1, "relative_saturation": true}]', "values lie in 1 to 255"),
        (json.dumps(LOCO_KINDS[:1]), "value 254 stands for no kind of defect in defects_config.json"),
    ],
)  # fmt: skip
def test_a_damaged_list_of_defects_is_one_line(trees: Trees, tmp_path: Path, content: str, message: str) -> None:
    def damage(folder: Path) -> None:
        (folder / "defects_config.json").write_text(content)

    assert message in damaged(trees("mvtec-loco"), tmp_path / "copy", "mvtec-loco", damage)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lists: lists["test"][9].update(mask_path=None), "has a defect, AK, and no mask_path"),
        (lambda lists: lists["test"][0].update(image_path="../../../x.jpg"), "leads out of"),
        (lambda lists: lists["train"].append(lists["train"][0]), "names 1 of its 34 images twice"),
        (lambda lists: lists["train"][0].update(anomaly_class="AK", mask_path="NG/AK/S0000/pcb_C1.png"), "among the"),
        (lambda lists: lists.pop("test"), "not a list of Real-IAD"),
    ],
)  # fmt: skip
def test_a_damaged_list_of_real_iad_is_one_line(
    trees: Trees, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(trees("real-iad"), root)
    path = root / "realiad_jsons" / "realiad_jsons_sv" / "pcb.json"
    lists = json.loads(path.read_text())
    change(lists)
    path.write_text(json.dumps(lists))
    with one_line(message, EvaluationError):
        dataset("real-iad").load(root, "pcb")


def test_a_limit_keeps_some_validation_images(trees: Trees) -> None:
    assert len(limited(dataset("mvtec-ad2").load(trees("mvtec-ad2"), "sheet_metal"), 5).validation) == 5
