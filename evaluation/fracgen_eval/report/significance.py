"""Whether one of the weights beats another, method by method: a paired test across categories."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from statistics import fmean

from fracgen_eval.metrics.bootstrap import difference_interval
from fracgen_eval.report.tables import Table, Value, mean_replicates

LEAST_CATEGORIES, LEAST_SEEDS = 6, 2
"""With five pairs no outcome of the exact test reaches p = 0.05; with one seed a category's number is one draw."""


@dataclass(frozen=True)
class Comparison:
    """One method, two weights."""

    column: str
    first: str
    second: str
    _: KW_ONLY
    categories: int
    difference: float | None
    """Mean over categories of second minus first, percentage points."""
    p: float | None
    """Two-sided Wilcoxon signed-rank, Holm-corrected over the table's comparisons; None where not tested."""
    why_not: str = ""
    interval: tuple[float, float] | None = None
    """95 % of the difference over test images, percentage points: paired bootstrap."""


def compare(table: Table) -> list[Comparison]:
    """Every other weights against the first of a table, per method, over categories run with the same seeds."""
    from scipy.stats import wilcoxon

    first, raw = table.weights[0], []
    for second in table.weights[1:]:
        for column in table.columns:
            pairs = [(table.value(c, column, first), table.value(c, column, second)) for c in table.classes]
            paired = [(a, b) for a, b in pairs if a.seeds and a.seeds == b.seeds]
            # Rounded, or means that are equal but for the order of a sum would pass for differences.
            differences = [round(b.mean - a.mean, 9) for a, b in paired]  # type: ignore[operator]
            mean = sum(differences) / len(differences) if differences else None
            why = ""
            if len(paired) < LEAST_CATEGORIES:
                why = f"{len(paired)} categories with the same seeds; {LEAST_CATEGORIES} needed"
            elif min(len(a.seeds) for a, _ in paired) < LEAST_SEEDS:
                why = f"one seed; {LEAST_SEEDS} or more needed"
            elif not any(differences):
                why = "no difference at all"
            p = None if why else float(wilcoxon(differences).pvalue)
            raw.append(
                Comparison(
                    column, first, second, categories=len(paired), difference=mean, p=p, why_not=why,
                    interval=_interval(mean, paired),
                )
            )  # fmt: skip
    return _holm(raw)


def difference(table: Table, second: str) -> str:
    """`fractal − random: +3.2 [1.1, 5.3] points over 12 cells`, over the compared cells of a table."""
    first = table.weights_with_numbers[0]
    mean, ends, cells = paired_difference(table, first, second)
    sure = f" [{ends[0]:+.1f}, {ends[1]:+.1f}]" if ends else ""
    return f"{second} minus {first}: {mean:+.1f}{sure} points over {cells} cells"


def paired_difference(table: Table, first: str, second: str) -> tuple[float, tuple[float, float] | None, int]:
    """Second minus first over the compared cells of a table: mean and 95 % interval in points, and how many cells."""
    pairs = [(table.value(r, c, first), table.value(r, c, second)) for r, c in table.compared]
    mean = fmean((b.mean or 0.0) - (a.mean or 0.0) for a, b in pairs)  # compared cells have numbers
    return mean, _interval(mean, pairs), len(pairs)


def _interval(mean: float | None, pairs: list[tuple[Value, Value]]) -> tuple[float, float] | None:
    """Of the mean difference over categories, whose test images are independent of each other."""
    drawn = [mean_replicates([pair[side].replicates for pair in pairs]) for side in (0, 1)]
    if mean is None or drawn[0] is None or drawn[1] is None or len(drawn[0]) != len(drawn[1]):
        return None
    ends = difference_interval(mean / 100, *drawn)
    return None if ends is None else (100 * ends[0], 100 * ends[1])


def _holm(raw: list[Comparison]) -> list[Comparison]:
    from dataclasses import replace

    tested = sorted((n for n, c in enumerate(raw) if c.p is not None), key=lambda n: raw[n].p or 0.0)
    out, least = list(raw), 0.0
    for rank, n in enumerate(tested):
        least = min(1.0, max(least, (raw[n].p or 0.0) * (len(tested) - rank)))
        out[n] = replace(raw[n], p=least)
    return out
