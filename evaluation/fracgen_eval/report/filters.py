"""Fig. 2: the filters of the first layer of each weights, as an evaluation leaves them beside its cells."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fracgen.support.decode import open_tensors
from fracgen.support.terminal import one_line
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.results import FILTERS
from fracgen_eval.report.drawing import picture

SCALE, GAP = 5, 2
LARGEST = 1 << 22
"""Numbers of a first layer, many times over."""


def filter_sheets(folder: Path, order: list[str]) -> tuple[list[tuple[str, bytes]], list[str]]:
    """A PNG per weights of a result folder, with its title; and a line about each file that is not one.

    Args:
        folder: the result folder.
        order: names of weights; those of other names come last.
    """
    sheets: list[tuple[str, bytes]] = []
    problems = []
    for path in sorted((folder / FILTERS).glob("*.safetensors")):
        try:
            title, filters = read_filters(path)
            if any(title == other for other, _ in sheets):  # other tensors under the same name
                title += f", {path.stem.rsplit('-', 1)[-1][:4]}"
            sheets.append((title, picture(sheet(filters))))
        except EvaluationError as error:
            problems.append(str(error).replace(f"{folder}/", ""))
    place = {name: n for n, name in enumerate(order)}
    sheets.sort(key=lambda s: place.get(s[0].rsplit(" (", 1)[0], len(place)))  # names that share a file come last
    return sheets, problems


def read_filters(path: Path) -> tuple[str, NDArray[np.float32]]:
    """Title and filters [C, 3, H, W] of a file. Raises EvaluationError where it holds none."""
    try:
        with open_tensors(path) as file:
            about = file.metadata
            ((name, (dtype, shape)),) = file.tensors.items()
            if dtype not in ("F16", "F32") or len(shape) != 4 or shape[1] != 3 or not 0 < prod(shape) <= LARGEST:
                raise ValueError(f"{name} is {dtype} {list(shape)}")
            filters: NDArray[np.float32] = file.load(name).astype(np.float32)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path}: no first layer ({one_line(error)}); passed over") from None
    if not np.isfinite(filters).all():
        raise EvaluationError(f"{path}: filters that are not finite; passed over")
    return f"{about.get('name', path.stem)} ({about.get('model', 'model unknown')})", filters.astype(np.float32)


def sheet(filters: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Filters in rows of 8, uint8 [H, W, 3]; each stretched over its own range, as first layers are usually shown."""
    count, _, high, wide = filters.shape
    rows = -(-count // 8)
    page = np.full((rows * (high * SCALE + GAP) + GAP, 8 * (wide * SCALE + GAP) + GAP, 3), 255, np.uint8)
    for n, one in enumerate(filters):
        low, span = one.min(), max(float(np.ptp(one)), 1e-12)
        pixels = np.rint((one - low) / span * 255).astype(np.uint8).transpose(1, 2, 0)
        pixels = pixels.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
        top, left = GAP + n // 8 * (high * SCALE + GAP), GAP + n % 8 * (wide * SCALE + GAP)
        page[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return page
