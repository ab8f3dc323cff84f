"""What a folder of pictures holds: pictures, sub-folders, what is left out, and whose mask is whose."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from fracgen.support.kinds import files_below, is_clutter
from fracgen_eval.errors import EvaluationError
from fracgen_eval.pictures import SUFFIXES


def images_in(folder: Path) -> list[Path]:
    """The picture files that lie in a folder itself, by name; none where it does not exist."""
    return [path for path in _entries(folder) if _is_picture(path) and path.is_file()]


def folders_in(folder: Path) -> list[Path]:
    """The sub-folders of a folder, by name; none where it does not exist."""
    return [path for path in _entries(folder) if path.is_dir()]


def pictures_below(folder: Path) -> list[Path]:
    """The picture files in a folder and its sub-folders, by path."""
    return sorted(path for path in files_below(folder)[0] if _is_picture(path))


def left_out(root: Path, folders: Iterable[Path], used: Collection[Path]) -> str:
    """What lies in folders and is not used, counted, with the first of each kind; empty where there is nothing.

    Args:
        root: what the paths in the text start from.
        folders: these, and all below them.
        used: the files that are.

    >>> left_out(Path("cups"), [Path("cups/train")], [])
    ''
    """
    known = set(used)
    pictures: list[Path] = []
    others: list[Path] = []
    hidden: list[Path] = []
    for folder in folders:
        files, clutter = files_below(folder)
        hidden += clutter
        for path in files:
            if path not in known:
                (pictures if _is_picture(path) else others).append(path)
    kinds = (
        ("picture", "pictures", pictures), ("file of another kind", "files of other kinds", others),
        ("hidden file or folder", "hidden files or folders", hidden),
    )  # fmt: skip
    return ", ".join(
        f"{len(paths)} {one if len(paths) == 1 else many} "
        f"({min(paths).relative_to(root)}{', ...' if len(paths) > 1 else ''})"
        for one, many, paths in kinds
        if paths
    )


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


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder without clutter, by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not is_clutter(path.name))
