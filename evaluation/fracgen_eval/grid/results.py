"""A folder of results: one JSON file per cell, there whole or not at all.

The file's name ends in a digest of everything that decides the numbers: method and settings, the
weights' tensors, the data's listing, seed, shots, protocol. A finished file is therefore never
wrong for a cell that finds it, and results from several machines merge by being files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.slurm.queue import job_here
from fracgen.support.decode import read_json
from fracgen.support.files import remove_parts, whole_file
from fracgen.support.terminal import one_line
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import DONE, FAILED, METRICS, SCHEMA, CellResult

if TYPE_CHECKING:
    from pandas import DataFrame

CELLS, MAPS, FILTERS, LOCKS = "cells", "maps", "filters", ".locks"


def result_path(out: Path, cell: Cell) -> Path:
    """The cell's file."""
    return out / CELLS / f"{cell.path}.json"


def maps_path(out: Path, cell: Cell) -> Path:
    """The cell's kept maps: NPZ with `maps` [N, side, side] and `masks` [N, side, side]."""
    return out / MAPS / f"{cell.path}.npz"


def write_result(out: Path, result: CellResult) -> Path:
    """Write a cell's file, whole or not at all. Raises ValueError for a number that is not finite."""
    path = result_path(out, result.cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(result.to_json(), indent=1, allow_nan=False).encode() + b"\n")
    return path


def found_result(out: Path, cell: Cell) -> CellResult | None:
    """A cell's result; None where there is no readable one yet."""
    try:
        return read_result(result_path(out, cell))
    except EvaluationError:
        return None


def clean(out: Path) -> None:
    """Remove what killed processes left of results, maps and filters; what is being written stays."""
    for name in (CELLS, MAPS, FILTERS):
        remove_parts(out / name, "**/.*")


def read_result(path: Path) -> CellResult:
    """A cell's file. Raises EvaluationError where it is not one, or a value in it is not what it should be."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{one_line(error)}: delete it and run the grid again") from None
    if content.get("schema") != SCHEMA or content.get("status") not in (DONE, FAILED):
        raise EvaluationError(f"{path}: not a result of this version ({SCHEMA}): move it away")
    try:
        return CellResult.from_json(content)
    except ValueError as error:
        raise EvaluationError(f"{path}: not a cell's result ({error}): move it away") from None


def read_results(out: Path) -> Iterator[tuple[Path, CellResult | EvaluationError]]:
    """All cells' files below a result folder by name: path below it, and the result, or why it cannot be read."""
    for path in sorted((out / CELLS).rglob("*.json")):
        if path.name.startswith("."):
            continue
        try:
            yield path.relative_to(out), read_result(path)
        except EvaluationError as error:
            yield path.relative_to(out), error


def read_table(out: Path) -> tuple[DataFrame, list[str]]:
    """A result folder as a tidy table, and a line about each file in it that cannot be read.

    The table has a row for each cell, by the names of their files, and these columns: `path` below the folder,
    `result`, `status`, every field of the cell, its cost and its origin, and each of `METRICS`, in [0, 1], NaN where
    there is none.
    """
    from pandas import DataFrame

    rows: list[dict[str, object]] = []
    problems = []
    for path, result in read_results(out):
        if isinstance(result, EvaluationError):
            problems.append(str(result))
            continue
        numbers = {name: result.metrics.get(name, float("nan")) for name in METRICS}
        rows.append({"path": str(path), "result": result, "status": result.status, **result.cell.to_json(),
                     **dataclasses.asdict(result.cost), **dataclasses.asdict(result.origin), **numbers})  # fmt: skip
    return DataFrame(rows), problems


@contextlib.contextmanager
def lock(out: Path, cell: Cell) -> Iterator[bool]:
    """Whether this process has the cell to itself; nobody waits. The system drops the lock with its process."""
    (out / LOCKS).mkdir(parents=True, exist_ok=True)
    with (out / LOCKS / cell.digest).open("a") as file:  # without cutting what the holder has written
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        file.truncate(0)
        file.write(job_here() or "")
        file.flush()
        yield True


def begun_by(out: Path, cell: Cell) -> str | None:
    """The job under SLURM that last began the cell, whether or not it is still at it; None for none."""
    try:
        return (out / LOCKS / cell.digest).read_text() or None
    except OSError:
        return None
