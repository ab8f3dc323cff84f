"""Charts of a report: Figs. 3 to 6 of the paper, ROC and few-shot curves, time and memory.

A chart is first its numbers (a `Chart`), which the page shows as a table too, then a drawing for a
light or a dark page.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fracgen_eval.datasets.base import GOOD
from fracgen_eval.grid.result import PAPER_METRICS, CellResult
from fracgen_eval.methods.settings import IMAGE_LEVEL, LAYER_CHOICE
from fracgen_eval.report.drawing import draw_bars, draw_curves, draw_roc, draw_spider
from fracgen_eval.report.gather import Condition, Entry, Results, layers_text, slug_of
from fracgen_eval.report.tables import (
    GROUPS,
    METRIC_NAMES,
    Table,
    column_title,
    in_order,
    short_titles,
)

K = TypeVar("K")


@dataclass(frozen=True)
class Chart:
    """A chart as numbers and as a drawing."""

    slug: str
    title: str
    alt: str
    header: list[str]
    rows: list[list[str]]
    """The drawing's numbers, as printed."""
    draw: Callable[[str], Any]
    """Gives a matplotlib Figure for `light` or `dark`."""


def all_charts(results: Results, tables: list[Table]) -> list[Chart]:
    """Every chart for which the folder has comparable numbers; what has numbers that cannot be compared is added to
    the folder's problems. A spider needs three methods."""
    charts = [c for t in tables if t.metric == "image_auroc" for c in spiders(t)]
    for condition in results.conditions():
        here = [e for e in results.entries if e.condition == condition and e.done]
        charts += roc_charts(condition, here, results)
        charts += layer_charts(condition, here, results)
        charts += shot_charts(condition, here, results)
        charts += cost_charts(condition, here, results)
    return charts


def spiders(table: Table) -> list[Chart]:
    """Fig. 3: an axis per method. A chart per weights with a polygon per category group, as in the paper; for a
    dataset that has no groups, one chart with a polygon per weights."""
    if table.condition.dataset not in GROUPS:
        means = {
            (w, column): statistics.fmean(v for c in rows if (v := table.value(c, column, w).mean) is not None)
            for column in table.columns
            if (rows := [row for row, other in table.compared if other == column])
            for w in table.weights_with_numbers
        }
        chart = _spider_chart(table, "spider", "Image AUROC by method", table.weights_with_numbers, means)
        return [chart] if chart else []
    drawn = []
    for weights in table.weights:
        means = {(g, c): mean for (g, c, w), mean in table.group_means().items() if w == weights}
        title = f"Image AUROC by category group, {weights}"
        drawn.append(_spider_chart(table, f"spider-{slug_of(weights)}", title, list(table.groups), means))
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


RATES = tuple(n / 100 for n in range(101))
"""False-positive rates at which ROC curves are averaged."""
SHOWN_RATES = (1, 5, 10, 20, 30, 50)
"""Of them, in percent, those in the numbers of a chart."""


def roc_charts(condition: Condition, entries: list[Entry], results: Results) -> list[Chart]:
    """ROC curves over test images, a chart per method with a curve per weights: the mean over categories and seeds of
    the true-positive rate at each false-positive rate, because scores of two categories have no common scale."""
    charts = []
    plain = [e for e in entries if e.plain]
    for column in in_order(e.column for e in plain):
        groups: dict[tuple[str, float], dict[tuple[Any, ...], list[float]]] = {}
        for e in (e for e in plain if e.column == column):
            for rate, hits in zip(RATES, roc_curve_of(e) or (), strict=False):
                groups.setdefault((e.weights, rate), {}).setdefault((e.category, e.seed), []).append(100 * hits)
        points = {
            key: {where: statistics.fmean(draws) for where, draws in numbers.items()}
            for key, numbers in groups.items()
        }  # fmt: skip
        title = f"ROC over test images, {column_title(column)}"
        means, over = _comparable(points, f"{title} ({condition.title})", results.problems)
        weights = [w for w in results.weights() if (w, 0.0) in means]
        if not weights:
            continue
        curves = {w: [means[w, rate] for rate in RATES] for w in weights}
        charts.append(Chart(
            f"{condition.slug}-roc-{slug_of(column)}", f"{title}, {over} ({condition.title})",
            "ROC curves; true-positive rate at a false-positive rate of 10 %: "
            + ", ".join(f"{w} {c[10]:.1f} %" for w, c in curves.items()),
            ["false-positive rate / %", *curves],
            [[str(rate), *(f"{c[rate]:.1f}" for c in curves.values())] for rate in SHOWN_RATES],
            partial(draw_roc, rates=[100 * rate for rate in RATES], curves=curves),
        ))  # fmt: skip
    return charts


