"""Drawings of a report's charts for a light or a dark page, by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tile = NDArray[np.uint8]
INK = {"light": "#1d1d1f", "dark": "#ececec"}
FAINT = {"light": "#b8b8be", "dark": "#5c5c66"}
COLOURS = {
    "light": ("#0b62c4", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#117a8b"),
    "dark": ("#6cb2ff", "#ff8a7a", "#7bd88f", "#cf9bff", "#f3c969", "#6fd7e6"),
}
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
    draw: Callable[[str], Figure]
    """Gives a drawing for `light` or `dark`."""


def chart_svg(chart: Chart, scheme: str = "light") -> bytes:
    """A chart as SVG: the same bytes for the same chart."""
    import matplotlib

    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": chart.slug, "svg.fonttype": "path"}):
        chart.draw(scheme).savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return out.getvalue()


def chart_png(chart: Chart) -> bytes:
    """A chart as PNG: 150 dots an inch, on white."""
    out = io.BytesIO()
    chart.draw("light").savefig(out, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def picture(pixels: Tile, kind: str = "PNG") -> bytes:
    """Pixels [H, W, 3] as a file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=kind, **({"quality": 80} if kind == "WEBP" else {}))
    return out.getvalue()


def draw_spider(scheme: str, heads: list[str], values: dict[str, list[float]], low: float) -> Figure:
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


def draw_curves(scheme: str, counts: list[int], curves: dict[str, list[float | None]], label: str) -> Figure:
    figure = _figure(scheme, 6.4, 3.8)
    axes = figure.add_subplot()
    for n, (name, points) in enumerate(curves.items()):
        drawn = [(x, y) for x, y in zip(counts, points, strict=True) if y is not None]
        axes.plot(*zip(*drawn, strict=True), color=COLOURS[scheme][n % 6], marker=MARKERS[n % 6], label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_xlabel("training images")
    axes.set_ylabel(label)
    _styled(axes, scheme)
    axes.legend(frameon=False, labelcolor=INK[scheme], fontsize=8)
    return figure


def draw_roc(scheme: str, rates: list[float], curves: dict[str, list[float]]) -> Figure:
    figure = _figure(scheme, 4.6, 4.2)
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color=FAINT[scheme], linestyle="--", linewidth=1)
    for n, (name, numbers) in enumerate(curves.items()):
        axes.plot([0, *rates], [0, *numbers], color=COLOURS[scheme][n % 6], label=name)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 101)
    axes.set_xlabel("false-positive rate / %")
    axes.set_ylabel("true-positive rate / %")
    _styled(axes, scheme)
    axes.legend(frameon=False, labelcolor=INK[scheme], fontsize=8, loc="lower right")
    return figure


def draw_bars(
    scheme: str, groups: list[str], series: dict[str, list[float | None]], label: str, top: float | None
) -> Figure:
    figure = _figure(scheme, 6.4, 3.4)
    axes = figure.add_subplot()
    width = 0.8 / len(series)
    for n, (name, numbers) in enumerate(series.items()):
        drawn = [(x + (n - (len(series) - 1) / 2) * width, y) for x, y in enumerate(numbers) if y is not None]
        if not drawn:
            continue
        places, heights = zip(*drawn, strict=True)
        bars = axes.bar(places, heights, width=width * 0.92, color=COLOURS[scheme][n % 6], label=name)
        axes.bar_label(bars, fmt="%.1f", color=INK[scheme], fontsize=7)
    axes.set_xticks(range(len(groups)), groups, rotation=25 if max(map(len, groups)) > 8 else 0, ha="center")
    axes.set_ylabel(label)
    if top is not None:
        axes.set_ylim(0, top * 1.08)
    _styled(axes, scheme)
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=INK[scheme], loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _figure(scheme: str, width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _styled(axes: Axes, scheme: str) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=INK[scheme], labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(FAINT[scheme])
    axes.xaxis.label.set_color(INK[scheme])
    axes.yaxis.label.set_color(INK[scheme])
    axes.grid(color=FAINT[scheme], alpha=0.5, linewidth=0.6)
    axes.set_axisbelow(True)
