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
from fracgen_eval.datasets.folder import Folder
from fracgen_eval.datasets.mvtec import MVTec
from fracgen_eval.datasets.published import Btad, Mpdd, MVTecAD2, MVTecLoco
from fracgen_eval.datasets.realiad import RealIAD
from fracgen_eval.datasets.surfaces import Surfaces
from fracgen_eval.datasets.surfaces import write_surfaces as write_surfaces
from fracgen_eval.datasets.visa import VisA
from fracgen_eval.errors import EvaluationError, one_of

DATASETS: dict[str, Dataset] = {
    d.name: d
    for d in (
        MVTec(), VisA(), MVTecLoco(), MVTecAD2(), Btad(), Mpdd(), RealIAD(), Folder(), Surfaces(), Elpv(),
    )
}  # fmt: skip


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
