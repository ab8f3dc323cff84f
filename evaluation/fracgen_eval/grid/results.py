"""A cell of the grid and its result: one JSON file, there whole or not at all.

The file's name ends in a digest of everything that decides the numbers: method and settings, the
weights' tensors, the data's listing, seed, shots, protocol. A finished file is therefore never
wrong for a cell that finds it, and results from several machines merge by being files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fracgen.support.files import whole_file
from fracgen_eval.errors import EvaluationError
from fracgen_eval.weights.backbones import InputNorm

SCHEMA = "fracgen-eval-cell/1"
DONE, FAILED = "done", "failed"
CELLS, MAPS, FILTERS, LOCKS = "cells", "maps", "filters", ".locks"
METRICS = ("image_auroc", "pixel_auroc", "aupro")


@dataclass(frozen=True)
class Cell:
    """One independent piece of work: a method, a category, weights, a seed."""

    method: str
    dataset: str
    category: str
    weights: str
    """The weights' name in tables."""
    weights_digest: str
    model: str
    seed: int
    protocol: str
    settings: dict[str, Any] = field(hash=False)
    data_digest: str
    layers: tuple[str, ...] | None = None
    """Other layers than the method's own."""
    shots: int | None = None
    limit: str | None = None
    """`small`, or a number of images: a trial run, never a result."""
    input_norm: InputNorm = "checkpoint"
    map_size: str = "evaluation"
    """`evaluation`: pixel metrics at the method's own size; `original`: at the picture files' size."""

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON types."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    @property
    def digest(self) -> str:
        """First 12 hex digits of a SHA-256 over all fields."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def path(self) -> str:
        """Where its result lies below the result folder's `cells`, without suffix."""
        parts = [self.weights, self.model, f"seed{self.seed}"]
        parts += ["layers" + "".join(layer[-1] for layer in self.layers)] if self.layers else []
        parts += [f"shots{self.shots}"] if self.shots else []
        parts += [self.protocol] if self.protocol != "honest" else []
        parts += [f"limit{self.limit}"] if self.limit else []
        return f"{self.dataset}/{self.category}/{self.method}/{'-'.join(parts)}-{self.digest}"

    @property
    def title(self) -> str:
        """A short line for people."""
        layers = f" {','.join(self.layers)}" if self.layers else ""
        return f"{self.method}{layers} {self.dataset}/{self.category} {self.weights} seed {self.seed}"


def result_path(out: Path, cell: Cell) -> Path:
    """The cell's file."""
    return out / CELLS / f"{cell.path}.json"


def maps_path(out: Path, cell: Cell) -> Path:
    """The cell's kept maps: NPZ with `maps` [N, side, side] and `masks` [N, side, side]."""
    return out / MAPS / f"{cell.path}.npz"


def write_result(out: Path, cell: Cell, result: dict[str, Any]) -> Path:
    """Write a cell's file, whole or not at all; `schema` and `cell` are added."""
    path = result_path(out, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"schema": SCHEMA, "cell": cell.to_json() | {"digest": cell.digest}} | result
    with whole_file(path) as file:
        file.write(json.dumps(content, indent=1, allow_nan=False).encode() + b"\n")
    return path


def read_result(path: Path) -> dict[str, Any]:
    """A cell's file. Raises EvaluationError where it is not one."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise EvaluationError(f"{path}: cannot be read ({error}): delete it and run the grid again") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA or content.get("status") not in (DONE, FAILED):
        raise EvaluationError(f"{path}: not a result of this version ({SCHEMA}): move it away")
    return content


def read_results(out: Path) -> Iterator[dict[str, Any] | EvaluationError]:
    """All cells' files below a result folder by name; an error in the place of one that cannot be read."""
    for path in sorted((out / CELLS).rglob("*.json")):
        if path.name.startswith("."):
            continue
        try:
            yield read_result(path) | {"path": str(path.relative_to(out))}
        except EvaluationError as error:
            yield error


def status_of(out: Path, cell: Cell) -> str | None:
    """`done`, `failed`, or None where there is no readable result yet."""
    try:
        return str(read_result(result_path(out, cell))["status"])
    except EvaluationError:
        return None
