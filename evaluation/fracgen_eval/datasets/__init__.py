"""Datasets: published ones by their trees, any folder in MVTec layout; `surfaces` and `elpv` need no download."""

from __future__ import annotations

from pathlib import Path

from fracgen_eval.datasets.base import Category as Category
from fracgen_eval.datasets.base import Dataset, SelfContained
from fracgen_eval.datasets.base import Sample as Sample
from fracgen_eval.datasets.base import check_files as check_files
from fracgen_eval.datasets.base import draw_shots as draw_shots
from fracgen_eval.datasets.base import limited as limited
from fracgen_eval.datasets.elpv import Elpv
from fracgen_eval.datasets.lists import RealIAD, VisA
from fracgen_eval.datasets.published import PUBLISHED
from fracgen_eval.datasets.surfaces import Surfaces
from fracgen_eval.datasets.surfaces import write_surfaces as write_surfaces
from fracgen_eval.datasets.trees import Folder
from fracgen_eval.errors import EvaluationError, one_of

_ALL: tuple[Dataset, ...] = (PUBLISHED[0], VisA(), *PUBLISHED[1:], RealIAD(), Folder(), Surfaces(), Elpv())
DATASETS = {d.name: d for d in _ALL}


def dataset(name: str) -> Dataset:
    """The dataset of that name. Raises EvaluationError with the list where there is none."""
    return DATASETS[one_of(name, list(DATASETS), "dataset")]


def check_root(name: str, root: Path | None) -> None:
    """Refuse a folder that is not there, and none where the dataset needs one; nothing is read or written.

    Raises:
        EvaluationError: with the remedy.

    >>> check_root("mvtec", None)
    Traceback (most recent call last):
    fracgen_eval.errors.EvaluationError: where is mvtec? give its folder with --root; nothing is downloaded
    """
    source = dataset(name)
    if root is None and not isinstance(source, SelfContained):
        raise EvaluationError(f"where is {name}? give its folder with --root; nothing is downloaded")
    if root is not None and not root.is_dir():
        raise EvaluationError(f"{root}: no such folder; give the dataset's with --root")


def root_of(name: str, root: Path | None, out: Path) -> Path:
    """The dataset's folder: as named, or its own, which may be made below `out`. Raises EvaluationError."""
    check_root(name, root)
    source = dataset(name)
    if root is None:
        assert isinstance(source, SelfContained)
        return source.own_root(out)
    return root
