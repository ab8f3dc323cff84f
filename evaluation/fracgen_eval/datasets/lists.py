"""Datasets that list their files themselves, so that every file that a list names must be there: VisA and Real-IAD.

VisA (Zou et al., ECCV 2022), 12 categories: as downloaded, `split_csv/1cls.csv` lists object, split, label, image and
mask, paths from the root. Prepared (the dataset's own script), a folder `1cls` holds one folder in MVTec AD's layout
for each category. Masks hold the number of the defect's class; everything but zero is defect.

Real-IAD (Wang et al., CVPR 2024), 30 categories, one view an image:

    realiad_jsons_sv/<category>.json                  the single-view lists; also in a folder realiad_jsons
    realiad_1024/<category>/OK/..., NG/...            images and masks; or realiad_512, realiad_256, realiad_raw
"""

from __future__ import annotations

import csv
from pathlib import Path

from fracgen.support.decode import read_json
from fracgen_eval.datasets.base import GOOD, Category, Sample
from fracgen_eval.datasets.counts import check_counts, published_counts
from fracgen_eval.datasets.trees import MVTEC, load_tree
from fracgen_eval.errors import EvaluationError, one_of

VISA_LICENCE = "VisA, CC BY 4.0, from Amazon Science's spot-diff page"
VISA_DEFECT = "anomaly"
LICENCE = "Real-IAD, CC BY-NC-SA 4.0, not for commercial use, on request from its authors"
LISTS = ("realiad_jsons_sv", "realiad_jsons/realiad_jsons_sv")
RESOLUTIONS = ("realiad_1024", "realiad_512", "realiad_256", "realiad_raw")
"""The first that is there is used."""
TREE = "realiad_jsons_sv/<category>.json and realiad_1024/<category>/ (or realiad_512, realiad_256, realiad_raw)"
NORMAL = "OK"
CATEGORIES = (
    "audiojack", "bottle_cap", "button_battery", "end_cap", "eraser", "fire_hood", "mint", "mounts", "pcb",
    "phone_battery", "plastic_nut", "plastic_plug", "porcelain_doll", "regulator", "rolled_strip_base",
    "sim_card_set", "switch", "tape", "terminalblock", "toothbrush", "toy", "toy_brick", "transistor1", "u_block",
    "usb", "usb_adaptor", "vcpill", "wooden_beads", "woodstick", "zipper",
)  # fmt: skip


class VisA:
    """`--dataset visa`: the folder with split_csv, or the one with 1cls, or 1cls itself."""

    name = "visa"

    def categories(self, root: Path) -> list[str]:
        """All 12, in the dataset's order."""
        return list(published_counts(self.name))

    def load(self, root: Path, category: str) -> Category:
        """List a category's files and check their counts."""
        one_of(category, self.categories(root), "category of visa")
        table = root / "split_csv" / "1cls.csv"
        prepared = next((p for p in (root / "1cls" / category, root / category) if (p / "train").is_dir()), None)
        if prepared is not None:
            listed = load_tree(prepared, MVTEC, self.name, category)
        elif table.is_file():
            listed = _visa_listed(root, table, category)
        else:
            raise EvaluationError(
                f"{root}: neither split_csv/1cls.csv (as downloaded) nor 1cls/{category}/train (prepared) is there "
                f"({VISA_LICENCE})"
            )
        check_counts(listed, VISA_LICENCE)
        return listed


def _visa_listed(root: Path, table: Path, category: str) -> Category:
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("object") == category]
    parts: dict[bool, list[Sample]] = {True: [], False: []}
    for row in rows:
        image, *masks = (_there(root, row[k], table, VISA_LICENCE) for k in ("image", "mask") if row[k])
        sample = Sample(image, GOOD if row["label"] == "normal" else VISA_DEFECT, tuple(masks))
        parts[row["split"] == "train"].append(sample)
    return Category("visa", category, root / category, tuple(parts[True]), tuple(parts[False]))


class RealIAD:
    """`--dataset real-iad`: the folder with realiad_jsons_sv and realiad_1024."""

    name = "real-iad"

    def categories(self, root: Path) -> list[str]:
        """All 30."""
        return list(CATEGORIES)

    def load(self, root: Path, category: str) -> Category:
        """List a category's files, each of which must be there."""
        one_of(category, CATEGORIES, f"category of {self.name}")
        table = next((p for name in LISTS if (p := root / name / f"{category}.json").is_file()), None)
        images = next((p for name in RESOLUTIONS if (p := root / name / category).is_dir()), None)
        if table is None or images is None:
            what = f"{LISTS[0]}/{category}.json" if table is None else f"{RESOLUTIONS[0]}/{category}"
            raise EvaluationError(f"{root / what}: not there; expected {TREE} ({LICENCE})")
        train, test = _realiad_listed(table, images)
        return Category(self.name, category, images, train, test)


def _realiad_listed(table: Path, images: Path) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    try:
        content = read_json(table)
        train, test = (tuple(_sample(row, images, table) for row in content[part]) for part in ("train", "test"))
    except EvaluationError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(f"{table}: not a list of Real-IAD ({error!r}): unpack the dataset again") from None
    if twice := len(files := [s.path for s in (*train, *test)]) - len(set(files)):
        raise EvaluationError(f"{table}: names {twice} of its {len(files)} images twice: unpack the dataset again")
    if bad := next((s for s in train if s.anomalous), None):
        raise EvaluationError(f"{table}: {bad.path.name} has a defect and stands among the training images: restore it")
    return train, test


def _sample(row: dict[str, object], images: Path, table: Path) -> Sample:
    kind, path = str(row["anomaly_class"]), _there(images, str(row["image_path"]), table, LICENCE)
    if kind == NORMAL:
        return Sample(path, GOOD)
    if not row.get("mask_path"):
        raise EvaluationError(f"{table}: {path.name} has a defect, {kind}, and no mask_path: unpack the dataset again")
    return Sample(path, kind, (_there(images, str(row["mask_path"]), table, LICENCE),))


def _there(root: Path, name: str, table: Path, licence: str) -> Path:
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise EvaluationError(f"{name!r} in {table} leads out of {root}: restore the list")
    if not path.is_file():
        raise EvaluationError(f"{path}: listed in {table} but not there; unpack the dataset again ({licence})")
    return path
