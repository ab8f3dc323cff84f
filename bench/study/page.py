"""Write docs/what-works.md from bench/study/results/: every number with its seeds and its interval.

    uv run python -m bench.study.page [--results DIR] [--output FILE]

A score is the mean of an image AUROC over a dataset's categories, in points of 100. It is given as the mean over
seeds, with the 95 % interval of Student's t where there are two seeds or more; a difference from random weights of
the same network is that of the two means, with Welch's interval where both have two seeds or more.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, variance

from bench.study.arms import Arm, Measure, Result, comparison
from bench.study.run import RESULTS

PAGE = Path(__file__).parents[2] / "docs" / "what-works.md"
METRIC = "image_auroc"
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
Scores = dict[Arm, list[float]]
"""Scores of each arm's seeds, in points."""


def half_interval(values: Sequence[float]) -> float | None:
    """Half of the 95 % interval of a mean, by Student's t; None for one value."""
    from scipy.stats import t

    n = len(values)
    return None if n < 2 else math.sqrt(variance(values) / n) * float(t.ppf(0.975, n - 1))


def estimate(values: Sequence[float]) -> str:
    """The mean over seeds with its interval."""
    half = half_interval(values)
    return f"{fmean(values):.1f}" + (
        " (1 seed, no interval)" if half is None else f" ± {half:.1f} ({len(values)} seeds)"
    )


def difference(one: Sequence[float], other: Sequence[float]) -> str:
    """The difference of two means, one - other, with Welch's interval, and whether it excludes 0."""
    from scipy.stats import t

    gap = fmean(one) - fmean(other)
    if min(len(one), len(other)) < 2:
        return f"{gap:+.1f} (no interval)"
    parts = [(variance(values) / len(values), len(values) - 1) for values in (one, other)]
    total = sum(part for part, _ in parts)
    if total == 0:
        return f"{gap:+.1f} ± 0.0"
    half = math.sqrt(total) * float(t.ppf(0.975, total**2 / sum(part**2 / freedom for part, freedom in parts)))
    return f"{gap:+.1f} ± {half:.1f}" + ("" if abs(gap) > half else ", may be 0")


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


def several(found: Scores) -> list[tuple[Arm, list[float]]]:
    """The arms with two seeds or more, the best first."""
    shown = [(arm, values) for arm, values in found.items() if len(values) > 1]
    return sorted(shown, key=lambda item: -fmean(item[1]))


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
    asked = [(arm.recipe, arm.augmentation, arm.objective) for arm in comparison(1, "", 1)]
    if missing := "; ".join(", ".join(way) for way in asked if way not in there):
        parts.append(f"\n## Not measured\n\nOf the comparison's arms, as recipe, augmentation, objective: {missing}.")
    parts.append("\n## How and where\n")
    parts += [f"- {line}" for line in sorted({how(measure) for result in results for measure in result.measures})]
    return "\n".join(parts) + "\n"


def section(dataset: str, method: str, found: Scores) -> str:
    """A dataset and method: a table of all arms with two seeds or more, and the others by name."""
    random = {arm.model: values for arm, values in several(found) if arm.recipe == "random"}
    parts = [
        f"\n## {dataset}, {method}\n",
        f"![Means over seeds with their intervals](images/{picture_name(dataset, method)})\n",
        "| network | recipe | augmentation | objective | images | image AUROC | above random |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, values in several(found):
        least = random.get(arm.model)
        above = "" if least is None or arm.recipe == "random" else difference(values, least)
        parts.append(f"| {arm.model} | {described(arm)} | {estimate(values)} | {above} |")
    if begun := sorted(arm.name for arm, values in found.items() if len(values) < 2):
        parts.append(f"\nMeasured with one seed so far, which decides nothing: {', '.join(begun)}.")
    return "\n".join(parts)


def how(measure: Measure) -> str:
    """Under which terms a measure was taken, on what, and when."""
    settings = ", ".join(f"{k} {v}" for k, v in sorted(measure.settings.items())) or "its own settings"
    images = f"{measure.limit} images a category" if measure.limit else "whole categories"
    return f"{measure.method}, {images}, {settings}: {measure.machine}, {measure.date}"


def picture_name(dataset: str, method: str) -> str:
    """File of a dataset's and method's picture, in docs/images."""
    return f"what-works-{dataset}-{method}.png"


def draw(found: Scores, path: Path) -> None:
    """Mean and interval of every arm on one axis, best on top."""
    from matplotlib.figure import Figure

    ordered = several(found)[::-1]
    figure = Figure(figsize=(8, 1 + 0.3 * len(ordered)))
    axes = figure.add_subplot()
    for row, (arm, values) in enumerate(ordered):
        shape, color = ("s", "0.5") if arm.recipe == "random" else ("o", "C0")
        axes.errorbar(fmean(values), row, xerr=half_interval(values), fmt=shape, color=color)
    axes.set_yticks(range(len(ordered)), [arm.name for arm, _ in ordered], fontsize=8)
    axes.set_xlabel("image AUROC, mean over categories; bars: 95 % over seeds")
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    results = read(options.results)
    options.output.write_text(page(results))
    for (dataset, method), found in scores(results).items():
        draw(found, options.output.parent / "images" / picture_name(dataset, method))
    print(options.output)


if __name__ == "__main__":
    main()
