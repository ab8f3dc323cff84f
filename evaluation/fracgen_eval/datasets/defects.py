"""Defects on one's own good pictures: what would a detector find, and from which strength on?

Copies of the pictures get the defects of `surfaces`, every kind in several strengths, with exact masks, as a dataset in
MVTec layout. Half of the pictures are for training, the others for testing; the same picture has the same defect in all
strengths. The files are a pure function of the pictures, the seed and the strengths.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fracgen.support.files import whole_folder
from fracgen_eval.datasets.base import GOOD
from fracgen_eval.datasets.listing import images_in
from fracgen_eval.errors import EvaluationError
from fracgen_eval.pictures import SUFFIXES, read_picture

NOTE = "defects.json"
STRENGTHS = (0.5, 1.0, 2.0)
"""Drawn where none are named."""
STRONGEST = 4.0
TEST_SHARE = 0.4
"""Of the pictures."""
PICTURES_PER_DEFECT = 8
"""Test pictures with each kind of defect in each strength, or all, if there are fewer."""
LARGEST = 1024
"""Defects are drawn in a square of a picture's shorter side, or so many pixels if that is less."""
SPLIT_STREAM, DEFECT_STREAM = 0x5B117, 0xDEFEC7
"""Words of the seeds that deal pictures and draw defects."""


def kind_and_strength(folder: str) -> tuple[str, float] | None:
    """What the name of a folder of test pictures says; None where it is not one of this dataset.

    >>> kind_and_strength("scratch-0.5"), kind_and_strength("good"), kind_and_strength("dent")
    (('scratch', 0.5), ('good', 0.0), None)
    """
    if folder == GOOD:
        return GOOD, 0.0
    kind, _, strength = folder.rpartition("-")
    return (kind, float(strength)) if strength.replace(".", "", 1).isdecimal() else None


def write_defects(good: Path, folder: Path, seed: int = 0, strengths: Sequence[float] = STRENGTHS) -> Path:
    """Write the dataset, whole or not at all.

    Args:
        good: folder of good pictures; what lies in its sub-folders is left out.
        folder: made; it must not be there yet, or be empty.
        seed: deals the pictures and draws the defects.
        strengths: each above 0, up to 4; 1 is a faint defect.

    Returns:
        `folder`.

    Raises:
        EvaluationError: there are fewer than two pictures, one cannot be decoded, a strength is out of range, or
            the folder holds something.
    """
    from fracgen_eval.datasets.surfaces.defects import DEFECTS

    for strength in strengths:
        if not (math.isfinite(strength) and 0 < strength <= STRONGEST):
            raise EvaluationError(f"strength {strength} of the defects: use numbers above 0, up to {STRONGEST:g}")
    paths = images_in(good)
    if len(paths) < 2:
        raise EvaluationError(
            f"{good}: {len(paths)} pictures ({', '.join(SUFFIXES)}), and defects need two good ones at least, to train "
            "and to test on"
        )
    if folder.exists() and any(folder.iterdir()):
        raise EvaluationError(f"{folder}: not empty: name another folder")
    order = np.random.default_rng([seed, SPLIT_STREAM]).permutation(len(paths))
    tested = [paths[n] for n in sorted(order[: max(1, round(len(paths) * TEST_SHARE))])]
    folder.parent.mkdir(parents=True, exist_ok=True)
    stems = [path.stem for path in paths]
    names = {path: path.stem if stems.count(path.stem) == 1 else path.name for path in paths}
    with whole_folder(folder) as beside:
        for path in paths:
            place = "test" if path in tested else "train"
            _save(read_picture(path), beside / place / GOOD / f"{names[path]}.png")
        for number, path in enumerate(tested[:PICTURES_PER_DEFECT]):
            picture = read_picture(path)
            for nth, kind in enumerate(DEFECTS):
                for strength in strengths:
                    name = f"{kind}-{strength:g}"
                    damaged, mask = damage(picture, kind, [seed, DEFECT_STREAM, nth, number], strength)
                    _save(damaged, beside / "test" / name / f"{names[path]}.png")
                    _save(mask.astype(np.uint8) * 255, beside / "ground_truth" / name / f"{names[path]}_mask.png")
        note = {"dataset": "defects", "seed": seed, "strengths": list(strengths), "pictures": len(paths), "version": 1}
        (beside / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    return folder


def damage(
    picture: NDArray[np.uint8], kind: str, key: Sequence[int], strength: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A copy of a picture uint8 [H, W, 3] with a defect, and its mask bool [H, W]; nothing else differs.

    Args:
        picture: a good one.
        kind: of the defect, one of `surfaces`'s.
        key: the same gives the same defect, at the same place.
        strength: above 0; 1 as calibrated.
    """
    from fracgen_eval.datasets.surfaces.defects import DEFECTS

    rng = np.random.default_rng(key)
    height, width = picture.shape[:2]
    side = min(height, width, LARGEST)
    top, left = (int(rng.integers(extent - side + 1)) for extent in (height, width))
    surface = picture[top : top + side, left : left + side].astype(np.float64)
    drawn, opacity = DEFECTS[kind](rng, surface, _foreign(rng, side), strength)
    mask = np.zeros((height, width), bool)
    mask[top : top + side, left : left + side] = opacity > 0
    copy = picture.copy()
    copy[mask] = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)[opacity > 0]
    return copy, mask


def _foreign(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """A piece of one of the surfaces, float64 [side, side, 3], as foreign bodies show it."""
    from PIL import Image

    from fracgen_eval.datasets.surfaces.photographs import PHOTOGRAPHS, read_photograph

    name = list(PHOTOGRAPHS)[int(rng.integers(len(PHOTOGRAPHS)))]
    top, left, bottom, right = PHOTOGRAPHS[name].test[0]
    pixels = Image.fromarray(read_photograph(name)[top:bottom, left:right].astype(np.uint8))
    window = min(PHOTOGRAPHS[name].window, *pixels.size)
    x, y = (int(rng.integers(extent - window + 1)) for extent in pixels.size)
    piece = pixels.crop((x, y, x + window, y + window)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(piece).astype(np.float64)


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
