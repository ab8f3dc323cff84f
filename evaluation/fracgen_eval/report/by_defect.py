"""Image and pixel metrics by type of defect: which defects weights find, and which they do not.

The paper stresses the type of anomaly (sections 5.4 and 7). A number is over the good test images and
those of one type; types of one name in several categories, such as those of `surfaces`, get a mean too.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from statistics import fmean

from fracgen_eval.grid.result import PAPER_METRICS
from fracgen_eval.report.gather import Condition, Entry, Results
from fracgen_eval.report.tables import METRIC_NAMES, in_order, short_titles

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


def defect_tables(results: Results) -> list[DefectTable]:
    """All tables by type of defect that have a number."""
    tables = []
    for condition in results.conditions():
        entries = [e for e in results.entries if e.condition == condition and e.plain and e.scores]
        for metric in PAPER_METRICS:
            values = _values(entries, metric)
            if values:
                columns = in_order(key[2] for key in values)
                weights = [w for w in results.weights() if any(key[3] == w for key in values)]
                rows = sorted({(c, d) for c, d, _, _ in values}, key=lambda row: (row[0] != ALL, row))
                tables.append(DefectTable(condition, metric, columns, weights, rows, values))
    return tables


def _values(entries: list[Entry], metric: str) -> dict[tuple[str, str, str, str], float]:
    seeds: dict[tuple[str, str, str, str], list[float]] = {}
    for e in entries:
        for defect, numbers in (e.scores.by_defect if e.scores else {}).items():
            if metric in numbers:
                seeds.setdefault((e.category, defect, e.column, e.weights), []).append(100 * numbers[metric])
    values = {key: fmean(numbers) for key, numbers in seeds.items()}
    shared: dict[tuple[str, str, str], dict[str, float]] = {}
    for (category, *rest), value in values.items():
        shared.setdefault((rest[0], rest[1], rest[2]), {})[category] = value
    for (defect, column, weights), numbers in shared.items():
        everywhere = {c for c, d, _, _ in values if d == defect}
        if len(everywhere) > 1 and set(numbers) == everywhere:  # a mean over other categories is another number
            values[ALL, defect, column, weights] = fmean(numbers.values())
    return values


def to_csv(table: DefectTable) -> str:
    """One line per category, defect, method and weights."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(["dataset", "metric", "model", "protocol", "category", "defect", "method", "weights", "value"])
    of = [table.condition.dataset, table.metric, table.condition.model, table.condition.protocol]
    for row in table.rows:
        for column in table.columns:
            for weights in table.weights:
                value = table.values.get((*row, column, weights))
                write.writerow([*of, *row, column, weights, "" if value is None else f"{value:.2f}"])
    return out.getvalue()
