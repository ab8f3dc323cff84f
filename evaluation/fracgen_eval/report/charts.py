"""Charts of a report: Figs. 3 to 6 of the paper, ROC and few-shot curves, time and memory.

A chart is first its numbers (a `Chart`), which the page shows as a table too, then a drawing for a
light or a dark page.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

from fracgen_eval.datasets.base import GOOD
from fracgen_eval.grid.result import METRIC_NAMES, PAPER_METRICS, Measurement
from fracgen_eval.methods.settings import IMAGE_LEVEL, LAYER_CHOICE
from fracgen_eval.report.drawing import Chart, draw_bars, draw_curves, draw_roc, draw_spider
from fracgen_eval.report.gather import Condition, Results, layers_text, slug_of
from fracgen_eval.report.tables import GROUPS, Table, column_title, in_order, short_titles

if TYPE_CHECKING:
    from pandas import DataFrame

RATES = tuple(n / 100 for n in range(101))
"""False-positive rates at which ROC curves are averaged."""
SHOWN_RATES = (1, 5, 10, 20, 30, 50)
"""Of them, in percent, those in the numbers of a chart."""
PLACE = ("category", "seed")
"""Columns of what numbers of one chart must have in common."""


def all_charts(results: Results, tables: list[Table]) -> list[Chart]:
    """Every chart for which the folder has comparable numbers; what has numbers that cannot be compared is added to
    the folder's problems. A spider needs three methods."""
    charts = [c for t in tables if t.metric == "image_auroc" for c in spiders(t)]
    for condition, cells in results.by_condition():
        for make in (roc_charts, layer_charts, shot_charts, cost_charts):
            charts += make(condition, cells[cells.done], results)
    return charts


def spiders(table: Table) -> list[Chart]:
    """Fig. 3: an axis per method. A chart per weights with a polygon per category group, as in the paper; for a
    dataset that has no groups, one chart with a polygon per weights."""
    if table.condition.dataset not in GROUPS:
        means = {}
        for column in table.columns:
            rows = [row for row, other in table.compared if other == column]
            for w in table.weights_with_numbers if rows else ():
                means[w, column] = fmean(table.values[row, column, w].mean or 0.0 for row in rows)
        drawn = [_spider_chart(table, "spider", "Image AUROC by method", table.weights_with_numbers, means)]
    else:
        drawn, here = [], [group for group, members in GROUPS[table.condition.dataset].items()
                           if set(members) & set(table.classes)]  # fmt: skip
        for weights in table.weights:
            means = {(g, c): mean for (g, c, w), mean in table.group_means().items() if w == weights}
            title = f"Image AUROC by category group, {weights}"
            drawn.append(_spider_chart(table, f"spider-{slug_of(weights)}", title, here, means))
    return [chart for chart in drawn if chart]


def _spider_chart(
    table: Table, slug: str, title: str, polygons: list[str], means: dict[tuple[str, str], float]
) -> Chart | None:
    """Of the methods that have a number in every polygon; None where these are fewer than three."""
    columns = [c for c in table.columns if all((p, c) in means for p in polygons)]
    if len(columns) < 3:
        return None
    if without := [table.titles[c] for c in table.columns if c not in columns]:
        title += f", without {', '.join(without)}: numbers are missing"
    values = {p: [means[p, c] for c in columns] for p in polygons}
    low = min(0.0 if min(v) < 20 else 20.0 if min(v) < 45 else 40.0 for v in values.values())
    heads = [table.titles[c] for c in columns]
    return Chart(
        f"{table.condition.slug}-{slug}", f"{title} ({table.condition.title})",
        f"Spider chart: {title}, percent. " + "; ".join(f"{p} {min(v):.1f} to {max(v):.1f}" for p, v in values.items()),
        ["mean over", *heads], [[p, *(f"{n:.1f}" for n in v)] for p, v in values.items()],
        partial(draw_spider, heads=heads, values=values, low=low),
    )  # fmt: skip


