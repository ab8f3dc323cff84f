"""How many images each category has, as published; docs/evaluation.md says by whom."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fracgen_eval.datasets.base import Category
from fracgen_eval.errors import EvaluationError


@dataclass(frozen=True)
class Counts:
    """Images of one category."""

    train: int
    test_good: int
    test_anomalous: int
    masks: int
    defects: dict[str, int]
    """Images of each defect type; empty where the dataset names none."""
    validation: int = 0
    """Normal images that the dataset keeps apart from training and test."""


@cache
def published_counts(dataset: str) -> dict[str, Counts]:
    """Counts of every category of a dataset, in the dataset's order; empty where nobody has published them."""
    text = (files("fracgen_eval") / "data" / "dataset_counts.csv").read_text()
    counts = {}
    for row in csv.DictReader(text.splitlines()):
        if row["dataset"] == dataset:
            pairs = (pair.split(":") for pair in row["defect_types"].split(";") if pair)
            counts[row["class"]] = Counts(
                int(row["train_normal"]), int(row["test_normal"]), int(row["test_anomalous"]), int(row["masks"]),
                {defect: int(number) for defect, number in pairs}, int(row["validation_normal"]),
            )  # fmt: skip
    return counts


def check_counts(category: Category, licence: str, want: Counts | None = None) -> None:
    """Compare a category with its published counts.

    Args:
        category: as listed.
        licence: of the dataset, and where it comes from, for the message.
        want: other counts than those of `published_counts`.

    Raises:
        EvaluationError: an image or a mask is missing or too many; the message has both counts.
    """
    want = published_counts(category.dataset)[category.name] if want is None else want
    test = category.test
    pairs = [
        ("training images", len(category.train), want.train),
        ("validation images", len(category.validation), want.validation),
        ("good test images", sum(not s.anomalous for s in test), want.test_good),
        ("test images with a defect", sum(s.anomalous for s in test), want.test_anomalous),
        ("masks", sum(bool(s.masks) for s in test), want.masks),
    ]
    for defect, number in want.defects.items():
        pairs.append((f"test images of {defect}", sum(s.defect == defect for s in test), number))
    wrong = [f"{listed} {what} instead of {number}" for what, listed, number in pairs if listed != number]
    if wrong:
        raise EvaluationError(
            f"{category.root}: {category.name} of {category.dataset} is not complete: {', '.join(wrong)}. "
            f"Unpack the dataset again ({licence}), or evaluate what is there with --dataset folder"
        )
