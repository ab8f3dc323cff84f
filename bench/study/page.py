"""Write docs/what-works.md from bench/study/results/: every number with its seeds and its interval.

    uv run python -m bench.study.page [--results DIR] [--output FILE]

A score is the mean of an image AUROC over a dataset's categories, in points of 100. It is given as the mean over
seeds, with the 95 % interval of Student's t where there are two seeds or more; a difference from random weights of
the same network is that of the two means, with Welch's interval where both have two seeds or more.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean, variance

from bench.study.arms import Arm, Measure, Result, comparison
from bench.study.run import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "what-works.md"
METRIC = "image_auroc"
GOAL = 10
"""Points above random weights that weights are asked for."""
HEAD = """# What works

Written by `uv run python -m bench.study.page` from `bench/study/results/`; `python -m bench.study.run` adds to them.
Each row is one way to make weights, measured frozen on a dataset with a method. Scores are image AUROC in points, the
mean over the dataset's categories; mean over seeds, and the 95 % interval over seeds where there are at least two.

`random` is another network for every seed; `built-in` is the package's one file, and its seeds are the method's alone.
Every other arm has seen some thousand images, so that the tables compare how ways to train begin; the package's file
took two shots of 224,000 pictures. The objective `dense`, the class that covers each cell of two feature maps, was
removed after these measures, as its scores cannot be told from those of `class`.
[What else was tried](history.md#2026-11-28-and-29-from-twins-to-the-packages-weights), one run each.
"""
Points = Mapping[int, Sequence[float]]
"""Scores of the seeds, in points, by number of images."""
Scores = dict[Arm, list[float]]
"""Scores of each arm's seeds, in points."""


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
        """The mean of one value a seed."""
        n = len(values)
        return cls(fmean(values), None if n < 2 else variance(values) / n, n)

    @property
    def half(self) -> float | None:
        """Half of the 95 % interval of Student's t; None for one seed."""
        return None if self.variance is None else student(self.seeds - 1) * math.sqrt(self.variance)

    def __str__(self) -> str:
        return f"{self.mean:.1f}" + (
            " (1 seed, no interval)" if self.half is None else f" ± {self.half:.1f} ({self.seeds} seeds)"
        )


def difference(one: Estimate, other: Estimate) -> str:
    """one - other, with Welch's interval, and whether it excludes 0."""
    gap = one.mean - other.mean
    if one.variance is None or other.variance is None:
        return f"{gap:+.1f} (no interval)"
    total = one.variance + other.variance
    if total == 0:
        return f"{gap:+.1f} ± 0.0"
    freedom = total**2 / (one.variance**2 / (one.seeds - 1) + other.variance**2 / (other.seeds - 1))
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


def read(results: Path) -> list[Result]:
    """All results. Raises ValueError for a file that is none."""
    return [Result.read(path) for path in sorted(results.glob("*.json"))]


def scores(results: Iterable[Result]) -> dict[tuple[str, str], Scores]:
    """Scores by dataset and method, in order."""
    values: dict[tuple[str, str], Scores] = {}
    for result in results:
        for measure in result.measures:
            found = values.setdefault((measure.dataset, measure.method), {})
            score = 100 * fmean(metrics[METRIC] for metrics in measure.metrics.values())
            found.setdefault(result.arm, []).append(score)
    return dict(sorted(values.items()))


def estimates_of(found: Scores) -> dict[Arm, Estimate]:
    """The means of the arms with two seeds or more."""
    return {arm: Estimate.of(values) for arm, values in found.items() if len(values) > 1}


def curves(found: Scores) -> dict[str, tuple[Arm, Points]]:
    """Lines of arms with two seeds or more at two numbers of images or more: one of the arms, and scores by number."""
    several = [arm for arm, values in found.items() if arm.samples and len(values) > 1]
    several.sort(key=lambda arm: arm.line)
    lines = {line: list(arms) for line, arms in groupby(several, lambda arm: arm.line)}
    return {
        line: (arms[0], {arm.samples: found[arm] for arm in arms}) for line, arms in lines.items() if len(arms) > 1
    }


def described(arm: Arm) -> str:
    """An arm in a table's cells: recipe, augmentation, objective, samples."""
    if not arm.samples:
        return f"{arm.recipe} | | | {'its card' if arm.recipe == 'built-in' else 0}"
    shown = f"{arm.recipe}, {arm.classes} classes, {arm.size} px"
    return f"{shown} | {arm.augmentation} | {arm.objective} | {arm.samples:,}"


def page(results: Sequence[Result]) -> str:
    """The whole page."""
    parts = [HEAD, *(section(*key, found) for key, found in scores(results).items())]
    if not results:
        parts.append("\nNothing has been measured yet.")
    there = {(r.arm.recipe, r.arm.augmentation, r.arm.objective) for r in results}  # with any number of images
    asked = [(arm.recipe, arm.augmentation, arm.objective) for arm in comparison(1, "", 1, 1)]
    if missing := "; ".join(", ".join(way) for way in asked if way not in there):
        parts.append(f"\n## Not measured\n\nOf the comparison's arms, as recipe, augmentation, objective: {missing}.")
    parts.append("\n## How and where\n")
    parts += [f"- {line}" for line in sorted({how(measure) for result in results for measure in result.measures})]
    return "\n".join(parts) + "\n"


def section(dataset: str, method: str, found: Scores) -> str:
    """A dataset and method: all arms with two seeds or more, the others by name, and curves."""
    estimates = estimates_of(found)
    random = {arm.model: estimate for arm, estimate in estimates.items() if arm.recipe == "random"}
    parts = [
        f"\n## {dataset}, {method}\n",
        f"![Means over seeds with their intervals](images/{picture_name(dataset, method)})\n",
        "| network | recipe | augmentation | objective | images | image AUROC | above random |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, estimate in sorted(estimates.items(), key=lambda item: -item[1].mean):
        least = random.get(arm.model)
        above = "" if least is None or least is estimate else difference(estimate, least)
        parts.append(f"| {arm.model} | {described(arm)} | {estimate} | {above} |")
    if begun := sorted(arm.name for arm in set(found) - set(estimates)):
        parts.append(f"\nMeasured with one seed so far, which decides nothing: {', '.join(begun)}.")
    for line, (arm, points) in curves(found).items():
        parts.append(f"\n### {dataset}, {method}: {line}, with more images\n")
        parts.append(f"![Scores against images](images/{picture_name(dataset, method, 'curve')})\n")
        least = random.get(arm.model)
        goal = (least.mean if least else 50.0) + GOAL
        parts.append(told(points, goal, f"{'random weights' if least else 'chance'} and {GOAL} points"))
    return "\n".join(parts)


def how(measure: Measure) -> str:
    """Under which terms a measure was taken, on what, and when."""
    settings = ", ".join(f"{k} {v}" for k, v in sorted(measure.settings.items())) or "its own settings"
    images = f"{measure.limit} images a category" if measure.limit else "whole categories"
    return f"{measure.method}, {images}, {settings}: {measure.machine}, {measure.date}"


def picture_name(dataset: str, method: str, *kind: str) -> str:
    """File of a dataset's and method's picture, in docs/images."""
    return f"what-works-{'-'.join((dataset, method, *kind))}.png"


def draw(estimates: Mapping[Arm, Estimate], path: Path) -> None:
    """Mean and interval of every arm on one axis, best on top."""
    from matplotlib.figure import Figure

    ordered = sorted(estimates.items(), key=lambda item: item[1].mean)
    figure = Figure(figsize=(8, 1 + 0.3 * len(ordered)))
    axes = figure.add_subplot()
    for row, (arm, e) in enumerate(ordered):
        random = arm.recipe == "random"
        axes.errorbar(e.mean, row, xerr=e.half, fmt="s" if random else "o", color="0.5" if random else "C0")
    axes.set_yticks(range(len(ordered)), [arm.name for arm, _ in ordered], fontsize=8)
    axes.set_xlabel("image AUROC, mean over categories; bars: 95 % over seeds")
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})


def draw_curves(found: Mapping[str, tuple[Arm, Points]], level: float | None, path: Path) -> None:
    """Scores against images, a line and bars for each arm; the level of random weights dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    for name, (_, points) in found.items():
        estimates = {images: Estimate.of(points[images]) for images in sorted(points)}
        means, halves = [e.mean for e in estimates.values()], [e.half or 0.0 for e in estimates.values()]
        axes.errorbar(list(estimates), means, halves, fmt="o-", label=name)
    if level is not None:
        axes.axhline(level, color="0.5", linestyle="--", label="random weights")
    axes.set_xscale("log")
    axes.set_xlabel("images seen")
    axes.set_ylabel("image AUROC; bars: 95 % over seeds")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    results = read(options.results)
    options.output.write_text(page(results))
    images = options.output.parent / "images"
    for (dataset, method), found in scores(results).items():
        estimates = estimates_of(found)
        draw(estimates, images / picture_name(dataset, method))
        if lines := curves(found):
            level = next((e.mean for arm, e in estimates.items() if arm.name == "resnet18-random"), None)
            draw_curves(lines, level, images / picture_name(dataset, method, "curve"))
    print(options.output)


if __name__ == "__main__":
    main()
