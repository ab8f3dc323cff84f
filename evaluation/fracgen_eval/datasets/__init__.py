"""Datasets: MVTec AD, VisA, any folder in MVTec layout, `surfaces` and `elpv`, which need no download."""

from __future__ import annotations

from fracgen_eval.datasets.base import Category as Category
from fracgen_eval.datasets.base import Dataset
from fracgen_eval.datasets.base import Sample as Sample
from fracgen_eval.datasets.base import check_files as check_files
from fracgen_eval.datasets.base import draw_shots as draw_shots
from fracgen_eval.datasets.base import limited as limited
from fracgen_eval.datasets.elpv import Elpv
from fracgen_eval.datasets.folder import Folder
from fracgen_eval.datasets.mvtec import MVTec
from fracgen_eval.datasets.surfaces import Surfaces
from fracgen_eval.datasets.surfaces import write_surfaces as write_surfaces
from fracgen_eval.datasets.visa import VisA
from fracgen_eval.errors import one_of

DATASETS: dict[str, Dataset] = {d.name: d for d in (MVTec(), VisA(), Folder(), Surfaces(), Elpv())}


def dataset(name: str) -> Dataset:
    """The dataset of that name. Raises EvaluationError with the list where there is none."""
    return DATASETS[one_of(name, list(DATASETS), "dataset")]
