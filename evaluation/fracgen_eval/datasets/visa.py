"""VisA (Zou et al., ECCV 2022): 12 categories, CC BY 4.0, as downloaded or as prepared for one class.

As downloaded, `split_csv/1cls.csv` lists object, split, label, image and mask, paths from the root.
Prepared (the dataset's own script), a folder `1cls` holds one folder in MVTec layout per category.
Masks hold the number of the defect's class; everything but zero is defect.
"""

from __future__ import annotations

import csv
from pathlib import Path

from fracgen_eval.datasets.base import GOOD, Category, Sample
from fracgen_eval.datasets.counts import check_counts, published_counts
from fracgen_eval.datasets.folder import load_folder
from fracgen_eval.errors import EvaluationError, one_of

LICENCE = "VisA, CC BY 4.0, from Amazon Science's spot-diff page"
DEFECT = "anomaly"


class VisA:
    """`--dataset visa`: the folder with split_csv, or the one with 1cls, or 1cls itself."""

    name = "visa"

    def categories(self, root: Path) -> list[str]:
        """All 12, in the dataset's order."""
        return list(published_counts(self.name))

    def load(self, root: Path, category: str) -> Category:
        """List a category's files and check their counts."""
        one_of(category, self.categories(root), "VisA category")
        table = root / "split_csv" / "1cls.csv"
        prepared = next((p for p in (root / "1cls" / category, root / category) if (p / "train").is_dir()), None)
        if prepared is not None:
            listed = load_folder(prepared, self.name, category)
        elif table.is_file():
            listed = _from_table(root, table, category)
        else:
            raise EvaluationError(
                f"{root}: neither split_csv/1cls.csv (as downloaded) nor 1cls/{category}/train (prepared) is there "
                f"({LICENCE})"
            )
        check_counts(listed, LICENCE)
        return listed


def _from_table(root: Path, table: Path, category: str) -> Category:
    with table.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("object") == category]
    train: list[Sample] = []
    test: list[Sample] = []
    for row in rows:
        mask = _inside(root, row["mask"]) if row["mask"] else None
        sample = Sample(_inside(root, row["image"]), GOOD if row["label"] == "normal" else DEFECT, mask)
        (train if row["split"] == "train" else test).append(sample)
    for sample in [*train, *test]:
        for path in (sample.path, sample.mask):
            if path is not None and not path.is_file():
                raise EvaluationError(f"{path}: listed in {table} but not there; unpack the dataset again ({LICENCE})")
    return Category("visa", category, root / category, tuple(train), tuple(test))


def _inside(root: Path, name: str) -> Path:
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise EvaluationError(f"{name!r} in split_csv/1cls.csv leads out of {root}: restore the table")
    return path
