"""Write docs/what-works.md from bench/study/results/: every number with its seeds and its interval.

    uv run python -m bench.study.page [--results DIR] [--output FILE]

A score is the mean of an image AUROC over a dataset's categories, in points of 100. It is given as the mean over
seeds, with the 95 % interval of Student's t where there are two seeds or more; a difference from random weights of
the same network is that of the two means, with Welch's interval where both have two seeds or more.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.study import curve
from bench.study.arms import comparison
from bench.study.estimate import Estimate, difference
from bench.study.run import RESULTS, SCHEMA

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
[What else was tried](pretraining.md#the-way-there), one run each, has its own page.
"""


def read(results: Path) -> list[dict[str, Any]]:
    """All results. Raises ValueError for a file that is none."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    for number, result in enumerate(found):
        if result.get("schema") != SCHEMA:
            raise ValueError(f"result {number} in {results} is not of schema {SCHEMA}")
    return found


def scores(results: Sequence[dict[str, Any]]) -> dict[tuple[str, str], dict[str, list[float]]]:
    """For every dataset and method, the scores of every arm's seeds, in points."""
    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        for measure in result["measures"]:
            numbers = [metrics[METRIC] for metrics in measure["metrics"].values()]
            score = 100 * sum(numbers) / len(numbers)
            values[measure["dataset"], measure["method"]][result["name"]].append(score)
    return {key: dict(arms) for key, arms in values.items()}


def curves(found: dict[str, list[float]], arms: dict[str, dict[str, Any]]) -> dict[str, dict[int, list[float]]]:
    """Of the arms with two seeds or more at two numbers of images or more: scores by number of images."""
    grouped: dict[str, dict[int, list[float]]] = defaultdict(dict)
    for name, values in found.items():
        if (images := arms[name]["samples"]) and len(values) > 1:
            grouped[name.removesuffix(f"-{images}")][images] = values
    return {name: points for name, points in grouped.items() if len(points) > 1}


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
        estimates = {name: Estimate.of(values) for name, values in found.items() if len(values) > 1}
        for name, estimate in sorted(estimates.items(), key=lambda item: -item[1].mean):
            random = estimates.get(f"{arms[name]['model']}-random")
            above = "" if random is None or random is estimate else difference(estimate, random)
            parts.append(f"| {arms[name]['model']} | {described(arms[name])} | {estimate} | {above} |")
        if begun := sorted(set(found) - set(estimates)):
            parts.append(f"\nMeasured with one seed so far, which decides nothing: {', '.join(begun)}.")
        for name, points in sorted(curves(found, arms).items()):
            random = estimates.get(f"{arms[f'{name}-{min(points)}']['model']}-random")
            parts.append(f"\n### {dataset}, {method}: {name}, with more images\n")
            parts.append(f"![Scores against images](images/{picture_name(dataset, method, 'curve')})\n")
            goal = (random.mean if random else 50.0) + GOAL
            parts.append(curve.told(points, goal, f"{'random weights' if random else 'chance'} and {GOAL} points"))
    if not results:
        parts.append("\nNothing has been measured yet.")
    if missing := not_measured(arms.values()):
        parts.append(f"\n## Not measured\n\nOf the comparison's arms, as recipe, augmentation, objective: {missing}.")
    parts.append("\n## How and where\n")
    parts += [f"- {told}" for told in sorted({how(measure) for result in results for measure in result["measures"]})]
    return "\n".join(parts) + "\n"


def not_measured(arms: Iterable[dict[str, Any]]) -> str:
    """The arms of the comparison that have no result, whatever their number of images."""
    there = {(arm["recipe"], arm["augmentation"], arm["objective"]) for arm in arms}
    asked = [(arm.recipe, arm.augmentation, arm.objective) for arm in comparison(1, "", 1, 1)]
    return "; ".join(", ".join(arm) for arm in asked if arm not in there)


def how(measure: dict[str, Any]) -> str:
    """Under which terms a measure was taken, on what, and when."""
    limit, settings = measure["limit"], ", ".join(f"{k} {v}" for k, v in sorted(measure["settings"].items()))
    images = f"{limit} images a category" if limit else "whole categories"
    return f"{measure['method']}, {images}, {settings or 'its own settings'}: {measure['machine']}, {measure['date']}"


def picture_name(dataset: str, method: str, *kind: str) -> str:
    """File of a dataset's and method's picture, in docs/images."""
    return f"what-works-{'-'.join((dataset, method, *kind))}.png"


def draw(found: dict[str, list[float]], arms: dict[str, dict[str, Any]], path: Path) -> None:
    """Mean and interval of every arm with two seeds or more on one axis, best on top."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    estimates = {name: Estimate.of(values) for name, values in found.items() if len(values) > 1}
    ordered = sorted(estimates.items(), key=lambda item: item[1].mean)
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.3 * len(ordered)))
    for row, (name, e) in enumerate(ordered):
        random = arms[name]["recipe"] == "random"
        axes.errorbar(e.mean, row, xerr=e.half, fmt="s" if random else "o", color="0.5" if random else "C0")
    axes.set_yticks(range(len(ordered)), [name for name, _ in ordered], fontsize=8)
    axes.set_xlabel("image AUROC, mean over categories; bars: 95 % over seeds")
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
        images = options.output.parent / "images"
        draw(found, arms, images / picture_name(dataset, method))
        if named := curves(found, arms):
            level = Estimate.of(found["resnet18-random"]).mean if "resnet18-random" in found else None
            curve.draw(named, level, images / picture_name(dataset, method, "curve"))
    print(options.output)


if __name__ == "__main__":
    main()
