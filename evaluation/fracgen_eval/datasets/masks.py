"""Which mask belongs to which picture: one rule for all datasets whose masks are found by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fracgen_eval.datasets.listing import images_in, pictures_below
from fracgen_eval.errors import EvaluationError


def match_masks(images: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """The masks of the pictures that have one: NAME_mask.EXT, else NAME.EXT.

    A name that is equal to the letter comes before one that differs in capitals. Of several masks of one name, the one
    with the picture's own suffix is taken.

    Args:
        images: pictures.
        folder: where their masks lie; it need not exist.

    Raises:
        EvaluationError: several masks fit a picture equally well.
    """
    exact: dict[str, list[Path]] = {}
    folded: dict[str, list[Path]] = {}
    for mask in images_in(folder):
        exact.setdefault(mask.stem, []).append(mask)
        folded.setdefault(mask.stem.casefold(), []).append(mask)
    found = {}
    for image in images:
        names = (f"{image.stem}_mask", image.stem)
        fitting = next(filter(None, (exact.get(name) for name in names)), None)
        fitting = fitting or next(filter(None, (folded.get(name.casefold()) for name in names)), [])
        chosen = [mask for mask in fitting if mask.suffix == image.suffix] or fitting
        if len(chosen) > 1:
            raise EvaluationError(
                f"{image}: its mask could be {' or '.join(mask.name for mask in chosen)} in {folder}: keep one of them"
            )
        if chosen:
            found[image] = chosen[0]
    return found


def check_strays(folder: Path, known: set[Path]) -> None:
    """Raises EvaluationError where a folder holds a picture that is none of the known masks."""
    if stray := next((path for path in pictures_below(folder) if path not in known), None):
        raise EvaluationError(
            f"{stray}: the mask of no test image of its folder; masks may have been swapped: restore the files"
        )
