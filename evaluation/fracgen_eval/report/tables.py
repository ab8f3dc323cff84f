"""Tables of a report: classes down, methods across, one number per weights in a cell.

All numbers are percent. Averages are over what is there, and say how much that is.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

from fracgen_eval.datasets.counts import published_counts
from fracgen_eval.grid.result import METRICS
from fracgen_eval.methods import METHODS, others
from fracgen_eval.methods.settings import IMAGE_LEVEL
from fracgen_eval.metrics.bootstrap import interval
from fracgen_eval.report.gather import Condition, Entry, Results
from fracgen_eval.report.published import AVERAGE, PAPER_MODEL, TABLES, column_of, published

METRIC_NAMES = {
    "image_auroc": "image AUROC", "image_ap": "image AP", "image_f1_max": "image F1-max", "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO", "aupro_05": "AUPRO to 0.05", "au_spro": "AU-sPRO to 0.05", "seg_f1": "SegF1",
}  # fmt: skip
METHOD_NAMES = {
    "fastflow": "FastFlow", "cflow": "C-Flow", "patchcore": "PatchCore", "padim": "PaDiM", "rd": "RD",
    "stfpm": "STFPM", "cutpaste": "CutPaste", "panda": "PANDA",
}  # fmt: skip
ORDER = ("fastflow", "cflow", "patchcore", "padim", "rd", "stfpm", "cutpaste", "panda")
"""Of the paper's columns."""
assert set(ORDER) == set(METHODS)
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "mvtec": {
        "textures": ("carpet", "grid", "leather", "tile", "wood"),
        "objects": (
            "bottle", "cable", "capsule", "hazelnut", "metal_nut", "pill", "screw", "toothbrush", "transistor",
            "zipper",
        ),
    },
    "visa": {
        "pcb": ("pcb1", "pcb2", "pcb3", "pcb4"),
        "multi-in": ("candle", "capsules", "macaroni1", "macaroni2"),
        "single-in": ("cashew", "chewinggum", "fryum", "pipe_fryum"),
    },
}  # fmt: skip
"""Category groups of the paper's Fig. 3 (section 5.3)."""


@dataclass(frozen=True)
class Value:
    """What a cell of a table says for one of the weights."""

    mean: float | None
    """Percent, over seeds; None where there is no number."""
    spread: float | None = None
    """Sample standard deviation over seeds, and over networks where they are several random ones, percent; None for
    a single number."""
    _: KW_ONLY
    seeds: tuple[int, ...] = ()
    """Those that have a number."""
    tried: tuple[int, ...] = ()
    """Those that were run, failed ones included."""
    networks: tuple[int, ...] = (0,)
    """Seeds of the random networks that have a number; of all other weights there is one."""
    replicates: Any = field(default=None, compare=False, repr=False)
    """Of the mean over seeds, [B] in [0, 1]: bootstrap over test images; None where a seed has none."""
    state: str = "missing"
    """`done`, `failed` (no seed has a number), `missing`, or `none`: the metric does not exist there."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % over test images, percent."""
        return _interval(self.mean, self.replicates)

    @property
    def shown(self) -> float | None:
        """As printed, to one decimal: ties are ties of what a reader sees."""
        return None if self.mean is None else round(self.mean, 1)


@dataclass(frozen=True)
class Average:
    """A mean over the numbers that are there."""

    mean: float | None
    count: int
    total: int
    replicates: Any = field(default=None, compare=False, repr=False)
    """Of the mean, [B] in [0, 1]; None where one of its numbers has none."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % over test images, percent."""
        return _interval(self.mean, self.replicates)


