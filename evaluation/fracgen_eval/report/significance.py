"""Whether one of the weights beats another: a paired test across categories, method by method, the mean difference
over all compared cells, and a sentence that says both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from statistics import fmean

from fracgen_eval.metrics.bootstrap import difference_interval
from fracgen_eval.report.gather import gather
from fracgen_eval.report.tables import Ends, Number, Table, make_tables, mean_replicates
from fracgen_eval.report.text import average, ends

LEAST_CATEGORIES, LEAST_SEEDS = 6, 2
"""With five pairs no outcome of the exact test reaches p = 0.05; with one seed a category's number is one draw."""
Pair = tuple[Number, Number]


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
    interval: Ends | None = None
    """95 % of the difference over test images, percentage points: paired bootstrap."""


def compare(table: Table) -> list[Comparison]:
    """Every other weights against the first of a table, per method, over categories run with the same seeds."""
    first = table.weights[0]
    raw = [_compare(table, column, first, second) for second in table.weights[1:] for column in table.columns]
    tested, least = sorted((c.p, n) for n, c in enumerate(raw) if c.p is not None), 0.0
    for rank, (p, n) in enumerate(tested):  # Holm's correction
        least = min(1.0, max(least, p * (len(tested) - rank)))
        raw[n] = replace(raw[n], p=least)
    return raw


def _compare(table: Table, column: str, first: str, second: str) -> Comparison:
    from scipy.stats import wilcoxon

    pairs = [(table.values[row, column, first], table.values[row, column, second]) for row in table.classes]
    paired = [(a, b) for a, b in pairs if a.seeds and a.seeds == b.seeds]
    # Rounded, or means that are equal but for the order of a sum would pass for differences.
    differences = [round((b.mean or 0.0) - (a.mean or 0.0), 9) for a, b in paired]
    mean = sum(differences) / len(differences) if differences else None
    why = ""
    if len(paired) < LEAST_CATEGORIES:
        why = f"{len(paired)} categories with the same seeds; {LEAST_CATEGORIES} needed"
    elif min(len(a.seeds) for a, _ in paired) < LEAST_SEEDS:
        why = f"one seed; {LEAST_SEEDS} or more needed"
    elif not any(differences):
        why = "no difference at all"
    p = None if why else float(wilcoxon(differences).pvalue)
    return Comparison(
        column, first, second, categories=len(paired), difference=mean, p=p, why_not=why,
        interval=None if mean is None else _interval(mean, paired),
    )  # fmt: skip


def paired_difference(
    table: Table, first: str, second: str, cells: Sequence[tuple[str, str]]
) -> tuple[float, Ends | None]:
    """Second minus first over cells (class and column) that have numbers of both: mean and 95 % interval in points."""
    pairs = [(table.values[r, c, first], table.values[r, c, second]) for r, c in cells]
    mean = fmean((b.mean or 0.0) - (a.mean or 0.0) for a, b in pairs)
    return mean, _interval(mean, pairs)


def _interval(mean: float, pairs: Sequence[Pair]) -> Ends | None:
    """Of the mean difference over categories, whose test images are independent of each other."""
    first, second = (mean_replicates([pair[side].replicates for pair in pairs]) for side in (0, 1))
    if first is None or second is None or len(first) != len(second):
        return None
    ends = difference_interval(mean / 100, first, second)
    return None if ends is None else (100 * ends[0], 100 * ends[1])


def difference(table: Table, second: str) -> str:
    """`fractal minus random: +3.2 [+1.1, +5.3] points over 12 cells`, over the compared cells of a table."""
    mean, found = paired_difference(table, table.weights_with_numbers[0], second, table.compared)
    sure = f" [{found[0]:+.1f}, {found[1]:+.1f}]" if found else ""
    first = table.weights_with_numbers[0]
    return f"{second} minus {first}: {mean:+.1f}{sure} points over {len(table.compared)} cells"


def verdict(folder: Path) -> list[str]:
    """What a result folder says of weights: a sentence for each table of image AUROC with two weights or more, with
    means, differences and their 95 % intervals.

    Raises:
        EvaluationError: there is nothing in the folder.
    """
    judged = (t for t in make_tables(gather(folder)) if t.metric == "image_auroc" and len(t.weights_with_numbers) > 1)
    return [_sentence(t) for t in judged if t.compared]


def _sentence(table: Table) -> str:
    names = table.weights_with_numbers
    means = ", ".join(f"{name} {average(table.overall[name]).split(' (')[0]}" for name in names)
    methods, classes = (len({cell[part] for cell in table.compared}) for part in (1, 0))
    over = f"{methods} method{'s' * (methods > 1)} and {classes} categor{'ies' if classes > 1 else 'y'}"
    found = f"measured with {table.condition.model}, mean image AUROC over {over}: {means}"
    return "; ".join([found, *(_against(table, names[0], name) for name in names[1:])])


def _against(table: Table, first: str, second: str) -> str:
    mean, interval = paired_difference(table, first, second, table.compared)
    if interval is None:
        return f"{second} {mean:+.1f} points against {first}, how sure is not known"
    if interval[0] <= 0 <= interval[1]:
        sure = "not significant"
    else:
        sure = "significant over test images"
    return f"{second} {mean:+.1f} points {ends(interval)} against {first}, {sure}"
