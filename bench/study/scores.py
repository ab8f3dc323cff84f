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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from fracgen_eval.grid.result import METRICS
from fracgen_eval.report.gather import Entry, gather
from fracgen_eval.report.significance import paired_difference
from fracgen_eval.report.tables import Table, make_tables, method_title
from fracgen_eval.report.text import ends

from fracgen.benchmarking.record import Machine
from fracgen.support.files import whole_file

AGAINST = "random"


def scores(table: Table, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A row for each method and weights of a table that has random ones, and one for the mean of all methods.

    Args:
        table: of results.
        entries: the results that it is made of, and any others.

    Returns:
        Dictionaries of method, weights, mean, its 95 % interval and the means by category, by kind of defect and, of
        random weights, by network; those of other weights with the paired difference (gain) and its interval. All
        over the cells that all weights have, in percent.
    """
    rows = []
    parts = {column: replace(table, columns=[column]) for column in table.columns} | {"all": table}
    for weights, (method, part) in product(table.weights_with_numbers, parts.items()):
        average = part.overall(weights)
        here = [e for e in entries if e.weights == weights and belongs(e, part)]
        row: dict[str, Any] = {
            "method": method, "weights": weights, "mean": average.mean, "interval": average.interval,
            "by_category": means((e.category, e.metrics[part.metric]) for e in here),
            "by_defect": means(defects(here, part.metric)),
        }  # fmt: skip
        if weights == AGAINST:
            row["by_network"] = means((str(e.network), e.metrics[part.metric]) for e in here)
        if weights != AGAINST:
            gain, interval, _ = paired_difference(part, AGAINST, weights)
            row |= {"gain": gain, "gain_interval": interval}
        rows.append(row)
    return rows


def belongs(entry: Entry, table: Table) -> bool:
    """Whether a result stands in a table, in a cell that is compared."""
    return entry.condition == table.condition and entry.plain and (entry.category, entry.column) in table.compared


def defects(entries: Iterable[Entry], metric: str) -> Iterator[tuple[str, float | None]]:
    """The metric of each result's kinds of defects."""
    for entry in entries:
        for defect, metrics in (entry.scores.by_defect if entry.scores else {}).items():
            yield defect, metrics.get(metric)


def means(numbers: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """Of numbers in [0, 1] by name, the mean of each name in percent."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, number in numbers:
        if number is not None:
            found[name].append(100 * number)
    return {name: fmean(values) for name, values in sorted(found.items())}


def markdown(rows: Sequence[dict[str, Any]]) -> str:
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


def together(tables: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean gain over several tables of image AUROC, whose test images are independent of each other."""
    gains: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in (row for table in tables if table["metric"] == METRICS[0] for row in table["rows"]):
        if row["method"] == "all" and row.get("gain_interval"):
            low, high = row["gain_interval"]
            gains[row["weights"]].append((row["gain"], (high - low) / 2))
    found = []
    for weights, several in gains.items():
        if len(several) > 1:
            gain, half = fmean(g for g, _ in several), math.hypot(*(h for _, h in several)) / len(several)
            found.append({"weights": weights, "tables": len(several), "gain": gain,
                          "gain_interval": [gain - half, gain + half]})  # fmt: skip
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for every folder and metric, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    record: dict[str, Any] = {"schema": "fracgen-scores/2", "machine": asdict(Machine.here()), "tables": []}
    for folder in options.results:
        results = gather(folder)
        for table in make_tables(results):
            if AGAINST not in table.weights_with_numbers or len(table.weights_with_numbers) < 2:
                continue
            if not table.compared:
                sys.exit(f"{folder}: {table.title}: random and other weights have no cell of the same seeds to compare")
            rows = scores(table, results.entries)
            about = {"title": table.title, "seeds": table.seeds, "networks": table.networks}
            record["tables"].append({**about, "metric": table.metric, "categories": table.classes, "rows": rows})
            print(f"\n{table.title}; seeds {table.seeds}, random networks {table.networks}\n\n{markdown(rows)}")
    record["together"] = together(record["tables"])
    for row in record["together"]:
        print(f"\n{row['weights']}, over {row['tables']} tables: {row['gain']:+.1f} {ends(row['gain_interval'])}")
    if options.output:
        with whole_file(options.output) as file:
            file.write(json.dumps(record, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