@dataclass
class Table:
    """One metric of one condition."""

    condition: Condition
    metric: str
    classes: list[str]
    columns: list[str]
    weights: list[str]
    _: KW_ONLY
    values: dict[tuple[str, str, str], Value]
    """By class, column and weights."""
    definitions: list[str]
    beside: dict[tuple[str, str, str], Value] = field(default_factory=dict)
    """Numbers that stand beside the methods' own, by class, what it is, and weights: CutPaste's untouched features."""
    named: dict[str, str] = field(default_factory=dict)
    """Which of the paper's columns stands beside which weights, where a name does not tell."""

    @property
    def number(self) -> int | None:
        """The number of the paper's table that this one stands beside; None for other networks and trial runs."""
        if self.condition.model != PAPER_MODEL or self.condition.limit:
            return None
        return TABLES.get((self.condition.dataset, self.metric))

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All that were run."""
        return tuple(sorted({seed for value in self.values.values() for seed in value.tried}))

    @cached_property
    def networks(self) -> tuple[int, ...]:
        """Seeds of the random networks, 0 alone where there is one or none."""
        return tuple(sorted({n for (_, _, w), value in self.values.items() if w == "random" for n in value.networks}))

    @property
    def title(self) -> str:
        """A line for people."""
        name = METRIC_NAMES[self.metric]
        return f"{name[0].upper()}{name[1:]} on {self.condition.title}"

    @property
    def slug(self) -> str:
        """For names of files and anchors."""
        return f"{self.condition.slug}-{self.metric}"

    @property
    def absent(self) -> list[str]:
        """Categories of the dataset of which the folder knows nothing."""
        return [c for c in published_counts(self.condition.dataset) if c not in self.classes]

    def value(self, row: str, column: str, weights: str) -> Value:
        """A cell's number."""
        return self.values.get((row, column, weights), Value(None))

    def best(self, row: str, weights: str) -> set[str]:
        """Columns with the row's highest number as printed, for one of the weights."""
        return _highest({c: self.value(row, c, weights).shown for c in self.columns})

    def better(self, row: str, column: str) -> set[str]:
        """Weights with the highest number of a cell; none where there is only one, or their seeds differ."""
        with_number = {w: v for w in self.weights if (v := self.value(row, column, w)).mean is not None}
        if len(with_number) < 2 or len({v.seeds for v in with_number.values()}) > 1:
            return set()
        return _highest({w: v.shown for w, v in with_number.items()})

    def column_average(self, column: str, weights: str, classes: Iterable[str] | None = None) -> Average:
        """A method's mean over classes (the paper's "Model Avg"), or over some of them."""
        rows = self.classes if classes is None else [c for c in self.classes if c in set(classes)]
        return _average([self.value(row, column, weights) for row in rows])

    def beside_average(self, what: str, weights: str) -> Average:
        """Mean over classes of a number that stands beside the methods' own."""
        return _average([self.beside.get((row, what, weights), Value(None)) for row in self.classes])

    def row_average(self, row: str, weights: str) -> Average:
        """A class's mean over methods."""
        return _average([self.value(row, column, weights) for column in self.columns])

    def best_average(self, weights: str) -> set[str]:
        """Columns with the highest average as printed, of those that have all classes."""
        averages = {c: self.column_average(c, weights) for c in self.columns}
        return _highest({c: round(a.mean, 1) for c, a in averages.items() if a.mean is not None and a.count == a.total})

    def published(self, row: str, column: str, weights: str) -> float | None:
        """The paper's number, percent; its average where `row` is `average`."""
        paper = column_of(weights, self.named)
        if paper is None or self.number is None:
            return None
        return published().get((self.condition.dataset, self.metric, row, column, paper))

    def published_average(self, column: str, weights: str) -> float | None:
        """The paper's average of a column, where all numbers that it is made of are here."""
        classes = published_counts(self.condition.dataset)
        complete = all(
            self.value(row, column, weights).mean is not None or self.published(row, column, weights) is None
            for row in classes
        )
        return self.published(AVERAGE, column, weights) if complete else None

    @cached_property
    def titles(self) -> dict[str, str]:
        """Heads of the columns."""
        return short_titles(self.columns)

    @property
    def unusual(self) -> list[str]:
        """Columns whose settings are not the methods' usual ones, with these settings."""
        return [column_title(c) for c in self.columns if " " in c]

    @cached_property
    def compared(self) -> list[tuple[str, str]]:
        """Cells, by class and column, that have a number of the same seeds for all of the weights that have any."""
        cells = [(row, column) for row in self.classes for column in self.columns]
        seeds = {(r, c): {self.value(r, c, w).seeds for w in self.weights_with_numbers} for r, c in cells}
        return [cell for cell in cells if len(seeds[cell]) == 1 and () not in seeds[cell]]

    @property
    def weights_with_numbers(self) -> list[str]:
        """Weights that have a number in this table."""
        return [w for w in self.weights if any(v.mean is not None for (_, _, of), v in self.values.items() if of == w)]

    def overall(self, weights: str) -> Average:
        """Mean over the compared cells."""
        average = _average([self.value(row, column, weights) for row, column in self.compared])
        return replace(average, total=len(self.classes) * len(self.columns))

    def best_overall(self) -> set[str]:
        """Weights with the highest mean as printed; none where there is only one."""
        weights = self.weights_with_numbers
        means = {w: self.overall(w).mean for w in weights} if len(weights) > 1 else {}
        return _highest({w: None if m is None else round(m, 1) for w, m in means.items()})

    def wins(self, weights: str) -> int:
        """Compared cells in which no other weights are as good, as printed."""
        return sum(self.better(row, column) == {weights} for row, column in self.compared)

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Category groups of Fig. 3, as far as they are here; one of all categories for other datasets."""
        groups = GROUPS.get(self.condition.dataset, {"all categories": tuple(self.classes)})
        here = {name: tuple(c for c in members if c in self.classes) for name, members in groups.items()}
        return {name: members for name, members in here.items() if members}

    def group_means(self) -> dict[tuple[str, str, str], float]:
        """Percent by (group, column, weights), of groups that have all their classes: the spider charts' numbers."""
        return {
            (group, column, weights): average.mean
            for group, members in self.groups.items()
            for column in self.columns
            for weights in self.weights
            if (average := self.column_average(column, weights, members)).mean is not None
            and average.count == average.total
        }


