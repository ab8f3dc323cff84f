"""What a folder of results says about weights, in a sentence per network, and how sure that is."""

from __future__ import annotations

from pathlib import Path

from fracgen_eval.report.gather import gather
from fracgen_eval.report.significance import paired_difference
from fracgen_eval.report.tables import Table, make_tables
from fracgen_eval.report.text import average, ends


def verdict(folder: Path) -> list[str]:
    """A sentence for each table of image AUROC with two weights or more: means and differences with 95 % intervals.

    Raises:
        EvaluationError: there is nothing in the folder.
    """
    tables = make_tables(gather(folder))
    judged = (t for t in tables if t.metric == "image_auroc" and len(t.weights_with_numbers) > 1)
    return [_sentence(t) for t in judged if t.compared]


def _sentence(table: Table) -> str:
    names = table.weights_with_numbers
    means = ", ".join(f"{name} {average(table.overall(name)).split(' (')[0]}" for name in names)
    methods, classes = (len({cell[part] for cell in table.compared}) for part in (1, 0))
    over = f"{methods} method{'s' * (methods > 1)} and {classes} categor{'ies' if classes > 1 else 'y'}"
    found = f"measured with {table.condition.model}, mean image AUROC over {over}: {means}"
    return "; ".join([found, *(_against(table, names[0], name) for name in names[1:])])


def _against(table: Table, first: str, second: str) -> str:
    mean, interval, _ = paired_difference(table, first, second)
    if interval is None:
        return f"{second} {mean:+.1f} points against {first}, how sure is not known"
    if interval[0] <= 0 <= interval[1]:
        sure = "which other test pictures could turn round"
    else:
        sure = "more than a change of test pictures explains"
    return f"{second} {mean:+.1f} points {ends(interval)} against {first}, {sure}"
