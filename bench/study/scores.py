"""What results say of weights against random ones, method by method: a table in Markdown, and the numbers as JSON.

    python -m bench.study.scores RESULTS... [-o FILE.json]

RESULTS are folders of `fracgen eval run`. Scores are means over categories, differences are paired over test images.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from fracgen_eval.report.gather import gather
from fracgen_eval.report.significance import paired_difference
from fracgen_eval.report.tables import Table, make_tables, method_title
from fracgen_eval.report.text import ends

from fracgen.benchmarking.timing import machine
from fracgen.support.files import whole_file

AGAINST = "random"


def scores(table: Table) -> list[dict[str, Any]]:
    """A row for each method and weights of a table that has random ones, and one for the mean of all methods.

    Returns:
        Dictionaries of method, weights, mean and its 95 % interval; those of other weights than random with the paired
        difference (gain) and its interval, over the categories that all weights have. Percent.
    """
    rows = []
    parts = {column: replace(table, columns=[column]) for column in table.columns} | {"all": table}
    for weights, (method, part) in product(table.weights_with_numbers, parts.items()):
        average = part.overall(weights)
        row: dict[str, Any] = {"method": method, "weights": weights, "mean": average.mean, "interval": average.interval}
        if weights != AGAINST:
            gain, interval, _ = paired_difference(part, AGAINST, weights)
            row |= {"gain": gain, "gain_interval": interval}
        rows.append(row)
    return rows


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
            cells.append(f"{row['mean']:.1f}")
            if name != AGAINST:
                cells.append(f"{row['gain']:+.1f} {ends(row['gain_interval'])}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for every folder and metric, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    record: dict[str, Any] = {"schema": "fracgen-scores/1", "machine": machine(), "tables": []}
    for folder in options.results:
        for table in make_tables(gather(folder)):
            if AGAINST not in table.weights_with_numbers or len(table.weights_with_numbers) < 2:
                continue
            if not table.compared:
                sys.exit(f"{folder}: {table.title}: random and other weights have no cell of the same seeds to compare")
            rows = scores(table)
            about = {"title": table.title, "seeds": table.seeds, "networks": table.networks}
            record["tables"].append({**about, "metric": table.metric, "categories": table.classes, "rows": rows})
            print(f"\n{table.title}; seeds {table.seeds}, random networks {table.networks}\n\n{markdown(rows)}")
    if options.output:
        with whole_file(options.output) as file:
            file.write(json.dumps(record, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