def make_tables(results: Results, named: dict[str, str] | None = None) -> list[Table]:
    """All tables of a folder: one per condition and metric that has a number; image AUROC where all cells failed."""
    tables = []
    for condition in results.conditions():
        here = [e for e in results.entries if e.condition == condition and e.plain]
        for metric in METRICS:
            able = [e for e in here if metric.startswith("image_") or e.method not in IMAGE_LEVEL]
            if any(e.metrics[metric] is not None for e in able) or (here and metric == METRICS[0]):
                weights = [w for w in results.weights() if any(e.weights == w for e in able)]
                tables.append(_table(condition, metric, able, weights, named or {}))
    return tables


def _table(condition: Condition, metric: str, entries: list[Entry], weights: list[str], named: dict[str, str]) -> Table:
    published_order = list(published_counts(condition.dataset))
    classes = sorted(
        {e.category for e in entries},
        key=lambda c: (published_order.index(c) if c in published_order else len(published_order), c),
    )
    if condition.dataset in GROUPS:
        in_groups = [c for members in GROUPS[condition.dataset].values() for c in members]
        classes.sort(key=lambda c: in_groups.index(c) if c in in_groups else len(in_groups))
    columns = in_order(e.column for e in entries)
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for e in entries:
        groups.setdefault((e.category, e.column, e.weights), []).append(e)
    definitions = sorted({text for e in entries if e.scores and (text := e.scores.aupro_definition)})
    return Table(
        condition, metric, classes, columns, weights,
        values={key: value_of(group, metric) for key, group in groups.items()},
        definitions=definitions if metric.startswith("aupro") else [],
        beside=_beside(entries) if metric == METRICS[0] else {}, named=named,
    )  # fmt: skip


def _beside(entries: list[Entry]) -> dict[tuple[str, str, str], Value]:
    """Image AUROC of what methods report beside their own score."""
    groups: dict[tuple[str, str, str], dict[tuple[int, int], float]] = {}
    for e in entries:
        for what, share in e.beside.items():
            numbers = groups.setdefault((e.category, f"{method_title(e.method)}, {what}", e.weights), {})
            numbers[e.seed, e.network] = 100 * share
    return {
        key: Value(statistics.fmean(by_draw.values()), seeds=(s := tuple(sorted({d[0] for d in by_draw}))), tried=s,
                   state="done")
        for key, by_draw in groups.items()
    }


