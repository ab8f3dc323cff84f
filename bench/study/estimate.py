"""Means over seeds, and how a score grows with the images that an arm has seen, and how sure both are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

Points = Mapping[int, Sequence[float]]
"""Scores of the seeds, in points, by number of images."""


def student(freedom: float) -> float:
    """The 97.5 % point of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    mean: float
    variance: float | None
    """Of the mean; None for one seed."""
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Of one value a seed."""
        n = len(values)
        return cls(fmean(values), None if n < 2 else variance(values) / n, n)

    @property
    def half(self) -> float | None:
        """Half of the 95 % interval of Student's t; None for one seed."""
        return None if self.variance is None else student(self.seeds - 1) * math.sqrt(self.variance)

    def __str__(self) -> str:
        half = self.half
        if half is None:
            return f"{self.mean:.1f} (1 seed, no interval)"
        return f"{self.mean:.1f} ± {half:.1f} ({self.seeds} seeds)"


def difference(one: Estimate, other: Estimate) -> str:
    """one - other, with Welch's interval, and whether it excludes 0."""
    gap = one.mean - other.mean
    if one.variance is None or other.variance is None:
        return f"{gap:+.1f} (no interval)"
    total = one.variance + other.variance
    if total == 0:
        return f"{gap:+.1f} ± 0.0"
    freedom = total**2 / sum(e.variance**2 / (e.seeds - 1) for e in (one, other) if e.variance is not None)
    half = student(freedom) * math.sqrt(total)
    return f"{gap:+.1f} ± {half:.1f}" + ("" if abs(gap) > half else ", may be 0")


@dataclass(frozen=True)
class Line:
    """score = height + slope (log10(images) - middle), by least squares over all seeds.

    It describes what was measured; beyond that it is extrapolation, and the page says so.
    """

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
    """A table and a sentence: what ten times the images add, and when a goal would be reached."""
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