def roc_curve_of(entry: Entry) -> list[float] | None:
    """True-positive rates of a cell at `RATES`, from its test images' scores; None where it does not have them."""
    import numpy as np
    from sklearn.metrics import roc_curve

    images = entry.judged.images if entry.judged else ()
    labels, scores = [i.defect != GOOD for i in images], np.array([i.score for i in images])
    if len(set(labels)) < 2 or not np.isfinite(scores).all():
        return None
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    return [float(hits) for hits in np.interp(RATES, false, true)]


def layer_charts(condition: Condition, entries: list[Entry], results: Results) -> list[Chart]:
    """Figs. 4 to 6: PatchCore and PaDiM over layer sets, a chart per metric and method."""
    charts = []
    able = [e for e in entries if e.method in LAYER_CHOICE and e.shots is None]
    for column in in_order(e.column for e in able):
        groups: dict[tuple[tuple[str, ...], str], list[Entry]] = {}
        for e in (e for e in able if e.column == column):
            layers = e.layers or tuple(map(str, e.result.cell.method.settings.get("layers", ())))
            groups.setdefault((layers, e.weights), []).append(e)
        sets = sorted({layers for layers, _ in groups}, key=lambda s: (len(s), s))
        weights = [w for w in results.weights() if any(w == other for _, other in groups)]
        for metric in PAPER_METRICS if len(sets) > 1 else ():
            title = f"{column_title(column)}: {METRIC_NAMES[metric]} by layers"
            means, over = _comparable(_points(groups, metric), f"{title} ({condition.title})", results.problems)
            if not means:
                continue
            charts.append(_bars(
                f"{condition.slug}-layers-{slug_of(column)}-{metric}", f"{title}, {over} ({condition.title})",
                across="layers", label=METRIC_NAMES[metric] + " / %", groups=[layers_text(s) for s in sets],
                series={w: [means.get((s, w)) for s in sets] for w in weights}, top=100.0,
            ))  # fmt: skip
    return charts


def shot_charts(condition: Condition, entries: list[Entry], results: Results) -> list[Chart]:
    """Few-shot: a metric against the number of training images, a chart per metric and method."""
    few = [e for e in entries if e.shots is not None and e.layers is None]
    charts = []
    for column in in_order(e.column for e in few):
        groups: dict[tuple[int, str], list[Entry]] = {}
        for e in (e for e in few if e.column == column):
            groups.setdefault((e.shots or 0, e.weights), []).append(e)
        counts = sorted({shots for shots, _ in groups})
        for metric in PAPER_METRICS if column.split(" ")[0] not in IMAGE_LEVEL else PAPER_METRICS[:1]:
            title = f"Few-shot {METRIC_NAMES[metric]}, {column_title(column)}"
            means, over = _comparable(_points(groups, metric), f"{title} ({condition.title})", results.problems)
            if not means:
                continue
            weights = [w for w in results.weights() if any(w == other for _, other in groups)]
            curves = {w: [means.get((n, w)) for n in counts] for w in weights}
            charts.append(Chart(
                f"{condition.slug}-shots-{slug_of(column)}-{metric}", f"{title}, {over} ({condition.title})",
                f"Curves of {METRIC_NAMES[metric]} against training images: "
                + "; ".join(f"{w} ends at {_shown(v[-1])} %" for w, v in curves.items()),
                ["training images", *curves],
                [[str(n), *(_shown(v[i]) for v in curves.values())] for i, n in enumerate(counts)],
                partial(draw_curves, counts=counts, curves=curves, label=METRIC_NAMES[metric] + " / %"),
            ))  # fmt: skip
    return charts


