"""ELPV: real solar cells with real defects, read from the installed package `elpv-dataset`.

2,624 electroluminescence images of 300 px from 44 modules (Buerhop-Lutz et al., EU PVSEC 2018; Deitsch
et al., Solar Energy 2019), each with a probability of a defect: 0, 1/3, 2/3 or 1. Sound cells are those
of 0, defective ones those of 1; those in between, on which the experts were unsure, are left out. There
are no masks, so there are image metrics only. CC BY-NC-SA 4.0: never copied, not for commercial use.
"""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import numpy as np

from fracgen_eval.datasets.base import GOOD, Category, Sample
from fracgen_eval.errors import EvaluationError, one_of

LICENCE = "ELPV, CC BY-NC-SA 4.0, not for commercial use, from the package elpv-dataset"
PACKAGE = "elpv_dataset"
COUNTS = {"mono": (588, 313), "poly": (920, 402)}
"""Sound and defective cells of mono- and polycrystalline silicon."""
DEFECT = "defective"
SPLIT_SEED = 0
"""Decides which half of the sound cells is for training."""


class Elpv:
    """`--dataset elpv`: needs no folder, only the extra `elpv`."""

    name = "elpv"

    def own_root(self, out: Path) -> Path:
        """The data folder of the installed package. Raises EvaluationError where it is not installed."""
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or spec.origin is None:
            raise EvaluationError(f'elpv-dataset is not installed: pip install "fracgen[elpv]" ({LICENCE})')
        return Path(spec.origin).parent / "data"

    def categories(self, root: Path) -> list[str]:
        """Mono- and polycrystalline cells."""
        return list(COUNTS)

    def load(self, root: Path, category: str, seed: int = SPLIT_SEED) -> Category:
        """One half of the sound cells, drawn by the seed, to fit on; the other half and all defective ones to test."""
        one_of(category, self.categories(root), "category of elpv")
        sound, defective = _cells(root, category, "0.0"), _cells(root, category, "1.0")
        if (len(sound), len(defective)) != COUNTS[category]:
            raise EvaluationError(
                f"{root}: {len(sound)} sound and {len(defective)} defective {category} cells instead of "
                f"{COUNTS[category][0]} and {COUNTS[category][1]}: install elpv-dataset again"
            )
        order = np.random.default_rng([seed, 0xE197]).permutation(len(sound))
        half = len(sound) // 2
        train, test = (tuple(sound[i] for i in sorted(part)) for part in (order[:half], order[half:]))
        return Category(
            self.name, category, root, tuple(Sample(p) for p in train),
            (*(Sample(p) for p in test), *(Sample(p, DEFECT) for p in defective)),
        )  # fmt: skip


assert DEFECT != GOOD


def _cells(root: Path, category: str, probability: str) -> list[Path]:
    """Images of a kind of cell with that probability of a defect, in the order of the package's list."""
    table = root / "labels.csv"
    try:
        rows = list(csv.reader(table.read_text(encoding="utf-8").splitlines(), delimiter=" ", skipinitialspace=True))
    except OSError as error:
        raise EvaluationError(f"{table}: cannot be read ({error.strerror}): install elpv-dataset again") from None
    paths = [root / row[0] for row in rows if len(row) > 2 and row[1] == probability and row[2] == category]
    if bad := [p for p in paths if not p.is_file() or not p.resolve().is_relative_to(root.resolve())]:
        raise EvaluationError(f"{bad[0]}: listed in {table} but not there: install elpv-dataset again")
    return paths
