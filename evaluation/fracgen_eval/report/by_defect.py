"""Image and pixel metrics by type of defect: which defects weights find, and which they do not.

The paper stresses the type of anomaly (sections 5.4 and 7). A number is over the good test images and
those of one type; types of one name in several categories, such as those of `surfaces`, get a mean too.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from fracgen_eval.grid.result import METRIC_NAMES, PAPER_METRICS
from fracgen_eval.report.gather import Condition, Results
from fracgen_eval.report.tables import in_order, short_titles
from fracgen_eval.report.text import csv_text

if TYPE_CHECKING:
    from pandas import DataFrame

ALL = "all"
"""Stands for the category in the mean over several."""


@dataclass(frozen=True)
class DefectTable:
    """One metric of one condition, percent."""

    condition: Condition
    metric: str
    columns: list[str]
    weights: list[str]
    rows: list[tuple[str, str]]
    """Category and type of defect; means over categories first, of category `all`."""
    values: dict[tuple[str, str, str, str], float]
    """By category, defect, column and weights: mean over seeds."""

    @property
    def title(self) -> str:
        """A line for people."""
        return f"{METRIC_NAMES[self.metric]} by type of defect on {self.condition.title}"

    @property
    def slug(self) -> str:
        """For names of files and anchors."""
        return f"{self.condition.slug}-{self.metric}-by-defect"

    @property
    def titles(self) -> dict[str, str]:
        """Heads of the columns."""
        return short_titles(self.columns)

    def shown(self, row: tuple[str, str], column: str, weights: str) -> str:
        """A number as printed, or a dash."""
        value = self.values.get((*row, column, weights))
        return "–" if value is None else f"{value:.1f}"


def by_kind(cells: DataFrame) -> DataFrame:
    """Numbers by type of defect, a row each: category, column, weights, defect, metric, and value in percent."""
    from pandas import DataFrame

    rows = [
        (cell.category, cell.column, cell.weights, defect, metric, 100 * number)
        for cell in cells[cells.done].itertuples()
        for defect, numbers in cell.result.outcome.scores.by_defect.items()
        for metric, number in numbers.items()
    ]
    return DataFrame(rows, columns=["category", "column", "weights", "defect", "metric", "value"])


def defect_tables(results: Results) -> list[DefectTable]:
    """All tables by type of defect that have a number."""
    tables = []
    for condition, cells in results.by_condition():
        kinds = by_kind(cells[cells.plain])
        for metric in PAPER_METRICS:
            if values := _values(kinds[kinds.metric == metric]):
                columns = in_order(key[2] for key in values)
                weights = [w for w in results.weights() if any(key[3] == w for key in values)]
                rows = sorted({(c, d) for c, d, _, _ in values}, key=lambda row: (row[0] != ALL, row))
                tables.append(DefectTable(condition, metric, columns, weights, rows, values))
    return tables


def _values(numbers: DataFrame) -> dict[tuple[str, str, str, str], float]:
    means = numbers.groupby(["category", "defect", "column", "weights"]).value.agg(fmean)
    values = dict(means.items())
    everywhere = {defect: set(group.category) for defect, group in numbers.groupby("defect")}
    for (defect, column, weights), several in means.groupby(["defect", "column", "weights"]):
        there = set(several.index.get_level_values("category"))
        if len(there) > 1 and there == everywhere[defect]:  # a mean over other categories is another number
            values[ALL, defect, column, weights] = fmean(several)
    return values


def to_csv(table: DefectTable) -> str:
    """One line per category, defect, method and weights."""
    of = [table.condition.dataset, table.metric, table.condition.model, table.condition.protocol]
    rows = [
        [*of, *row, column, weights, "" if value is None else f"{value:.2f}"]
        for row in table.rows for column in table.columns for weights in table.weights
        for value in [table.values.get((*row, column, weights))]
    ]  # fmt: skip
    head = ["dataset", "metric", "model", "protocol", "category", "defect", "method", "weights", "value"]
    return csv_text(head, rows)