def cost_charts(condition: Condition, entries: list[Entry], results: Results) -> list[Chart]:
    """Seconds and peak memory of a cell by method, for each device."""
    charts = []
    full = [e for e in entries if e.plain and e.result.origin.device]
    for device in sorted({str(e.result.origin.device) for e in full}):
        groups: dict[str, list[Entry]] = {}
        for e in (e for e in full if e.result.origin.device == device):
            groups.setdefault(e.column, []).append(e)
        columns = in_order(groups)
        titles = short_titles(columns)
        for what, number, scale in (("seconds per cell", _seconds, 1.0), ("peak memory / GB", _memory_mb, 1024.0)):
            title = f"{what[0].upper()}{what[1:]} on {device}"
            points = {
                column: {(e.category, e.seed, e.weights): n / scale
                         for e in group if (n := number(e.result)) is not None}
                for column, group in groups.items()
            }  # fmt: skip
            means, over = _comparable(points, f"{title} ({condition.title})", results.problems)
            if means:
                charts.append(_bars(
                    f"{condition.slug}-{slug_of(device)}-{'time' if scale == 1 else 'memory'}",
                    f"{title}, {over} ({condition.title})", across="method", label=what,
                    groups=[titles[c] for c in columns],
                    series={"mean over cells": [means.get(c) for c in columns]}, top=None,
                ))  # fmt: skip
    return charts


def _comparable(
    points: dict[K, dict[tuple[Any, ...], float]], name: str, problems: list[str]
) -> tuple[dict[K, float], str]:
    """Means over what all points of a chart have.

    Args:
        points: numbers of each point by (category, seed), or (category, seed, weights).
        name: of the chart, for `problems`, which gets a line where points have nothing in common.
        problems: the folder's.

    Returns:
        The means, none where there are none, and in words what they are over.
    """
    drawn = {key: numbers for key, numbers in points.items() if numbers}
    if not drawn:
        return {}, ""
    common = sorted(set.intersection(*(set(numbers) for numbers in drawn.values())))
    if not common:
        problems.append(f"{name} is not drawn: no category and seed has a number for all of its points")
        return {}, ""
    categories, seeds = ({where[part] for where in common} for part in (0, 1))
    over = f"mean over {len(categories)} categories" if len(categories) > 1 else str(common[0][0])
    if len({where[1] for numbers in drawn.values() for where in numbers}) > 1:
        over += f", seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}"
    return {key: statistics.fmean(numbers[where] for where in common) for key, numbers in drawn.items()}, over


def _points(groups: dict[K, list[Entry]], metric: str) -> dict[K, dict[tuple[Any, ...], float]]:
    """Percent by category and seed, the mean of several random networks."""
    points: dict[K, dict[tuple[Any, ...], float]] = {}
    for key, group in groups.items():
        draws: dict[tuple[Any, ...], list[float]] = {}
        for e in group:
            if (n := e.metrics[metric]) is not None:
                draws.setdefault((e.category, e.seed), []).append(100 * n)
        points[key] = {where: statistics.fmean(numbers) for where, numbers in draws.items()}
    return points


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


def _seconds(result: CellResult) -> float | None:
    return result.cost.wall_s


def _memory_mb(result: CellResult) -> float | None:
    """Of the device on which the cell was run."""
    return result.cost.peak_gpu_memory_mb if result.origin.device == "cuda" else result.cost.peak_memory_mb


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
