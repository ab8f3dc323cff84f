"""Tables of a report: classes down, methods across, one number per weights in a cell.

All numbers are percent. Averages are over what is there, and say how much that is.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.datasets.counts import published_counts
from fracgen_eval.grid.result import IMAGE_METRICS, LOWER, METRIC_NAMES, METRICS, Measurement
from fracgen_eval.methods import METHODS, others
from fracgen_eval.methods.settings import IMAGE_LEVEL, KNOWN
from fracgen_eval.metrics.bootstrap import interval
from fracgen_eval.report.gather import Condition, Results
from fracgen_eval.report.published import AVERAGE, PAPER_MODEL, TABLES, column_of, published

if TYPE_CHECKING:
    from pandas import DataFrame

METHOD_NAMES = {
    "fastflow": "FastFlow", "cflow": "C-Flow", "patchcore": "PatchCore", "padim": "PaDiM", "rd": "RD",
    "stfpm": "STFPM", "cutpaste": "CutPaste", "panda": "PANDA",
} | {name: others.title(name) for name in KNOWN if name not in METHODS}  # fmt: skip
"""In the order of the paper's columns."""
assert set(METHOD_NAMES) == set(KNOWN)
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
Ends = tuple[float, float]
Drawn = NDArray[np.float64]
Key = tuple[str, str, str]
"""Class, column and weights."""
Name = TypeVar("Name")


@dataclass(frozen=True)
class Number:
    """A number of a table for one of the weights: of a cell, over seeds, or a mean over several such."""

    mean: float | None = None
    """Percent; None where there is no number."""
    spread: float | None = None
    """Sample standard deviation over seeds, and over networks where they are several random ones, percent; None for
    a single number."""
    interval: Ends | None = None
    """95 % over test images, percent; None where the results have no replicates, or these do not vary."""
    _: KW_ONLY
    replicates: Drawn | None = field(default=None, compare=False, repr=False)
    """Of the mean, [B] in [0, 1]: bootstrap over test images; None where one of its parts has none."""
    seeds: tuple[int, ...] = ()
    """Those that have a number."""
    tried: tuple[int, ...] = ()
    """Those that were run, failed ones included."""
    networks: tuple[int, ...] = (0,)
    """Seeds of the random networks that have a number; of all other weights there is one."""
    state: str = "missing"
    """`done`, `failed` (no seed has a number), `missing`, or `none`: the metric does not exist there."""
    count: int = 0
    """Of a mean over cells: how many of them have a number."""
    total: int = 0
    """Of a mean over cells: how many there are."""

    @property
    def shown(self) -> float | None:
        """As printed, to one decimal: ties are ties of what a reader sees."""
        return None if self.mean is None else round(self.mean, 1)


def over_draws(cells: DataFrame, metric: str) -> Number:
    """A cell's number: mean and spread over its seeds, and over its random networks."""
    tried, there = tuple(sorted(set(cells.seed))), cells[cells[metric].notna()]
    if there.empty:
        return Number(tried=tried, state="none" if cells.done.any() else "failed")
    values = [100 * share for share in there[metric]]
    drawn = mean_replicates([result.outcome.scores.replicates.get(metric) for result in there.result])
    mean = statistics.fmean(values)
    return Number(
        mean, statistics.stdev(values) if len(values) > 1 else None, _interval(mean, drawn), replicates=drawn,
        seeds=tuple(sorted(set(there.seed))), tried=tried, networks=tuple(sorted(set(there.network))), state="done",
    )  # fmt: skip


def over_cells(numbers: Iterable[Number]) -> Number:
    """The mean of the numbers that are there."""
    numbers = list(numbers)
    there = [n for n in numbers if n.mean is not None]
    if not there:
        return Number(total=len(numbers))
    mean = statistics.fmean(n.mean for n in there if n.mean is not None)
    drawn = mean_replicates([n.replicates for n in there])
    return Number(
        mean, None, _interval(mean, drawn), replicates=drawn, count=len(there), total=len(numbers), state="done"
    )


def mean_replicates(drawn: Sequence[Drawn | Sequence[float] | None]) -> Drawn | None:
    """Mean [B] of replicates; None where some are missing, or of another number."""
    there = [np.asarray(one) for one in drawn if one is not None]
    if not there or len(there) < len(drawn) or len({len(one) for one in there}) > 1:
        return None
    mean: Drawn = np.mean(there, 0)
    return mean


def _interval(mean: float, replicates: Drawn | None) -> Ends | None:
    ends = None if replicates is None else interval(mean / 100, replicates)
    return None if ends is None else (100 * ends[0], 100 * ends[1])


