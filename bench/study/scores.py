"""What results say of weights against random ones, method by method: a table in Markdown, and the numbers as JSON.

    python -m bench.study.scores RESULTS... [-o FILE.json]

RESULTS are folders of `fracgen eval run`. Scores are means over categories, differences are paired over test images.
Of several random networks (`--weights random,random-1`) the means of the worst and the best stand in brackets; they
count alike where each was run with as many seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NotRequired, TypedDict

from fracgen_eval.grid.result import METRICS
from fracgen_eval.report.by_defect import ALL, by_kind
from fracgen_eval.report.gather import Results, gather
from fracgen_eval.report.significance import paired_difference
from fracgen_eval.report.tables import Table, make_tables, method_title, over_cells
from fracgen_eval.report.text import ends

from fracgen.benchmarking.record import Machine
from fracgen.support.files import whole_file

if TYPE_CHECKING:
    from pandas import DataFrame

AGAINST = "random"
Ends = tuple[float, float]


class Row(TypedDict):
    """The numbers of a method, or of `all`, with one of the weights, in percent."""

    method: str
    weights: str
    mean: float | None
    interval: Ends | None
    by_category: dict[str, float]
    by_defect: dict[str, float]
    by_network: NotRequired[dict[str, float]]
    gain: NotRequired[float]
    gain_interval: NotRequired[Ends | None]


def scores(table: Table, results: Results) -> list[Row]:
    """A row for each method and weights of a table that has random ones, and one for the mean of all methods.

    Args:
        table: one of those that are made of the results.
        results: of a folder.

    Returns:
        Rows with method, weights, mean, its 95 % interval and the means by category, by kind of defect and, of
        random weights, by network; those of other weights with the paired difference (gain) and its interval. All
        over the cells that all weights have, in percent.
    """
    rows: list[Row] = []
    cells = results.cells[results.cells.plain & (results.cells.condition == table.condition)]
    compared = [key in table.compared for key in zip(cells.category, cells.column, strict=True)]
    cells = cells[compared].assign(value=100 * cells[table.metric])
    kinds = by_kind(cells).query("metric == @table.metric")
    for weights, column in product(table.weights_with_numbers, [*table.columns, ALL]):
        here = [key for key in table.compared if column in (key[1], ALL)]
        if not here:
            continue
        average = over_cells(table.values[r, c, weights] for r, c in here)
        mine, its = (f[(f.weights == weights) & f.column.isin([c for _, c in here])] for f in (cells, kinds))
        row: Row = {
            "method": column, "weights": weights, "mean": average.mean, "interval": average.interval,
            "by_category": means(mine, "category"), "by_defect": means(its, "defect"),
        }  # fmt: skip
        if weights == AGAINST:
            row["by_network"] = means(mine.assign(network=mine.network.astype(str)), "network")
        else:
            row["gain"], row["gain_interval"] = paired_difference(table, AGAINST, weights, here)
        rows.append(row)
    return rows


def means(numbers: DataFrame, by: str) -> dict[str, float]:
    """Means of values, those that are there, by name."""
    return dict(numbers[numbers.value.notna()].groupby(by).value.agg(fmean).items())


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table: a line a method, a column of scores for each of the weights, and one of gains."""
    names = [AGAINST, *dict.fromkeys(row["weights"] for row in rows if row["weights"] != AGAINST)]
    found = {(row["method"], row["weights"]): row for row in rows}
    lines = ["| method | " + " | ".join(f"{n} | above random" if n != AGAINST else n for n in names) + " |"]
    lines.append("|---" * (2 * len(names)) + "|")
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = ["mean of all" if method == "all" else method_title(method)]
        for name in names:
            row = found[method, name]
            drawn = row.get("by_network", {}).values()
            cells.append(f"{row['mean']:.1f}" + (f" ({min(drawn):.1f} to {max(drawn):.1f})" if len(drawn) > 1 else ""))
            if name != AGAINST:
                cells.append(f"{row['gain']:+.1f} {ends(row['gain_interval'])}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


class Gain(TypedDict):
    """The mean gain of weights over several tables, in points."""

    weights: str
    tables: int
    gain: float
    gain_interval: Ends


def together(rows: Iterable[Row]) -> list[Gain]:
    """The mean gain over several tables, whose test images are independent of each other."""
    gains: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row["method"] == ALL and (ends := row.get("gain_interval")):
            gains[row["weights"]].append((row["gain"], (ends[1] - ends[0]) / 2))
    found: list[Gain] = []
    for weights, several in gains.items():
        if len(several) > 1:
            gain, half = fmean(g for g, _ in several), math.hypot(*(h for _, h in several)) / len(several)
            found.append({"weights": weights, "tables": len(several), "gain": gain,
                          "gain_interval": (gain - half, gain + half)})  # fmt: skip
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for every folder and metric, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    tables: list[dict[str, object]] = []
    first: list[Row] = []  # of image AUROC
    for folder in options.results:
        results = gather(folder)
        for table in make_tables(results):
            if AGAINST not in table.weights_with_numbers or len(table.weights_with_numbers) < 2:
                continue
            if not table.compared:
                sys.exit(f"{folder}: {table.title}: random and other weights have no cell of the same seeds to compare")
            rows = scores(table, results)
            first += rows if table.metric == METRICS[0] else []
            tables.append({"title": table.title, "seeds": table.seeds, "networks": table.networks,
                           "metric": table.metric, "categories": table.classes, "rows": rows})  # fmt: skip
            print(f"\n{table.title}; seeds {table.seeds}, random networks {table.networks}\n\n{markdown(rows)}")
    for gain in (gains := together(first)):
        print(f"\n{gain['weights']}, over {gain['tables']} tables: {gain['gain']:+.1f} {ends(gain['gain_interval'])}")
    if options.output:
        machine = asdict(Machine.here())
        record = {"schema": "fracgen-scores/2", "machine": machine, "tables": tables, "together": gains}
        with whole_file(options.output) as file:
            file.write(json.dumps(record, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
