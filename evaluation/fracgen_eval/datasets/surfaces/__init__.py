"""`surfaces`: faint defects on ten real surfaces, made in seconds, that tell good weights from none.

Cut from photographs that scikit-image and scikit-learn carry in their wheels. Every picture, normal or
not, is turned, scaled, lit, tinted, blurred and noisy in its own way, and defects are faint: random
features see little more than chance, ImageNet's do not (docs/evaluation.md has the calibration). The
files, in MVTec layout, are a pure function of a seed and a strength.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen.support.decode import read_json
from fracgen.support.files import whole_folder
from fracgen_eval.datasets.base import GOOD, Category
from fracgen_eval.datasets.surfaces.photographs import PHOTOGRAPHS as PHOTOGRAPHS
from fracgen_eval.datasets.trees import MVTEC, load_tree
from fracgen_eval.errors import EvaluationError, one_of

TRAIN_PICTURES, GOOD_PICTURES, PICTURES_PER_DEFECT = 40, 28, 4
STRENGTHS = (0.0, 4.0)
"""Strength of the defects: above the first, up to the second."""
NOTE = "surfaces.json"


class Surfaces:
    """`--dataset surfaces`: written on first use."""

    name = "surfaces"

    def own_root(self, out: Path) -> Path:
        """Below the result folder, written where it is not there yet."""
        return write_surfaces(out / "data" / self.name)

    def categories(self, root: Path) -> list[str]:
        """All ten."""
        return list(PHOTOGRAPHS)

    def load(self, root: Path, category: str) -> Category:
        """List a category's files."""
        one_of(category, self.categories(root), "category of surfaces")
        if not (root / NOTE).is_file():
            raise EvaluationError(f"{root}: no surfaces here; run `fracgen eval data surfaces -o {root}`")
        return load_tree(root / category, MVTEC, self.name, category)


def write_surfaces(folder: Path, seed: int = 0, strength: float = 1.0) -> Path:
    """Write the dataset; whole or not at all, and only once where several processes try.

    Args:
        folder: a folder that is not there yet, is empty, or holds the same pictures.
        seed: of views, cameras and defects.
        strength: of the defects, above 0 and up to 4; 1 as calibrated.

    Returns:
        `folder`.

    Raises:
        EvaluationError: the folder holds something else, or the strength is out of range.
    """
    if not (math.isfinite(strength) and STRENGTHS[0] < strength <= STRENGTHS[1]):
        raise EvaluationError(f"strength {strength} of the defects: use a number above 0, up to {STRENGTHS[1]:g}")
    note = _note(seed, strength)
    if folder.exists() and any(folder.iterdir()):
        if not _says(folder / NOTE, note):
            raise EvaluationError(
                f"{folder}: not empty, and not these surfaces (seed {seed}, strength {strength:g}): name another folder"
            )
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole_folder(folder) as beside:
            for category in PHOTOGRAPHS:
                _write_category(beside / category, category, seed, strength)
            (beside / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    except OSError:
        if not (folder / NOTE).is_file():  # else another process was first
            raise
    return folder


def _says(path: Path, note: dict[str, Any]) -> bool:
    """Whether a file is this note."""
    try:
        return bool(read_json(path) == note)
    except (OSError, ValueError):
        return False


def _note(seed: int, strength: float) -> dict[str, Any]:
    """What the dataset is, and to whom its photographs are owed."""
    from fracgen_eval.datasets.surfaces.views import SIDE

    sources = {name: f"{p.package}, {p.file}: {p.licence}" for name, p in PHOTOGRAPHS.items()}
    return {
        "dataset": "surfaces", "seed": seed, "strength": float(strength), "side": SIDE, "version": 1,
        "photographs": sources,
    }  # fmt: skip


def _write_category(folder: Path, category: str, seed: int, strength: float) -> None:
    from fracgen_eval.datasets.surfaces.defects import DEFECTS  # what draws is imported by those who draw
    from fracgen_eval.datasets.surfaces.pictures import damaged_picture, normal_picture

    photograph, number = PHOTOGRAPHS[category], list(PHOTOGRAPHS).index(category)
    for purpose, boxes, pictures, where in (
        (0, photograph.train, TRAIN_PICTURES, "train"), (1, photograph.test, GOOD_PICTURES, "test"),
    ):  # fmt: skip
        for n in range(pictures):
            picture = normal_picture(category, boxes, [seed, number, purpose, n])
            _save(picture, folder / where / GOOD / f"{n:03d}.png")
    for kind, defect in enumerate(DEFECTS):
        for n in range(PICTURES_PER_DEFECT):
            picture, mask = damaged_picture(category, defect, [seed, number, 2 + kind, n], strength)
            _save(picture, folder / "test" / defect / f"{n:03d}.png")
            _save(mask.astype(np.uint8) * 255, folder / "ground_truth" / defect / f"{n:03d}_mask.png")


def _save(pixels: NDArray[Any], path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)  # noise does not compress, whatever the effort