@dataclass(frozen=True)
class Table:
    """One metric of one condition: the numbers of its cells, and what follows from them, computed once."""

    condition: Condition
    metric: str
    classes: list[str]
    columns: list[str]
    weights: list[str]
    _: KW_ONLY
    values: dict[Key, Number]
    """Of every class, column and weights."""
    definitions: list[str] = field(default_factory=list)
    beside: dict[Key, Number] = field(default_factory=dict)
    """Numbers that stand beside the methods' own, by class, what it is, and weights: CutPaste's untouched features."""
    named: dict[str, str] = field(default_factory=dict)
    """Which of the paper's columns stands beside which weights, where a name does not tell."""

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
    def number(self) -> int | None:
        """The number of the paper's table that this one stands beside; None for other networks and trial runs."""
        if self.condition.model != PAPER_MODEL or self.condition.limit:
            return None
        return TABLES.get((self.condition.dataset, self.metric))

    @cached_property
    def titles(self) -> dict[str, str]:
        """Heads of the columns."""
        return short_titles(self.columns)

    @property
    def unusual(self) -> list[str]:
        """Columns whose settings are not the methods' usual ones, with these settings."""
        return [column_title(c) for c in self.columns if " " in c]

    @property
    def absent(self) -> list[str]:
        """Categories of the dataset of which the folder knows nothing."""
        return [c for c in published_counts(self.condition.dataset) if c not in self.classes]

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All that were run."""
        return tuple(sorted({seed for number in self.values.values() for seed in number.tried}))

    @cached_property
    def networks(self) -> tuple[int, ...]:
        """Seeds of the random networks, 0 alone where there is one or none."""
        tried = [number for (_, _, w), number in self.values.items() if w == "random" and number.tried]
        return tuple(sorted({n for number in tried for n in number.networks}))

    @cached_property
    def tidy(self) -> DataFrame:
        """The values as a table: `row`, `column`, `weights`, `number`, `seeds`, and `rank`, as printed, the higher the
        better, NaN where there is no number."""
        from pandas import DataFrame

        sign = -1 if self.metric in LOWER else 1
        rows = [
            (*key, number, number.seeds, float("nan") if number.shown is None else sign * number.shown)
            for key, number in self.values.items()
        ]
        return DataFrame(rows, columns=["row", "column", "weights", "number", "seeds", "rank"])

    def mean_over(self, by: Sequence[str], rows: Sequence[str] | None = None) -> dict[tuple[str, ...], Number]:
        """Means of the groups that are alike in some columns of `tidy`, over all classes or some of them."""
        some = self.tidy if rows is None else self.tidy[self.tidy["row"].isin(rows)]
        return {key: over_cells(group) for key, group in some.groupby(list(by), sort=False).number}

    @cached_property
    def averages(self) -> dict[tuple[str, ...], Number]:
        """Means over classes by (column, weights): the paper's "Model Avg"."""
        return self.mean_over(["column", "weights"])

    @cached_property
    def row_averages(self) -> dict[tuple[str, ...], Number]:
        """Means over methods by (class, weights)."""
        return self.mean_over(["row", "weights"])

    @cached_property
    def best(self) -> set[Key]:
        """Values that are the highest of their row for their weights."""
        return self._highest(["row", "weights"], self.tidy)

    @cached_property
    def better(self) -> set[Key]:
        """Values that are the highest of their cell; of a cell with one, or with other seeds, none is."""
        there = self.tidy[self.tidy["rank"].notna()]
        seeds = there.groupby(["row", "column"])["seeds"]
        fair = (seeds.transform("size") > 1) & (seeds.transform("nunique") == 1)
        return self._highest(["row", "column"], there[fair])

    def _highest(self, by: Sequence[str], values: DataFrame) -> set[Key]:
        best = values[values["rank"] == values.groupby(list(by))["rank"].transform("max")]
        return set(zip(best["row"], best["column"], best["weights"], strict=True))

    @cached_property
    def best_averages(self) -> set[tuple[str, ...]]:
        """Averages, by (column, weights), that are the highest for their weights, of those that have all classes."""
        whole = {key: n for key, n in self.averages.items() if n.count == n.total}
        parts = [{key: n for key, n in whole.items() if key[1] == weights} for weights in self.weights]
        return set().union(*(self._top(part) for part in parts))

    def _top(self, numbers: dict[Name, Number]) -> set[Name]:
        shown = [n.shown for n in numbers.values() if n.shown is not None]
        top = (min if self.metric in LOWER else max)(shown, default=None)
        return {key for key, n in numbers.items() if n.shown is not None and n.shown == top}

    @cached_property
    def weights_with_numbers(self) -> list[str]:
        """Weights that have a number in this table."""
        there = set(self.tidy.weights[self.tidy["rank"].notna()])
        return [w for w in self.weights if w in there]

    @cached_property
    def compared(self) -> list[tuple[str, str]]:
        """Cells, by class and column, that have a number of the same seeds for all of the weights that have any."""
        cells = self.tidy[self.tidy.weights.isin(self.weights_with_numbers)].groupby(["row", "column"], sort=False)
        return [key for key, group in cells if group["rank"].notna().all() and group.seeds.nunique() == 1]

    @cached_property
    def overall(self) -> dict[str, Number]:
        """Means over the compared cells, by weights; their total is that of all cells."""
        means = {w: over_cells(self.values[r, c, w] for r, c in self.compared) for w in self.weights_with_numbers}
        return {w: replace(mean, total=len(self.classes) * len(self.columns)) for w, mean in means.items()}

    @cached_property
    def best_overall(self) -> set[str]:
        """Weights with the highest mean as printed; none where there is only one."""
        return self._top(self.overall) if len(self.overall) > 1 else set()

    def wins(self, weights: str) -> int:
        """Number of compared cells in which no other weights are as good, as printed."""
        return sum(
            (r, c, weights) in self.better and not any((r, c, w) in self.better for w in self.weights if w != weights)
            for r, c in self.compared
        )

    def published(self, row: str, column: str, weights: str) -> float | None:
        """The paper's number, percent; its average where `row` is `average`."""
        paper = column_of(weights, self.named)
        if paper is None or self.number is None:
            return None
        return published().get((self.condition.dataset, self.metric, row, column, paper))

    def published_average(self, column: str, weights: str) -> float | None:
        """The paper's average of a column, where all numbers that it is made of are here."""
        complete = all(
            self.values.get((row, column, weights), Number()).mean is not None
            or self.published(row, column, weights) is None
            for row in published_counts(self.condition.dataset)
        )
        return self.published(AVERAGE, column, weights) if complete else None

    def group_means(self) -> dict[Key, float]:
        """Percent by (group, column, weights), of category groups of Fig. 3 that have all their classes here: the
        numbers of the spider charts. Datasets without groups have one of all categories."""
        found = {}
        for group, members in GROUPS.get(self.condition.dataset, {"all categories": tuple(self.classes)}).items():
            for (column, weights), average in self.mean_over(["column", "weights"], members).items():
                if average.mean is not None and average.count == average.total:
                    found[group, column, weights] = average.mean
        return found


