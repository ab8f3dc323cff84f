"""A small grid on the demo dataset, which several tests run, and what it leaves, read without the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.plan import Request, make_plan
from fracgen_eval.grid.result import CellResult
from fracgen_eval.grid.run import run_plan
from fracgen_eval.weights.backbones import WeightsSpec

from tests.evaluation.methods import SMALL
from tests.fields import Fields

QUICK = SMALL


def request(out: Path, surfaces: Path, **changes: object) -> Request:
    """PANDA on one category with random weights; anything may be changed."""
    options: Fields = {
        "out": out, "methods": ("panda",), "dataset": "surfaces", "root": surfaces,
        "weights": (WeightsSpec.parse("random"),), "categories": ("gravel",), "model": "resnet18", "limit": "12",
        "overrides": QUICK, **changes,
    }  # fmt: skip
    return Request(**options)


def run(wanted: Request, jobs: int = 1, keep_maps: bool = False) -> tuple[list[str], int]:
    """What became of each cell that was run, and how many failed."""
    reporter = Silent()
    failed = run_plan(make_plan(wanted), reporter, jobs=jobs, keep_maps=keep_maps)
    return reporter.ends, failed


def numbers(out: Path) -> dict[str, Fields]:
    """What must not depend on when or where a cell was run."""
    parts = ("status", "metrics", "by_defect", "beside", "images", "fit", "mask_threshold", "replicates")
    return {result["path"]: {name: result[name] for name in parts} for result in files_of(out)}


class Silent:
    """Remembers how the cells ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def started(self, cell: Cell) -> None:
        """Nothing to do."""

    def ended(self, cell: Cell, result: CellResult | None) -> None:
        """One more."""
        self.ends.append("elsewhere" if result is None else result.status)


def files_of(out: Path) -> Any:
    """Every cell's table, with the path of its file below the folder, by name."""
    paths = sorted((out / "cells").rglob("*.json"))
    return [json.loads(path.read_text()) | {"path": str(path.relative_to(out))} for path in paths]
