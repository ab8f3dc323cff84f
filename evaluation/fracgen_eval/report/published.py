"""The paper's Tables 1 to 6: to stand beside a result, or to be reported by themselves."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from pathlib import Path

from fracgen_eval.grid.cell import Cell, DataChoice, MethodChoice, WeightsChoice
from fracgen_eval.grid.result import METRICS, CellResult, Measurement, Scores
from fracgen_eval.grid.results import write_result
from fracgen_eval.methods import settings_for

COLUMNS = ("imagenet", "fractals")
PAPER_MODEL = "wide_resnet50_2"
AVERAGE = "average"
TABLES = {
    ("mvtec", "image_auroc"): 1, ("mvtec", "pixel_auroc"): 2, ("mvtec", "aupro"): 3,
    ("visa", "image_auroc"): 4, ("visa", "pixel_auroc"): 5, ("visa", "aupro"): 6,
}  # fmt: skip
"""Number of the paper's table by dataset and metric."""
DEFINITION = "as published: an older implementation of Anomalib, which could exceed 1"


@cache
def published() -> dict[tuple[str, str, str, str, str], float]:
    """Percent by (dataset, metric, class, method, column); the average row's class is `average`."""
    text = (files("fracgen_eval") / "data" / "paper_tables.csv").read_text()
    return {
        (row["dataset"], row["metric"], row["class"], row["method"], column): float(row[column])
        for row in csv.DictReader(text.splitlines())
        for column in COLUMNS
        if row[column]
    }


def column_of(weights: str, named: dict[str, str]) -> str | None:
    """The paper's column that stands beside weights: as named, else by how the weights' name begins."""
    if weights in named:
        return named[weights]
    starts = zip(COLUMNS, ("imagenet", "fractal"), strict=True)
    return next((column for column, start in starts if weights.startswith(start)), None)


def write_cells(out: Path) -> int:
    """Write the paper's numbers as a result folder's cells; returns how many.

    Settings, seeds and images are unknown to us and say so by being empty.
    """
    cells: dict[tuple[str, str, str, str], dict[str, float]] = {}
    for (dataset, metric, category, method, column), value in published().items():
        if category != AVERAGE:
            cells.setdefault((dataset, category, method, column), {})[metric] = round(value / 100, 6)
    for (dataset, category, method, column), metrics in cells.items():
        cell = Cell(
            MethodChoice(method, settings_for(method), protocol="paper"),
            DataChoice(dataset, category, digest="published"),
            WeightsChoice(column, column, PAPER_MODEL, input_norm="imagenet"),
        )
        scores = Scores({m: metrics[m] for m in METRICS if m in metrics}, aupro_definition=DEFINITION)
        write_result(out, CellResult(cell, Measurement(scores, published=True)))
    return len(cells)
