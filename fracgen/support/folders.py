"""Files below a folder, without those that operating systems add."""

from __future__ import annotations

import os
from pathlib import Path

CLUTTER = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information")
"""Names, in small letters, that systems give to files and folders of their own; others begin with `.` or `@`."""


def is_clutter(name: str) -> bool:
    """Whether a file or folder of that name is the system's.

    >>> is_clutter(".ipynb_checkpoints"), is_clutter("@eaDir"), is_clutter("0001.csv")
    (True, True, False)
    """
    return name.startswith((".", "@")) or name.lower() in CLUTTER


def files_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """All files below a folder; and clutter, whose folders are not entered. Links to folders are followed, once."""
    files, clutter, seen = [], [], {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        clutter += [here / name for name in (*folders, *names) if is_clutter(name)]
        files += [here / name for name in names if not is_clutter(name)]
        real = {name: os.path.realpath(here / name) for name in folders if not is_clutter(name)}
        folders[:] = [name for name, target in real.items() if target not in seen]
        seen.update(real.values())
    return files, clutter
