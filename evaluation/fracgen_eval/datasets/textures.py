"""`textures`: a demo dataset cut from photographs that scikit-image carries in its wheel.

Training crops come from the first part of a photograph, test crops from the rest, so that the two
never overlap; half of the test crops get a drawn defect with an exact mask. The files, in MVTec
layout, are a pure function of a seed and the photographs. It shows that the chain works and tells a
weak backbone from a strong one; it is not a benchmark.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.datasets.base import GOOD, Category
from fracgen_eval.datasets.defects import DEFECTS
from fracgen_eval.datasets.folder import load_folder
from fracgen_eval.errors import EvaluationError, one_of

PHOTOGRAPHS = {
    "brick": "brick.png", "coins": "coins.png", "grass": "grass.png", "gravel": "gravel.png",
    "stars": "hubble_deep_field.jpg", "tissue": "ihc.png",
}  # fmt: skip
"""Category and file in scikit-image's data folder: CC0 textures, a Pompeian coin photograph, the
Hubble deep field and a stained tissue slide, all free of restrictions by scikit-image's notes."""
EASY = "brick"
"""The category that every method should tell apart with half-way useful features."""
SIDE = 128
"""Side of a crop in pixels."""
TRAIN_SHARE = 0.6
TRAIN_CROPS, GOOD_CROPS, CROPS_PER_DEFECT = 40, 18, 3
NOTE = "textures.json"


class Textures:
    """`--dataset textures`: written on first use, in seconds."""

    name = "textures"

    def categories(self, root: Path) -> list[str]:
        """All six."""
        return list(PHOTOGRAPHS)

    def load(self, root: Path, category: str) -> Category:
        """List a category's files."""
        one_of(category, self.categories(root), "category of textures")
        if not (root / NOTE).is_file():
            raise EvaluationError(f"{root}: no textures here; run `fracgen eval data textures --out {root}`")
        return load_folder(root / category, self.name, category)


def write_textures(folder: Path, seed: int = 0) -> Path:
    """Write the dataset; whole or not at all, and only once where several processes try.

    Returns:
        `folder`.

    Raises:
        EvaluationError: the folder holds something else, or textures of another seed.
    """
    note = {"dataset": "textures", "seed": seed, "side": SIDE, "version": 1}
    if folder.exists() and any(folder.iterdir()):
        if not (folder / NOTE).is_file() or json.loads((folder / NOTE).read_text()) != note:
            raise EvaluationError(f"{folder}: not empty, and not these textures (seed {seed}): name another folder")
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        for number, category in enumerate(PHOTOGRAPHS):
            _write_category(beside / category, category, [seed, number])
        (beside / NOTE).write_text(json.dumps(note, indent=1) + "\n")
        beside.chmod(0o755)
        try:
            os.rename(beside, folder)
        except OSError:  # another process was first
            if not (folder / NOTE).is_file():
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _write_category(folder: Path, category: str, key: list[int]) -> None:
    train, test = _parts(_photograph(category))
    for n in range(TRAIN_CROPS):
        _save(_crop(train, np.random.default_rng([*key, 0, n])), folder / "train" / GOOD / f"{n:03d}.png")
    for n in range(GOOD_CROPS):
        _save(_crop(test, np.random.default_rng([*key, 1, n])), folder / "test" / GOOD / f"{n:03d}.png")
    for kind, (defect, draw) in enumerate(DEFECTS.items()):
        for n in range(CROPS_PER_DEFECT):
            rng = np.random.default_rng([*key, 2 + kind, n])
            image, mask = draw(rng, _crop(test, rng))
            _save(image, folder / "test" / defect / f"{n:03d}.png")
            _save(mask.astype(np.uint8) * 255, folder / "ground_truth" / defect / f"{n:03d}_mask.png")


def _photograph(category: str) -> NDArray[np.uint8]:
    """uint8 [H, W, 3], the longer side across."""
    from PIL import Image

    with as_file(files("skimage") / "data" / PHOTOGRAPHS[category]) as path:
        if not path.is_file():
            raise EvaluationError(f"scikit-image's {path.name} is missing from its wheel: reinstall scikit-image")
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))


def _parts(photograph: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    cut = int(photograph.shape[1] * TRAIN_SHARE)
    return photograph[:, :cut], photograph[:, cut:]


def _crop(part: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random crop [SIDE, SIDE, 3], mirrored left-right or up-down with probability 1/2 each."""
    top, left = (int(rng.integers(0, extent - SIDE + 1)) for extent in part.shape[:2])
    crop = part[top : top + SIDE, left : left + SIDE]
    rows, columns = rng.choice([1, -1], 2)
    return np.ascontiguousarray(crop[::rows, ::columns])


def _save(pixels: NDArray[Any], path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