def make_tables(results: Results, named: dict[str, str] | None = None) -> list[Table]:
    """All tables of a folder: one per condition and metric that has a number; image AUROC where all cells failed."""
    tables = []
    for condition, cells in results.by_condition():
        here = cells[cells.plain]
        for metric in METRICS:
            able = here if metric in IMAGE_METRICS else here[~here.method.isin(IMAGE_LEVEL)]
            if able[metric].notna().any() or (len(here) and metric == METRICS[0]):
                weights = [w for w in results.weights() if w in set(able.weights)]
                tables.append(_table(condition, metric, able, weights, named or {}))
    return tables


def _table(condition: Condition, metric: str, cells: DataFrame, weights: list[str], named: dict[str, str]) -> Table:
    known = [c for members in GROUPS.get(condition.dataset, {}).values() for c in members]
    known += [c for c in published_counts(condition.dataset) if c not in known]
    classes = sorted(set(cells.category), key=lambda c: (known.index(c) if c in known else len(known), c))
    columns = in_order(cells.column)
    found = {key: over_draws(group, metric) for key, group in cells.groupby(["category", "column", "weights"])}
    outcomes = [result.outcome for result in cells.result if isinstance(result.outcome, Measurement)]
    definitions = {o.scores.aupro_definition for o in outcomes if o.scores.aupro_definition}
    return Table(
        condition, metric, classes, columns, weights,
        values={key: found.get(key, Number()) for key in product(classes, columns, weights)},
        definitions=sorted(definitions) if metric.startswith("aupro") else [],
        beside=_beside(cells) if metric == METRICS[0] else {}, named=named,
    )  # fmt: skip


def _beside(cells: DataFrame) -> dict[Key, Number]:
    """Image AUROC of what methods report beside their own score, such as CutPaste's of `steps=0`."""
    shares: dict[Key, list[tuple[int, float]]] = {}
    for cell in cells[cells.done].itertuples():
        for what, metrics in cell.result.outcome.scores.beside.items():
            if "image_auroc" in metrics:
                key = (cell.category, f"{method_title(cell.method)}, {what}", cell.weights)
                shares.setdefault(key, []).append((cell.seed, 100 * metrics["image_auroc"]))
    return {
        key: Number(statistics.fmean(share for _, share in several), seeds=tuple(seed for seed, _ in several))
        for key, several in shares.items()
    }


def missing(tables: list[Table]) -> list[str]:
    """A line for every cell of a table that nobody has run, and for seeds and metrics that one lacks."""
    lacking: dict[tuple[Condition, str, str, str], list[str]] = {}
    for table in tables:
        for (row, column, weights), number in table.values.items():
            if number.state == "none":
                lacking.setdefault((table.condition, column, row, weights), []).append(METRIC_NAMES[table.metric])
    lines = [
        f"{column}, {row}, {weights}: has no {', '.join(names)} ({condition.title})"
        for (condition, column, row, weights), names in lacking.items()
    ]
    for table in (t for t in tables if t.metric == METRICS[0]):
        for (row, column, weights), number in table.values.items():
            if absent := [str(seed) for seed in table.seeds if seed not in number.tried]:
                seeds = f"seed{'s' * (len(absent) > 1)} {', '.join(absent)} " if number.tried else ""
                lines.append(f"{column}, {row}, {weights}: {seeds}not run ({table.condition.title})")
            absent = [str(n) for n in table.networks if n not in number.networks]
            if number.tried and weights == "random" and absent:
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
    place = {method: n for n, method in enumerate(METHOD_NAMES)}
    return sorted(set(columns), key=lambda c: (place.get(c.split(" ", 1)[0], len(place)), c))
