"""Write docs/what-works.md from bench/study/results/: every number with its seeds and its interval.

    uv run python -m bench.study.page [--results DIR] [--output FILE]

A score is the mean of an image AUROC over a dataset's categories, in points of 100. It is given as the mean over
seeds, with the 95 % interval of Student's t where there are two seeds or more; a difference from random weights of
the same network is that of the two means, with Welch's interval where both have two seeds or more.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.study.run import RESULTS, SCHEMA

PAGE = Path(__file__).parents[2] / "docs" / "what-works.md"
METRIC = "image_auroc"
HEAD = """# What works

Written by `uv run python -m bench.study.page` from `bench/study/results/`; `python -m bench.study.run` adds to them.
Each row is one way to make weights, measured frozen on a dataset with a method. Scores are image AUROC in points, the
mean over the dataset's categories; mean over seeds, and the 95 % interval over seeds where there are at least two.

`random` is another network for every seed; `built-in` is the package's one file, and its seeds are the method's alone.
The study has only begun: recipes, augmentations and objectives are compared when the tables below have rows for them,
and a row of one seed decides nothing.
"""


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
        n, mean = len(values), sum(values) / len(values)
        spread = None if n < 2 else sum((value - mean) ** 2 for value in values) / (n - 1) / n
        return cls(mean, spread, n)

    def __str__(self) -> str:
        if self.variance is None:
            return f"{self.mean:.1f} (1 seed, no interval)"
        half = student(self.seeds - 1) * math.sqrt(self.variance)
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


def student(freedom: float) -> float:
    """The 97.5 % point of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))


def read(results: Path) -> list[dict[str, Any]]:
    """All results. Raises ValueError for a file that is none."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    for number, result in enumerate(found):
        if result.get("schema") != SCHEMA:
            raise ValueError(f"result {number} in {results} is not of schema {SCHEMA}")
    return found


def scores(results: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Estimate]]:
    """For every dataset and method, the estimate of every arm, in points."""
    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for dataset, methods in result["metrics"].items():
            for method, categories in methods.items():
                numbers = [metrics[METRIC] for metrics in categories.values()]
                values[dataset, method][result["name"]].append(100 * sum(numbers) / len(numbers))
    return {key: {name: Estimate.of(v) for name, v in arms.items()} for key, arms in values.items()}


def described(arm: dict[str, Any]) -> str:
    """An arm in a table's cells: recipe, augmentation, objective, samples."""
    if not arm["samples"]:
        return f"{arm['recipe']} | | | {'its card' if arm['recipe'] == 'built-in' else 0}"
    told = f"{arm['recipe']}, {arm['classes']} classes, {arm['size']} px"
    return f"{told} | {arm['augmentation']} | {arm['objective']} | {arm['samples']:,}"


def page(results: Sequence[dict[str, Any]]) -> str:
    """The whole page."""
    arms = {result["name"]: result["arm"] for result in results}
    parts = [HEAD]
    for (dataset, method), found in sorted(scores(results).items()):
        parts.append(f"\n## {dataset}, {method}\n")
        parts.append(f"![Means over seeds with their intervals](images/{picture_name(dataset, method)})\n")
        parts.append("| network | recipe | augmentation | objective | images | image AUROC | above random |")
        parts.append("|---|---|---|---|---|---|---|")
        for name, estimate in sorted(found.items(), key=lambda item: -item[1].mean):
            random = found.get(f"{arms[name]['model']}-random")
            above = "" if random is None or random is estimate else difference(estimate, random)
            parts.append(f"| {arms[name]['model']} | {described(arms[name])} | {estimate} | {above} |")
    if not results:
        parts.append("\nNothing has been measured yet.")
    where = sorted({(r["machine"], r["date"], " ".join(r["options"]) or "whole categories") for r in results})
    parts.append("\n## Where\n")
    parts += [f"- {machine}, {date}; {options}" for machine, date, options in where]
    return "\n".join(parts) + "\n"


def picture_name(dataset: str, method: str) -> str:
    """File of a dataset's and method's picture, in docs/images."""
    return f"what-works-{dataset}-{method}.png"


def draw(found: dict[str, Estimate], arms: dict[str, dict[str, Any]], path: Path) -> None:
    """Every arm's mean and interval on one axis, best on top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ordered = sorted(found.items(), key=lambda item: item[1].mean)
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.3 * len(ordered)))
    for row, (name, e) in enumerate(ordered):
        half = 0.0 if e.variance is None else student(e.seeds - 1) * math.sqrt(e.variance)
        random = arms[name]["recipe"] == "random"
        axes.errorbar(e.mean, row, xerr=half or None, fmt="s" if random else "o", color="0.5" if random else "C0")
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered], fontsize=8)
    axes.set_xlabel("image AUROC, mean over categories; bars: 95 % over seeds, none for one seed")
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--output", type=Path, default=PAGE)
    options = parser.parse_args()
    results = read(options.results)
    options.output.write_text(page(results))
    arms = {result["name"]: result["arm"] for result in results}
    for (dataset, method), found in scores(results).items():
        draw(found, arms, options.output.parent / "images" / picture_name(dataset, method))
    print(options.output)


if __name__ == "__main__":
    main()
