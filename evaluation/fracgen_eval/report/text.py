"""A table as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re

from fracgen_eval.report.tables import METRIC_NAMES, Table, Value

AVERAGE = "average"
MARKS = "**bold**: the row's best method for these weights; _underlined_ in other formats: the better weights of a cell"


def number(value: Value, spread: bool = True) -> str:
    """`98.6`, `98.6 ± 0.4`, `failed`, or a dash."""
    if value.mean is None:
        return {"failed": "failed", "none": "n/a"}.get(value.state, "–")
    return f"{value.mean:.1f}" + (f" ± {value.spread:.1f}" if spread and value.spread is not None else "")


def caption(table: Table) -> str:
    """What the numbers are: weights, metric, protocol, definition, gaps."""
    text = f"{METRIC_NAMES[table.metric]} in percent on {table.condition.title}; cells are {' / '.join(table.weights)}"
    if table.number:
        text += f"; beside the paper's Table {table.number}"
    seeds = {v.seeds for v in table.values.values() if v.seeds}
    if seeds and max(seeds) > 1:
        text += f"; mean ± standard deviation over {min(seeds)} to {max(seeds)} seeds"
    if table.unusual:
        text += f"; settings that are not the usual ones: {', '.join(table.unusual)}"
    for definition in table.definitions:
        text += f"; AUPRO {definition}"
    if table.absent:
        text += f"; {len(table.absent)} categories of the dataset were not run: {', '.join(table.absent)}"
    return text


def to_markdown(table: Table) -> str:
    """GitHub's tables; the row's best in bold."""
    lines = [
        f"**{table.title}.** {caption(table)}.", "",
        "| class | " + " | ".join(_plain(table.titles[c]) for c in table.columns) + " |",
        "|---|" + "---|" * len(table.columns),
    ]  # fmt: skip
    for row in [*table.classes, AVERAGE]:
        cells = []
        for column in table.columns:
            shown = []
            for weights in table.weights:
                text, best = _cell(table, row, column, weights)
                shown.append(f"**{text}**" if best else text)
            cells.append(" / ".join(shown))
        lines.append(f"| {_plain(row)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A `table` with booktabs; the row's best bold, the better weights of a cell underlined."""
    lines = [
        "% needs \\usepackage{booktabs}", "\\begin{table}", "\\centering", "\\small",
        "\\begin{tabular}{l" + "c" * len(table.columns) + "}", "\\toprule",
        " & ".join(["Class", *(_latex(table.titles[c]) for c in table.columns)]) + " \\\\", "\\midrule",
    ]  # fmt: skip
    for row in [*table.classes, AVERAGE]:
        if row == AVERAGE:
            lines.append("\\midrule")
        cells = []
        for column in table.columns:
            shown = []
            for weights in table.weights:
                text, best = _cell(table, row, column, weights)
                text = _latex(text)
                if row != AVERAGE and weights in table.better(row, column):
                    text = f"\\underline{{{text}}}"
                shown.append(f"\\textbf{{{text}}}" if best else text)
            cells.append("/".join(shown))
        lines.append(" & ".join([_latex(row), *cells]) + " \\\\")
    lines += [
        "\\bottomrule", "\\end{tabular}", f"\\caption{{{_latex(caption(table))}.}}", f"\\label{{tab:{table.slug}}}",
        "\\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def to_csv(table: Table) -> str:
    """One line per class, method and weights; empty where there is no number."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(
        ["dataset", "metric", "model", "protocol", "class", "method", "weights", "state", "mean", "spread", "seeds",
         "published", "difference"]
    )  # fmt: skip
    for row in [*table.classes, AVERAGE]:
        for column in table.columns:
            for weights in table.weights:
                value = table.value(row, column, weights)
                paper = table.published(row, column, weights)
                if row == AVERAGE:
                    average = table.column_average(column, weights)
                    value = Value(average.mean, None, 0, f"{average.count}/{average.total}")
                    paper = table.published_average(column, weights)
                write.writerow(
                    [table.condition.dataset, table.metric, table.condition.model, table.condition.protocol, row,
                     column, weights, value.state, _rounded(value.mean), _rounded(value.spread), value.seeds or "",
                     _rounded(paper),
                     "" if paper is None or value.mean is None else _rounded(value.mean - paper)]
                )  # fmt: skip
    return out.getvalue()


def _cell(table: Table, row: str, column: str, weights: str) -> tuple[str, bool]:
    if row != AVERAGE:
        return number(table.value(row, column, weights)), column in table.best(row, weights)
    average = table.column_average(column, weights)
    text = "–" if average.mean is None else f"{average.mean:.1f}"
    text += f" ({average.count} of {average.total})" if 0 < average.count < average.total else ""
    return text, column in table.best_average(weights)


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")


def _plain(text: str) -> str:
    return re.sub(r"([|\\`*_<>\[\]])", r"\\\1", text)


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in text)
