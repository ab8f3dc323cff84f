"""How a score grows with the images that an arm has seen, and how far a line through it would have to go.

The line is least squares of score on log10(images) over all seeds. It describes what was measured; beyond that it
is extrapolation, and the page says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from bench.study.estimate import Estimate, student

Points = Mapping[int, Sequence[float]]
"""Scores of the seeds, in points, by number of images."""


@dataclass(frozen=True)
class Line:
    """score = height + slope (log10(images) - middle)."""

    slope: float
    half: float
    """Half of the slope's 95 % interval."""
    middle: float
    height: float

    @classmethod
    def through(cls, points: Points) -> Line:
        """The line of least squares. Raises ValueError for fewer than three scores or one number of images."""
        from scipy.stats import linregress

        pairs = [(math.log10(images), score) for images, scores in points.items() for score in scores]
        if len(points) < 2 or len(pairs) < 3:
            raise ValueError("a line needs three scores or more, at two numbers of images or more")
        x, y = zip(*pairs, strict=True)
        line = linregress(x, y)
        return cls(float(line.slope), student(len(pairs) - 2) * float(line.stderr), fmean(x), fmean(y))

    def images_for(self, score: float) -> tuple[float, float, float] | None:
        """Images at which the line reaches a score, and its interval's two ends; None where it may never."""
        if self.slope <= self.half:
            return None
        best, steep, flat = (
            10 ** (self.middle + (score - self.height) / slope)
            for slope in (self.slope, self.slope + self.half, self.slope - self.half)
        )
        return best, min(steep, flat), max(steep, flat)


def told(points: Points, goal: float, goal_name: str) -> str:
    """A table and a sentence."""
    rows = ["| images | image AUROC |", "|---|---|"]
    rows += [f"| {images:,} | {Estimate.of(points[images])} |" for images in sorted(points)]
    line = Line.through(points)
    said = f"Ten times the images add {line.slope:+.1f} ± {line.half:.1f} points"
    reached = line.images_for(goal)
    if reached is None:
        said += f", which may be 0: the line says nothing of when {goal_name} ({goal:.1f}) would be reached."
    elif reached[0] < max(points):
        said += f"; {goal_name} ({goal:.1f}) was reached at {_round(reached[0])} images."
    else:
        said += (f"; {goal_name} ({goal:.1f}) would be reached at {_round(reached[0])} images ({_round(reached[1])} to "
                 f"{_round(reached[2])}), if the line went on.")  # fmt: skip
    return "\n".join(rows) + f"\n\n{said}"


def _round(number: float) -> str:
    if number > 1e12:
        return "over 10^12"
    digits = max(0, math.floor(math.log10(number)) - 1)
    return f"{round(number, -digits):,.0f}"


def draw(named: Mapping[str, Points], level: float | None, path: Path) -> None:
    """Scores against images, a line and bars for each arm; the level of random weights dashed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, points in sorted(named.items()):
        numbers = sorted(points)
        estimates = [Estimate.of(points[number]) for number in numbers]
        axes.errorbar(numbers, [e.mean for e in estimates], [e.half or 0.0 for e in estimates], fmt="o-", label=name)
    if level is not None:
        axes.axhline(level, color="0.5", linestyle="--", label="random weights")
    axes.set_xscale("log")
    axes.set_xlabel("images seen")
    axes.set_ylabel("image AUROC; bars: 95 % over seeds")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