def value_of(entries: list[Entry], metric: str) -> Value:
    """Mean and spread over the seeds of a cell, and over its random networks."""
    by_draw = {(e.seed, e.network): 100 * n for e in entries if (n := e.metrics[metric]) is not None}
    tried = tuple(sorted({e.seed for e in entries}))
    if not by_draw:
        return Value(None, tried=tried, state="none" if any(e.done for e in entries) else "failed")
    spread = statistics.stdev(by_draw.values()) if len(by_draw) > 1 else None
    seeds, networks = (tuple(sorted({draw[part] for draw in by_draw})) for part in (0, 1))
    drawn = [e.scores.replicates.get(metric) for e in entries if e.scores and e.metrics[metric] is not None]
    return Value(
        statistics.fmean(by_draw.values()), spread, seeds=seeds, tried=tried, networks=networks,
        replicates=mean_replicates(drawn), state="done",
    )  # fmt: skip


def missing(tables: list[Table]) -> list[str]:
    """A line for every cell of a table that nobody has run, and for seeds and metrics that one lacks."""
    lines = []
    for table in tables:
        for (row, column, weights), value in table.values.items():
            if value.state == "none":
                name = METRIC_NAMES[table.metric]
                lines.append(f"{column}, {row}, {weights}: has no {name} ({table.condition.title})")
    for table in (t for t in tables if t.metric == METRICS[0]):
        for row, column, weights in product(table.classes, table.columns, table.weights):
            tried = table.value(row, column, weights).tried
            if absent := [str(seed) for seed in table.seeds if seed not in tried]:
                seeds = f"seed{'s' * (len(absent) > 1)} {', '.join(absent)} " if tried else ""
                lines.append(f"{column}, {row}, {weights}: {seeds}not run ({table.condition.title})")
            networks = table.value(row, column, weights).networks
            if tried and weights == "random" and (absent := [str(n) for n in table.networks if n not in networks]):
                which = f"network{'s' * (len(absent) > 1)} {', '.join(absent)}"
                lines.append(f"{column}, {row}, random: {which} without a number ({table.condition.title})")
    return lines


def method_title(method: str) -> str:
    """A method's name for people."""
    return METHOD_NAMES.get(method) or others.title(method)


def column_title(column: str) -> str:
    """`PatchCore (coreset=0.01)` of `patchcore coreset=0.01`."""
    method, _, rest = column.partition(" ")
    return method_title(method) + (f" ({rest})" if rest else "")


def short_titles(columns: Iterable[str]) -> dict[str, str]:
    """Titles without settings, for columns that need none to be told apart."""
    methods = [c.split(" ", 1)[0] for c in columns]
    return {
        column: method_title(method) if methods.count(method) == 1 else column_title(column)
        for column, method in zip(columns, methods, strict=True)
    }


def in_order(columns: Iterable[str]) -> list[str]:
    """Columns in the paper's order of methods, then Anomalib's others, each once."""
    place = {method: n for n, method in enumerate(ORDER)}
    return sorted(set(columns), key=lambda c: (place.get(c.split(" ", 1)[0], len(place)), c))


def _average(values: list[Value]) -> Average:
    present = [v for v in values if v.mean is not None]
    means = [v.mean for v in present if v.mean is not None]
    mean = statistics.fmean(means) if means else None
    return Average(mean, len(present), len(values), mean_replicates([v.replicates for v in present]))


def mean_replicates(drawn: list[Any]) -> Any:
    """Mean [B] of replicates; None where some are missing, or of another number."""
    import numpy as np

    if not drawn or any(one is None for one in drawn) or len({len(one) for one in drawn}) > 1:
        return None
    return np.mean([np.asarray(one) for one in drawn], 0)


def _interval(mean: float | None, replicates: Any) -> tuple[float, float] | None:
    if mean is None or replicates is None:
        return None
    ends = interval(mean / 100, replicates)
    return None if ends is None else (100 * ends[0], 100 * ends[1])


def _highest(shown: dict[str, float | None]) -> set[str]:
    numbers = [v for v in shown.values() if v is not None]
    return {k for k, v in shown.items() if numbers and v == max(numbers)}
