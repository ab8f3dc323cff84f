"""`fracgen eval predict`: fit or load, calibrate, judge, decide, and say what the decisions are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fracgen.support.terminal import working
from fracgen_eval import decisions
from fracgen_eval.datasets.listing import images_in, left_out, pictures_below
from fracgen_eval.errors import EvaluationError
from fracgen_eval.pictures import SUFFIXES, read_picture
from fracgen_eval.predict.fitting import calibrated, digests, fit_model
from fracgen_eval.predict.model import FittedModel
from fracgen_eval.predict.page import Row, Verdict, write_results
from fracgen_eval.predict.pictures import Judged
from fracgen_eval.predict.request import Request
from fracgen_eval.predict.shift import LEVEL, Seen, shift

ORIENTATION = 274
"""Tag of EXIF; above 4, a picture lies on its side."""


def predict(images: Sequence[Path], request: Request, device: str = "cpu") -> Verdict:
    """Judge pictures.

    Args:
        images: pictures, or folders of them.
        request: by what, and what becomes of it.
        device: `cpu` or `cuda`.

    Raises:
        EvaluationError: something cannot be read, fitted or judged.
        OSError: something cannot be written.
    """
    request.check(images)
    paths, notes = _pictures(images), list[str]()
    if request.load is not None:
        fitted = FittedModel.load(request.load, device)
    else:
        assert request.train is not None
        request.choice.settings()
        notes += differing(images_in(request.train), paths, request.choice.tiles)
        fitted = fit_model(request.choice, request.train, device)
        if rest := left_out(request.train, [request.train], images_in(request.train)):
            notes.append(f"{request.train}: left out {rest}")
    if request.calibrate is not None:
        fitted, said = calibrated(fitted, request.calibrate, request.false_alarms)
        notes += said
    if request.save is not None:
        with working():
            fitted.save(request.save)
    judged = fitted.judge(paths)
    verdict = _decided(fitted, judged, paths, request.false_alarms, notes)
    if request.out is None:
        return verdict
    maps = dict(zip(map(str, paths), judged.maps or (), strict=False))
    with working():
        return write_results(verdict, maps, fitted.normal.map_range, fitted.fit.method, request.out)


def _pictures(images: Sequence[Path]) -> list[Path]:
    """Pictures, those of folders by path. Raises EvaluationError where a folder holds none."""
    found: dict[Path, None] = {}
    for path in images:
        below = pictures_below(path) if path.is_dir() else [path]
        if not below:
            raise EvaluationError(f"{path}: no pictures ({', '.join(SUFFIXES)}) to judge in this folder")
        found |= dict.fromkeys(below)
    return list(found)


def _decided(fitted: FittedModel, judged: Judged, paths: Sequence[Path], rate: float, notes: Sequence[str]) -> Verdict:
    normal, number = fitted.normal, len(fitted.normal.scores)
    p = fitted.p_values(judged)
    flags = decisions.flagged(p, number, rate)
    rows = [
        Row(str(path), float(score), float(its) if number else None, bool(flag) if number else None)
        for path, score, its, flag in zip(paths, judged.scores, p, flags, strict=True)
    ]
    fit, weights = fitted.fit, fitted.fit.weights
    about = (
        f"{fit.method} on {weights.model} ({weights.name}{f': {weights.tag}' if weights.tag else ''}, digest "
        f"{weights.digest}), fitted on {len(fitted.own.digests)} normal pictures"
        f"{', in tiles at full resolution' if fit.tiled else ''}"
    )
    return Verdict(
        tuple(sorted(rows, key=lambda row: -row.score)), about, promise(number, rate), tuple(notes),
        tuple(_warnings(fitted, judged, paths)), tuple(map(float, normal.scores)),
    )  # fmt: skip


def promise(normal: int, rate: float) -> str:
    """How often a normal picture is flagged, where so many were kept back.

    >>> promise(40, 0.05)
    'a normal picture is flagged with a probability of at most 0.05, as 40 normal pictures tell'
    >>> promise(9, 0.05)
    '9 normal pictures can promise 1 false alarm in 10, not 0.05: flagged is what scores above all of them; 19 would do'
    """
    if not normal:
        return (
            "no normal picture was kept back, so there are no p-values and no decisions: add normal pictures, or "
            "calibrate on good ones with --calibrate"
        )
    if normal < (needed := decisions.pictures_needed(rate)):
        return (
            f"{normal} normal picture{'s' * (normal > 1)} can promise 1 false alarm in {normal + 1}, not {rate:g}: "
            f"flagged is what scores above all of them; {needed} would do"
        )
    return f"a normal picture is flagged with a probability of at most {rate:g}, as {normal} normal pictures tell"


def _warnings(fitted: FittedModel, judged: Judged, paths: Sequence[Path]) -> list[str]:
    found = []
    known = set(fitted.own.digests)
    if own := [path for path, mark in zip(paths, digests(paths), strict=True) if mark in known]:
        found.append(
            f"{len(own)} of the judged pictures ({own[0].name}, ...) are among those that the model was fitted on: "
            "their scores say nothing"
        )
    normal = fitted.normal
    if len(normal.scores):
        p, difference = shift(Seen(judged.scores, judged.looks), Seen(normal.scores, normal.looks))
        if p <= LEVEL:
            found.append(
                f"the judged pictures differ from the normal ones as a whole (p = {p:.2g}; {difference}): more of them "
                "may be flagged than promised; calibrate on good pictures taken as these were, with --calibrate"
            )
    return found


def differing(normal: Sequence[Path], judged: Sequence[Path], tiled: bool) -> list[str]:
    """What is not alike among the pictures' depths and, unless they are tiled, shapes; one line each.

    Raises:
        EvaluationError: one cannot be decoded.
    """
    found = []
    for path in judged:
        read_picture(path)  # what cannot be judged is refused before the work of fitting
    ours, theirs = Counter(map(_kind, normal)), Counter(map(_kind, judged))
    for n, what in ((0, "shapes"), (1, "depths"))[tiled:]:
        train = Counter[str]()
        for kind, number in ours.items():
            train[kind[n]] += number
        foreign = sorted({kind[n] for kind in theirs} - set(train))
        if len(train) > 1:
            listed = ", ".join(f"{number} of {kind}" for kind, number in train.most_common(3))
            found.append(f"the normal pictures differ in their {what} ({listed}): what differs may pass unseen")
        elif train and foreign:
            found.append(f"judged pictures have {what} that no normal one has ({foreign[0]}): that may flag them")
    return found


def _kind(path: Path) -> tuple[str, str]:
    """Shape and depth of a picture file, from its header. Raises EvaluationError where it cannot be decoded."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            (width, height), mode, orientation = image.size, image.mode, image.getexif().get(ORIENTATION, 1)
    except OSError:
        height, width, _ = read_picture(path).shape  # which says what is wrong
        mode, orientation = "RGB", 1
    if orientation > 4:
        width, height = height, width
    grey, deep = mode in ("1", "L", "LA") or mode.startswith("I"), mode.startswith("I")
    return f"{width} x {height} px", f"{16 if deep else 8} bits of {'grey' if grey else 'colour'}"