def roc_charts(condition: Condition, cells: DataFrame, results: Results) -> list[Chart]:
    """ROC curves over test images, a chart per method with a curve per weights: the mean over categories and seeds of
    the true-positive rate at each false-positive rate, because scores of two categories have no common scale."""
    from pandas import DataFrame

    charts = []
    for column, some in _columns(cells[cells.plain]):
        points = DataFrame(
            [(cell.weights, rate, cell.category, cell.seed, 100 * hits) for cell in some.itertuples()
             for rate, hits in zip(RATES, _roc_curve(cell.result.outcome) or (), strict=False)],
            columns=["weights", "rate", *PLACE, "value"],
        )  # fmt: skip
        title = f"ROC over test images, {column_title(column)}"
        means, over = _comparable(points, ["weights", "rate"], f"{title} ({condition.title})", results.problems)
        curves = {w: [means[w, rate] for rate in RATES] for w in results.weights() if (w, 0.0) in means}
        if not curves:
            continue
        charts.append(Chart(
            f"{condition.slug}-roc-{slug_of(column)}", f"{title}, {over} ({condition.title})",
            "ROC curves; true-positive rate at a false-positive rate of 10 %: "
            + ", ".join(f"{w} {c[10]:.1f} %" for w, c in curves.items()),
            ["false-positive rate / %", *curves],
            [[str(rate), *(f"{c[rate]:.1f}" for c in curves.values())] for rate in SHOWN_RATES],
            partial(draw_roc, rates=[100 * rate for rate in RATES], curves=curves),
        ))  # fmt: skip
    return charts


def _roc_curve(outcome: Measurement) -> list[float] | None:
    """True-positive rates at `RATES`, from the test images' scores; None where a cell does not have them."""
    import numpy as np
    from sklearn.metrics import roc_curve

    images = outcome.judged.images
    labels, scores = [i.defect != GOOD for i in images], np.array([i.score for i in images])
    if len(set(labels)) < 2 or not np.isfinite(scores).all():
        return None
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    return [float(hits) for hits in np.interp(RATES, false, true)]


def layer_charts(condition: Condition, cells: DataFrame, results: Results) -> list[Chart]:
    """Figs. 4 to 6: PatchCore and PaDiM over layer sets, a chart per metric and method."""
    charts = []
    for column, some in _columns(cells[cells.method.isin(LAYER_CHOICE) & cells.shots.isna()]):
        own = (r.cell.method.settings.get("layers", ()) for r in some.result)
        layers = [chosen or tuple(map(str, usual)) for chosen, usual in zip(some.layers, own, strict=True)]
        sets = [layers_text(s) for s in sorted(set(layers), key=lambda s: (len(s), s))]
        if len(sets) > 1:
            some = some.assign(point=list(map(layers_text, layers)))
            for metric, series, title in _by_point(some, sets, PAPER_METRICS, "{1}: {0} by layers", results):
                charts.append(_bars(
                    f"{condition.slug}-layers-{slug_of(column)}-{metric}", title, across="layers",
                    label=METRIC_NAMES[metric] + " / %", groups=sets, series=series, top=100.0,
                ))  # fmt: skip
    return charts


def shot_charts(condition: Condition, cells: DataFrame, results: Results) -> list[Chart]:
    """Few-shot: a metric against the number of training images, a chart per metric and method."""
    charts = []
    for column, some in _columns(cells[cells.shots.notna() & cells.layers.isna()]):
        counts, some = sorted(set(some.shots)), some.assign(point=some.shots)
        metrics = PAPER_METRICS if column.split(" ")[0] not in IMAGE_LEVEL else PAPER_METRICS[:1]
        for metric, curves, title in _by_point(some, counts, metrics, "Few-shot {0}, {1}", results):
            charts.append(Chart(
                f"{condition.slug}-shots-{slug_of(column)}-{metric}", title,
                f"Curves of {METRIC_NAMES[metric]} against training images: "
                + "; ".join(f"{w} ends at {_shown(v[-1])} %" for w, v in curves.items()),
                ["training images", *curves],
                [[str(n), *(_shown(v[i]) for v in curves.values())] for i, n in enumerate(counts)],
                partial(draw_curves, counts=counts, curves=curves, label=METRIC_NAMES[metric] + " / %"),
            ))  # fmt: skip
    return charts


