"""Real-IAD (Wang et al., CVPR 2024), one view an image: 30 categories, listed by the dataset's own JSON files.

    realiad_jsons_sv/<category>.json                  the single-view lists; also in a folder realiad_jsons
    realiad_1024/<category>/OK/..., NG/...            images and masks; or realiad_512, realiad_256, realiad_raw

The lists say which image is for what, so that they are the counts too: every file that they name must be there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fracgen.support.decode import read_json
from fracgen_eval.datasets.base import GOOD, Category, Sample
from fracgen_eval.errors import EvaluationError, one_of

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
        train, test = _listed(table, images)
        return Category(self.name, category, images, train, test)


def _listed(table: Path, images: Path) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    try:
        content = read_json(table)
        parts = tuple(tuple(_sample(row, images, table) for row in content[part]) for part in ("train", "test"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, EvaluationError):
            raise
        raise EvaluationError(f"{table}: not a list of Real-IAD ({error!r}): unpack the dataset again") from None
    train, test = parts
    if twice := len(files := [s.path for s in (*train, *test)]) - len(set(files)):
        raise EvaluationError(f"{table}: names {twice} of its {len(files)} images twice: unpack the dataset again")
    if bad := next((s for s in train if s.anomalous), None):
        raise EvaluationError(f"{table}: {bad.path.name} has a defect and stands among the training images: restore it")
    return train, test


def _sample(row: dict[str, Any], images: Path, table: Path) -> Sample:
    kind = str(row["anomaly_class"])
    path = _there(images, str(row["image_path"]), table)
    if kind == NORMAL:
        return Sample(path, GOOD)
    if not row.get("mask_path"):
        raise EvaluationError(f"{table}: {path.name} has a defect, {kind}, and no mask_path: unpack the dataset again")
    return Sample(path, kind, _there(images, str(row["mask_path"]), table))


def _there(images: Path, name: str, table: Path) -> Path:
    path = images / name
    if not path.resolve().is_relative_to(images.resolve()):
        raise EvaluationError(f"{name!r} in {table} leads out of {images}: restore the list")
    if not path.is_file():
        raise EvaluationError(f"{path}: listed in {table} but not there; unpack the dataset again ({LICENCE})")
    return path
