"""Fits a method on a folder of normal pictures, and calibrates it on good pictures of another day."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fracgen.support.decode import from_json
from fracgen_eval import decisions
from fracgen_eval.datasets.listing import images_in, left_out
from fracgen_eval.errors import EvaluationError
from fracgen_eval.methods import Method, check_fit
from fracgen_eval.pictures import SUFFIXES
from fracgen_eval.predict.folds import cross_fit, deal, usual_folds
from fracgen_eval.predict.model import Fit, FittedModel, Normal, WeightsNote, check_judgement
from fracgen_eval.predict.pictures import LOOKS, Cut, Judged, judge, to_fit
from fracgen_eval.predict.request import Choice
from fracgen_eval.weights.backbones import load_weights


def fit_model(choice: Choice, train: Path, device: str = "cpu") -> FittedModel:
    """Fit a method on the pictures of a folder, which are normal. What lies in its sub-folders is left out.

    Raises:
        EvaluationError: the folder holds no pictures or too few, one cannot be decoded, an argument is unknown, a
            setting would do nothing, or the fitted method diverged.
    """
    name, settings, paths = choice.method, choice.settings(), normal_pictures(train)
    fold_of = deal(len(paths), choice.folds or usual_folds(name), choice.seed)
    weights = load_weights(choice.weights, choice.model)
    counts = np.bincount(fold_of)
    fewest = int(counts.min() if name == "patchcore" else len(paths) - counts.max()) or len(paths)
    check_fit(name, weights.model, settings, fewest, layers=choice.layers)
    fit = Fit(
        name, settings, choice.seed, from_json(WeightsNote, weights.describe()), layers=choice.layers,
        tiled=choice.tiles,
    )  # fmt: skip
    found: dict[int, Judged] = {}

    def keep(method: Method, fold: int) -> None:
        kept = [path for path, its in zip(paths, fold_of, strict=True) if its == fold]
        found[fold] = judge(method, Cut(method.geometry, choice.tiles), kept)

    cut = Cut(fit.build(weights, device).geometry, choice.tiles)
    images, owners = to_fit(paths, cut, choice.seed)
    method = cross_fit(lambda: fit.build(weights, device), images, fold_of[owners], keep)
    check_judgement(method)
    return FittedModel(method, fit, _own(found, fold_of, digests(paths)))


def calibrated(fitted: FittedModel, folder: Path, rate: float) -> tuple[FittedModel, list[str]]:
    """The same model with the good pictures of a folder as those that judged ones are compared with.

    Args:
        fitted: the model.
        folder: of good pictures; those that the model was fitted on are left out.
        rate: of false alarms.

    Returns:
        The model; and what was left out, and how many of the pictures would have been flagged without them.

    Raises:
        EvaluationError: there are no other pictures, or one cannot be decoded.
    """
    paths = normal_pictures(folder)
    marks, known = dict(zip(paths, digests(paths), strict=True)), set(fitted.own.digests)
    fresh, seen = ([path for path in paths if (marks[path] in known) == of] for of in (False, True))
    if not fresh:
        raise EvaluationError(
            f"{folder}: all {len(paths)} pictures are among those of the training: calibrate on others, of another day"
        )
    notes = [f"{folder}: left out {len(seen)} of the training's own pictures ({seen[0].name}, ...)"] if seen else []
    judged, own = fitted.judge(fresh), len(fitted.own.scores)
    if own:
        among = decisions.flagged(fitted.p_values(judged, fitted.own), own, rate).sum()
        its = decisions.p_values(fitted.own.scores, fitted.own.scores) - 1 / (own + 1)  # it is not among the others
        flagged = np.count_nonzero(its * (own + 1) / own <= decisions.promised_rate(own - 1, rate) + 1e-9)
        notes.append(
            f"before calibrating, {among} of {len(fresh)} good pictures of another day were flagged; among the "
            f"training's own, {flagged} of {own}"
        )
    normal = Normal.of(judged, [marks[path] for path in fresh])
    return dataclasses.replace(fitted, calibration=normal), notes


def normal_pictures(folder: Path) -> list[Path]:
    """The pictures that lie in a folder. Raises EvaluationError where there are none."""
    paths = images_in(folder)
    if not paths:
        found = left_out(folder, [folder], [])
        raise EvaluationError(
            f"{folder}: no pictures ({', '.join(SUFFIXES)}) to fit on{f'; left out {found}' if found else ''}; "
            "give the folder of normal ones"
        )
    return paths


def digests(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of files."""
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def _own(found: dict[int, Judged], fold_of: NDArray[np.intp], marks: Sequence[str]) -> Normal:
    """What the models without each fold say about its pictures, in the order of the pictures."""
    if not found:
        return Normal(np.empty(0), np.empty((0, len(LOOKS))), tuple(marks))
    order = np.argsort(np.concatenate([np.flatnonzero(fold_of == fold) for fold in sorted(found)]))
    parts = [found[fold] for fold in sorted(found)]
    scores, looks = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("scores", "looks"))
    maps = [heat for part in parts for heat in part.maps or ()]
    return Normal.of(Judged(scores, looks, maps or None), marks)
