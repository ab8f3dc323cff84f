"""What a folder of pictures holds: its pictures, its sub-folders, and what is left out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from fracgen.support.folders import files_below, is_clutter
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


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder without clutter, by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not is_clutter(path.name))
