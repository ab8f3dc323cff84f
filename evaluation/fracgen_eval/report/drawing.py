"""Drawings of a report's charts for a light or a dark page, by matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Tile = NDArray[np.uint8]
INK, FAINT = "#1d1d1f", "#b8b8be"
COLOURS = ("#0b62c4", "#c0392b", "#1e8449", "#8e44ad", "#b9770e", "#117a8b")
DARK = dict(zip(
    (INK, FAINT, *COLOURS),
    ("#ececec", "#5c5c66", "#6cb2ff", "#ff8a7a", "#7bd88f", "#cf9bff", "#f3c969", "#6fd7e6"), strict=True,
))  # fmt: skip
"""What each colour becomes on a dark page."""
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
    draw: Callable[[], Figure]

    @cached_property
    def svg(self) -> bytes:
        """As SVG for a light page: the same bytes for the same chart."""
        import matplotlib

        out = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": self.slug, "svg.fonttype": "path"}):
            self.draw().savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
        return out.getvalue()

    @property
    def dark_svg(self) -> bytes:
        return re.sub(r"#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), self.svg.decode()).encode()

    def png(self) -> bytes:
        """As PNG: 150 dots an inch, on white."""
        out = io.BytesIO()
        self.draw().savefig(out, format="png", dpi=150, facecolor="white", metadata={"Software": None})
        return out.getvalue()


def picture(pixels: Tile, kind: str = "PNG") -> bytes:
    """Pixels [H, W, 3] as a file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=kind, **({"quality": 80} if kind == "WEBP" else {}))
    return out.getvalue()


def draw_spider(heads: list[str], values: dict[str, list[float]], low: float) -> Figure:
    import math

    figure = _figure(5.2, 4.6)
    axes = figure.add_subplot(projection="polar")
    angles = [2 * math.pi * n / len(heads) for n in range(len(heads))]
    for n, (group, numbers) in enumerate(values.items()):
        colour, marker = COLOURS[n % 6], MARKERS[n % 6]
        axes.plot([*angles, angles[0]], [*numbers, numbers[0]], color=colour, marker=marker, markersize=4, label=group)
        axes.fill(angles, numbers, color=colour, alpha=0.12)
    axes.set_xticks(angles, heads)
    axes.tick_params(axis="x", pad=8)
    axes.set_ylim(low, 100)
    _styled(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False, labelcolor=INK)
    return figure


def draw_curves(counts: list[int], curves: dict[str, list[float | None]], label: str) -> Figure:
    figure = _figure(6.4, 3.8)
    axes = figure.add_subplot()
    for n, (name, points) in enumerate(curves.items()):
        drawn = [(x, y) for x, y in zip(counts, points, strict=True) if y is not None]
        axes.plot(*zip(*drawn, strict=True), color=COLOURS[n % 6], marker=MARKERS[n % 6], label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_xlabel("training images")
    axes.set_ylabel(label)
    _styled(axes)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    return figure


def draw_roc(rates: list[float], curves: dict[str, list[float]]) -> Figure:
    figure = _figure(4.6, 4.2)
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color=FAINT, linestyle="--", linewidth=1)
    for n, (name, numbers) in enumerate(curves.items()):
        axes.plot([0, *rates], [0, *numbers], color=COLOURS[n % 6], label=name)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 101)
    axes.set_xlabel("false-positive rate / %")
    axes.set_ylabel("true-positive rate / %")
    _styled(axes)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, loc="lower right")
    return figure


def draw_bars(groups: list[str], series: dict[str, list[float | None]], label: str, top: float | None) -> Figure:
    figure = _figure(6.4, 3.4)
    axes = figure.add_subplot()
    width = 0.8 / len(series)
    for n, (name, numbers) in enumerate(series.items()):
        drawn = [(x + (n - (len(series) - 1) / 2) * width, y) for x, y in enumerate(numbers) if y is not None]
        if not drawn:
            continue
        places, heights = zip(*drawn, strict=True)
        bars = axes.bar(places, heights, width=width * 0.92, color=COLOURS[n % 6], label=name)
        axes.bar_label(bars, fmt="%.1f", color=INK, fontsize=7)
    axes.set_xticks(range(len(groups)), groups, rotation=25 if max(map(len, groups)) > 8 else 0, ha="center")
    axes.set_ylabel(label)
    if top is not None:
        axes.set_ylim(0, top * 1.08)
    _styled(axes)
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=INK, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _styled(axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.tick_params(colors=INK, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(color=FAINT, alpha=0.5, linewidth=0.6)
    axes.set_axisbelow(True)
