"""A table as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re

from fracgen_eval.report.tables import METRIC_NAMES, Average, Table, Value

AVERAGE = "average"
"""Head of the last row. It is made apart from the classes, of which one may have that name."""


def number(value: Value, seeds: int = 1) -> str:
    """`98.6`, `98.6 ± 0.4`, `98.6 (1 of 3 seeds)`, `failed`, `n/a`, or a dash; `seeds` is how many a table has."""
    if value.mean is None:
        return {"failed": "failed", "none": "n/a"}.get(value.state, "–")
    text = f"{value.mean:.1f}" + (f" ± {value.spread:.1f}" if value.spread is not None else "")
    return text + (f" ({len(value.seeds)} of {seeds} seeds)" if len(value.seeds) < seeds else "")


def average(value: Average) -> str:
    """`98.6 [97.9, 99.1]` with its interval, `98.6 (3 of 4)` where numbers are missing, or a dash."""
    if value.mean is None:
        return "–"
    text = f"{value.mean:.1f}" + (f" {ends(value.interval)}" if value.interval else "")
    return text + (f" ({value.count} of {value.total})" if value.count < value.total else "")


def ends(interval: tuple[float, float] | None) -> str:
    """`[97.9, 99.1]`; empty where there is none."""
    return f"[{interval[0]:.1f}, {interval[1]:.1f}]" if interval else ""


def caption(table: Table) -> str:
    """What the numbers are: weights, metric, protocol, definition, gaps."""
    text = f"{METRIC_NAMES[table.metric]} in percent on {table.condition.title}; cells are {' / '.join(table.weights)}"
    if table.number:
        text += f"; beside the paper's Table {table.number}"
    if len(table.seeds) > 1:
        text += f"; mean ± standard deviation over seeds {', '.join(map(str, table.seeds))}"
    if len(table.networks) > 1:
        text += f"; random: mean ± standard deviation over {len(table.networks)} random networks"
    if any(value.interval for value in table.values.values()):
        text += "; in brackets the 95 % interval over test images, by bootstrap"
    if table.unusual:
        text += f"; settings that are not the usual ones: {', '.join(table.unusual)}"
    for definition in table.definitions:
        text += f"; AUPRO {definition}"
    if table.absent:
        text += f"; {len(table.absent)} categories of the dataset were not run: {', '.join(table.absent)}"
    return text


def to_markdown(table: Table) -> str:
    """GitHub's tables; the row's best in bold, the better weights of a cell in italics."""
    lines = [
        f"**{_plain(table.title)}.** {_plain(caption(table))}. {_marks(table, 'in italics')}", "",
        "| class | " + " | ".join(_plain(table.titles[c]) for c in table.columns) + " |",
        "|---|" + "---|" * len(table.columns),
    ]  # fmt: skip
    rows = [(_plain(row), _cells(table, row)) for row in table.classes] + [(AVERAGE, _averages(table))]
    for head, cells in rows:
        shown = []
        for cell in cells:
            texts = [f"_{text}_" if better else text for text, _, better in cell]
            shown.append(
                " / ".join(f"**{text}**" if best else text for text, (_, best, _) in zip(texts, cell, strict=True))
            )
        lines.append(f"| {head} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A `table` with booktabs; the row's best bold, the better weights of a cell underlined."""
    lines = [
        "% needs \\usepackage{booktabs}", "\\begin{table}", "\\centering", "\\small",
        "\\begin{tabular}{l" + "c" * len(table.columns) + "}", "\\toprule",
        " & ".join(["Class", *(_latex(table.titles[c]) for c in table.columns)]) + " \\\\", "\\midrule",
    ]  # fmt: skip
    lines += [_latex_row(_latex(row), _cells(table, row)) for row in table.classes]
    lines += ["\\midrule", _latex_row(AVERAGE, _averages(table))]
    lines += [
        "\\bottomrule", "\\end{tabular}", f"\\caption{{{_latex(caption(table))}. {_marks(table, 'underlined')}}}",
        f"\\label{{tab:{table.slug}}}", "\\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """One line per class, method and weights, then the averages; empty where there is no number."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(
        ["dataset", "metric", "model", "protocol", "class", "method", "weights", "state", "mean", "spread", "seeds",
         "low", "high", "published", "difference"]
    )  # fmt: skip
    of = [table.condition.dataset, table.metric, table.condition.model, table.condition.protocol]
    pairs = [(column, weights) for column in table.columns for weights in table.weights]
    for row in table.classes:
        for column, weights in pairs:
            v, paper = table.value(row, column, weights), table.published(row, column, weights)
            seeds = " ".join(map(str, v.seeds))
            write.writerow([*of, row, column, weights, v.state, _rounded(v.mean), _rounded(v.spread), seeds,
                            *_ends(v.interval), *_beside(paper, v.mean)])  # fmt: skip
    for column, weights in pairs:
        a, paper = table.column_average(column, weights), table.published_average(column, weights)
        state = f"{a.count}/{a.total}"
        write.writerow([*of, AVERAGE, column, weights, state, _rounded(a.mean), "", "", *_ends(a.interval),
                        *_beside(paper, a.mean)])
    return out.getvalue()


Shown = list[list[tuple[str, bool, bool]]]
"""A row by columns and weights: text, whether it is the row's best for these weights, whether the cell's better."""


def _cells(table: Table, row: str) -> Shown:
    return [
        [(number(table.value(row, column, w), len(table.seeds)), column in table.best(row, w),
          w in table.better(row, column)) for w in table.weights]
        for column in table.columns
    ]  # fmt: skip


def _averages(table: Table) -> Shown:
    return [
        [(average(table.column_average(column, w)), column in table.best_average(w), False) for w in table.weights]
        for column in table.columns
    ]


def _marks(table: Table, better: str) -> str:
    """What the marks mean."""
    text = "Bold: the best method of the row for these weights"
    return text + (f"; {better}: the better weights of a cell." if len(table.weights) > 1 else ".")


def _beside(paper: float | None, mean: float | None) -> list[str]:
    """The published number and the difference from it."""
    return [_rounded(paper), "" if paper is None or mean is None else _rounded(mean - paper)]


def _ends(interval: tuple[float, float] | None) -> list[str]:
    return ["", ""] if interval is None else [_rounded(end) for end in interval]


def _rounded(value: float | None) -> str:
    """Up to four decimals, and never -0."""
    return "" if value is None else f"{round(value, 4) + 0.0:g}"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is, on one line."""
    return re.sub(r"([|\\`*_<>\[\]!])", r"\\\1", " ".join(text.split()))


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$", "–": "--", "[": "{[}", "]": "{]}",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in " ".join(text.split()))


def _latex_row(head: str, cells: Shown) -> str:
    shown = []
    for cell in cells:
        texts = [f"\\underline{{{_latex(text)}}}" if better else _latex(text) for text, _, better in cell]
        bold = [f"\\textbf{{{text}}}" if best else text for text, (_, best, _) in zip(texts, cell, strict=True)]
        shown.append("/".join(bold))
    return " & ".join([head, *shown]) + " \\\\"
