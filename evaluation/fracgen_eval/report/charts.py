"""Charts of a report: Figs. 3 to 6 of the paper, few-shot curves, time and memory.

A chart is first its numbers (a `Chart`), which the page shows as a table too, then a drawing for a
light or a dark page.
"""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fracgen_eval.methods.settings import IMAGE_LEVEL, LAYER_CHOICE, LAYERS
from fracgen_eval.report.gather import Condition, Entry, Gathered, slug_of
from fracgen_eval.report.tables import (
    GROUPS,
    METRIC_NAMES,
    Table,
    column_title,
    in_order,
    short_titles,
    value_of,
)
from fracgen_eval.results import METRICS

INK = {"light": "#1d1d1f", "dark": "#ececec"}
FAINT = {"light": "#b8b8be", "dark": "#5c5c66"}
COLOURS = {
    "light": ("#0b62c4", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#117a8b"),
    "dark": ("#6cb2ff", "#ff8a7a", "#7bd88f", "#cf9bff", "#f3c969", "#6fd7e6"),
}
K = TypeVar("K")
MARKERS = ("o", "s", "^", "D", "v", "P")


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


def to_svg(figure: Any, salt: str) -> bytes:
    """The same bytes for the same figure."""
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return out.getvalue()


def to_png(figure: Any) -> bytes:
    """150 dots an inch, on white."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def all_charts(found: Gathered, tables: list[Table]) -> list[Chart]:
    """Every chart for which the folder has numbers; what could not be drawn is added to its problems."""
    charts = [c for t in tables if t.metric == "image_auroc" for c in spiders(t)]
    for condition in found.conditions():
        here = [e for e in found.entries if e.condition == condition and e.done]
        charts += layer_charts(condition, here, found)
        charts += shot_charts(condition, here, found)
        charts += cost_charts(condition, here)
    return charts


def spiders(table: Table) -> list[Chart]:
    """Fig. 3: an axis per method. A chart per weights with a polygon per category group, as in the paper; for a
    dataset that has no groups, one chart with a polygon per weights."""
    if table.condition.dataset not in GROUPS:
        means = {
            (w, column): statistics.fmean(v for c in rows if (v := table.value(c, column, w).mean) is not None)
            for column in table.columns
            if (rows := [row for row, other in table.compared if other == column])
            for w in table.weights
        }
        chart = _spider_chart(table, "spider", "Image AUROC by method", table.weights, means)
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
    """None where fewer than three methods have a number in every polygon."""
    columns = [c for c in table.columns if all((p, c) in means for p in polygons)]
    if len(columns) < 3:
        return None
    values = {p: [means[p, c] for c in columns] for p in polygons}
    low = min(0.0 if min(v) < 20 else 20.0 if min(v) < 45 else 40.0 for v in values.values())
    heads = [table.titles[c] for c in columns]
    return Chart(
        f"{table.condition.slug}-{slug}", f"{title} ({table.condition.title})",
        f"Spider chart: {title}, percent. " + "; ".join(f"{p} {min(v):.1f} to {max(v):.1f}" for p, v in values.items()),
        ["mean over", *heads], [[p, *(f"{n:.1f}" for n in v)] for p, v in values.items()],
        partial(_spider, heads=heads, values=values, low=low),
    )  # fmt: skip


def _spider(scheme: str, heads: list[str], values: dict[str, list[float]], low: float) -> Any:
    import math

    figure = _figure(scheme, 5.2, 4.6)
    axes = figure.add_subplot(projection="polar")
    angles = [2 * math.pi * n / len(heads) for n in range(len(heads))]
    for n, (group, numbers) in enumerate(values.items()):
        colour, marker = COLOURS[scheme][n % 6], MARKERS[n % 6]
        axes.plot([*angles, angles[0]], [*numbers, numbers[0]], color=colour, marker=marker, markersize=4, label=group)
        axes.fill(angles, numbers, color=colour, alpha=0.12)
    axes.set_xticks(angles, heads)
    axes.tick_params(axis="x", pad=8)
    axes.set_ylim(low, 100)
    _styled(axes, scheme)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False, labelcolor=INK[scheme])
    return figure


def layer_charts(condition: Condition, entries: list[Entry], found: Gathered) -> list[Chart]:
    """Figs. 4 to 6: PatchCore and PaDiM over layer sets, a chart per metric and method."""
    charts = []
    able = [e for e in entries if e.method in LAYER_CHOICE and e.shots is None]
    for column in in_order(e.column for e in able):
        groups: dict[tuple[tuple[str, ...], str], list[Entry]] = {}
        for e in (e for e in able if e.column == column):
            layers = e.layers or tuple(e.result["cell"]["settings"].get("layers", ()))
            groups.setdefault((layers, e.weights), []).append(e)
        sets = sorted({layers for layers, _ in groups}, key=lambda s: (len(s), s))
        weights = [w for w in found.weights() if any(w == other for _, other in groups)]
        for metric in METRICS if len(sets) > 1 else ():
            title = f"{column_title(column)}: {METRIC_NAMES[metric]} by layers"
            means, over = _comparable(groups, metric)
            if not means:
                found.problems.append(f"{title} ({condition.title}) is not drawn: {over}")
                continue
            charts.append(_bars(
                f"{condition.slug}-layers-{slug_of(column)}-{metric}", f"{title}, {over} ({condition.title})", "layers",
                METRIC_NAMES[metric] + " / %", [_layers(s) for s in sets],
                {w: [means.get((s, w)) for s in sets] for w in weights}, 100.0,
            ))  # fmt: skip
    return charts


def shot_charts(condition: Condition, entries: list[Entry], found: Gathered) -> list[Chart]:
    """Few-shot: a metric against the number of training images, a chart per metric and method."""
    few = [e for e in entries if e.shots is not None and e.layers is None]
    charts = []
    for column in in_order(e.column for e in few):
        groups: dict[tuple[int, str], list[Entry]] = {}
        for e in (e for e in few if e.column == column):
            groups.setdefault((e.shots or 0, e.weights), []).append(e)
        counts = sorted({shots for shots, _ in groups})
        for metric in METRICS if column.split(" ")[0] not in IMAGE_LEVEL else METRICS[:1]:
            title = f"Few-shot {METRIC_NAMES[metric]}, {column_title(column)}"
            means, over = _comparable(groups, metric)
            if not means:
                found.problems.append(f"{title} ({condition.title}) is not drawn: {over}")
                continue
            weights = [w for w in found.weights() if any(w == other for _, other in groups)]
            curves = {w: [means.get((n, w)) for n in counts] for w in weights}
            charts.append(Chart(
                f"{condition.slug}-shots-{slug_of(column)}-{metric}", f"{title}, {over} ({condition.title})",
                f"Curves of {METRIC_NAMES[metric]} against training images: "
                + "; ".join(f"{w} ends at {_shown(v[-1])} %" for w, v in curves.items()),
                ["training images", *curves],
                [[str(n), *(_shown(v[i]) for v in curves.values())] for i, n in enumerate(counts)],
                partial(_curves, counts=counts, curves=curves, label=METRIC_NAMES[metric] + " / %"),
            ))  # fmt: skip
    return charts


def _comparable(groups: dict[K, list[Entry]], metric: str) -> tuple[dict[K, float], str]:
    """Mean over the categories that all groups with numbers have, percent; and how many these are, in words."""
    means = {
        key: {c: m for c in {e.category for e in group}
              if (m := value_of([e for e in group if e.category == c], metric).mean) is not None}
        for key, group in groups.items()
    }  # fmt: skip
    there = {key: by_category for key, by_category in means.items() if by_category}
    common = set.intersection(*(set(m) for m in there.values())) if there else set()
    if not common:
        return {}, "no category has a number for all of its points" if there else "there are no numbers"
    over = f"mean over {len(common)} categories" if len(common) > 1 else next(iter(common))
    return {key: statistics.fmean(m[c] for c in sorted(common)) for key, m in there.items()}, over


def _curves(scheme: str, counts: list[int], curves: dict[str, list[float | None]], label: str) -> Any:
    figure = _figure(scheme, 6.4, 3.8)
    axes = figure.add_subplot()
    for n, (name, points) in enumerate(curves.items()):
        there = [(x, y) for x, y in zip(counts, points, strict=True) if y is not None]
        axes.plot(*zip(*there, strict=True), color=COLOURS[scheme][n % 6], marker=MARKERS[n // 6 % 6], label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_xlabel("training images")
    axes.set_ylabel(label)
    _styled(axes, scheme)
    axes.legend(frameon=False, labelcolor=INK[scheme], fontsize=8)
    return figure


def cost_charts(condition: Condition, entries: list[Entry]) -> list[Chart]:
    """Seconds and peak memory of a cell by method, means over all cells of a device."""
    charts = []
    for device in sorted({str(e.result.get("device")) for e in entries if e.result.get("device")}):
        mine = [e for e in entries if e.result.get("device") == device]
        columns = in_order(e.column for e in mine)
        titles = short_titles(columns)
        memory = "peak_gpu_memory_mb" if device == "cuda" else "peak_memory_mb"
        for key, what, scale in (("wall_s", "seconds per cell", 1.0), (memory, "peak memory / GB", 1024.0)):
            numbers = []
            for column in columns:
                got = [_number(e.result.get(key)) for e in mine if e.column == column]
                there = [n / scale for n in got if n is not None]
                numbers.append(statistics.fmean(there) if there else None)
            if any(n is not None for n in numbers):
                charts.append(_bars(
                    f"{condition.slug}-{slug_of(device)}-{'time' if scale == 1 else 'memory'}",
                    f"{what[0].upper()}{what[1:]} on {device} ({condition.title})", "method", what,
                    [titles[c] for c in columns], {"mean over cells": numbers}, None,
                ))  # fmt: skip
    return charts


def _bars(
    slug: str, title: str, across: str, label: str, groups: list[str], series: dict[str, list[float | None]],
    top: float | None,
) -> Chart:  # fmt: skip
    alt = "; ".join(
        f"{name}: " + ", ".join(f"{g} {_shown(n)}" for g, n in zip(groups, numbers, strict=True))
        for name, numbers in series.items()
    )
    return Chart(
        slug, title, f"Bars of {label}. {alt}", [across, *series],
        [[g, *(_shown(v[n]) for v in series.values())] for n, g in enumerate(groups)],
        partial(_draw_bars, groups=groups, series=series, label=label, top=top),
    )  # fmt: skip


def _draw_bars(
    scheme: str, groups: list[str], series: dict[str, list[float | None]], label: str, top: float | None
) -> Any:
    figure = _figure(scheme, 6.4, 3.4)
    axes = figure.add_subplot()
    width = 0.8 / len(series)
    for n, (name, numbers) in enumerate(series.items()):
        there = [(x + (n - (len(series) - 1) / 2) * width, y) for x, y in enumerate(numbers) if y is not None]
        bars = axes.bar(*zip(*there, strict=True), width=width * 0.92, color=COLOURS[scheme][n % 6], label=name)
        axes.bar_label(bars, fmt="%.1f", color=INK[scheme], fontsize=7)
    axes.set_xticks(range(len(groups)), groups, rotation=25 if max(map(len, groups)) > 8 else 0, ha="center")
    axes.set_ylabel(label)
    if top is not None:
        axes.set_ylim(0, top * 1.08)
    _styled(axes, scheme)
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=INK[scheme], loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _figure(scheme: str, width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _styled(axes: Any, scheme: str) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=INK[scheme], labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(FAINT[scheme])
    axes.xaxis.label.set_color(INK[scheme])
    axes.yaxis.label.set_color(INK[scheme])
    axes.grid(color=FAINT[scheme], alpha=0.5, linewidth=0.6)
    axes.set_axisbelow(True)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _layers(layers: tuple[str, ...]) -> str:
    return "{" + ", ".join(str(LAYERS.index(x) + 1) if x in LAYERS else x for x in layers) + "}"