def _by_point(
    cells: DataFrame, points: Sequence[Hashable], metrics: Sequence[str], name: str, results: Results
) -> Iterator[tuple[str, dict[str, list[float | None]], str]]:
    """Metrics that are comparable at the points of a chart: each with its means by weights, and the chart's title.

    Args:
        cells: of one method, with a column `point`.
        points: in order.
        metrics: names of metrics.
        name: of the chart, with a place for the metric and the method.
        results: the folder's.
    """
    condition, column = cells.iloc[0].condition, cells.iloc[0].column
    for metric in metrics:
        title = name.format(METRIC_NAMES[metric], column_title(column))
        numbers = cells.assign(value=100 * cells[metric])
        means, over = _comparable(numbers, ["point", "weights"], f"{title} ({condition.title})", results.problems)
        if means:
            series = {w: [means.get((p, w)) for p in points] for w in results.weights() if w in set(cells.weights)}
            yield metric, series, f"{title}, {over} ({condition.title})"


def cost_charts(condition: Condition, cells: DataFrame, results: Results) -> list[Chart]:
    """Seconds and peak memory of a cell by method, for each device."""
    charts = []
    for device, some in cells[cells.plain & cells.device.notna()].groupby("device"):
        columns = in_order(some.column)
        titles = short_titles(columns)
        memory = some[f"peak_{'gpu_' if device == 'cuda' else ''}memory_mb"] / 1024
        for kind, what, numbers in (("time", "seconds per cell", some.wall_s), ("memory", "peak memory / GB", memory)):
            title = f"{what[0].upper()}{what[1:]} on {device}"
            points, name = some.assign(value=numbers), f"{title} ({condition.title})"
            means, over = _comparable(points, ["column"], name, results.problems, (*PLACE, "weights"))
            if means:
                charts.append(_bars(
                    f"{condition.slug}-{slug_of(device)}-{kind}", f"{title}, {over} ({condition.title})",
                    across="method", label=what, groups=[titles[c] for c in columns],
                    series={"mean over cells": [means.get(c) for c in columns]}, top=None,
                ))  # fmt: skip
    return charts


def _columns(cells: DataFrame) -> list[tuple[str, DataFrame]]:
    """The cells of each column, in order."""
    return [(column, cells[cells.column == column]) for column in in_order(cells.column)]


def _comparable(
    points: DataFrame, by: list[str], name: str, problems: list[str], place: Sequence[str] = PLACE
) -> tuple[dict[Hashable, float], str]:
    """Means over what all points of a chart have.

    Args:
        points: numbers in the column `value`, NaN for none; several in one place, such as those of random networks,
            count as their mean.
        by: columns that name a point of the chart.
        name: of the chart, for `problems`, which gets a line where points have nothing in common.
        problems: the folder's.
        place: columns of what points must have in common.

    Returns:
        The means, none where there are none, and in words what they are over.
    """
    there = points[points.value.notna()]
    if there.empty:
        return {}, ""
    common = there.groupby([*place, *by]).value.agg(fmean).unstack(by).dropna()
    if common.empty:
        problems.append(f"{name} is not drawn: no category and seed has a number for all of its points")
        return {}, ""
    categories, seeds = (sorted(set(common.index.get_level_values(part))) for part in PLACE)
    over = f"mean over {len(categories)} categories" if len(categories) > 1 else str(categories[0])
    if there.seed.nunique() > 1:
        over += f", seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return {point: fmean(common[point]) for point in common}, over


def _bars(
    slug: str, title: str, *, across: str, label: str, groups: list[str], series: dict[str, list[float | None]],
    top: float | None,
) -> Chart:  # fmt: skip
    alt = "; ".join(
        f"{name}: " + ", ".join(f"{g} {_shown(n)}" for g, n in zip(groups, numbers, strict=True))
        for name, numbers in series.items()
    )
    return Chart(
        slug, title, f"Bars of {label}. {alt}", [across, *series],
        [[g, *(_shown(v[n]) for v in series.values())] for n, g in enumerate(groups)],
        partial(draw_bars, groups=groups, series=series, label=label, top=top),
    )  # fmt: skip


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
