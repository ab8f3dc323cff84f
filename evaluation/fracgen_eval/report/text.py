"""A table as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable

from fracgen_eval.grid.result import METRIC_NAMES
from fracgen_eval.report.published import AVERAGE
from fracgen_eval.report.tables import Ends, Number, Table


def number(value: Number, seeds: int = 1) -> str:
    """`98.6`, `98.6 ± 0.4`, `98.6 (1 of 3 seeds)`, `failed`, `n/a`, or a dash; `seeds` is how many a table has."""
    if value.mean is None:
        return {"failed": "failed", "none": "n/a"}.get(value.state, "–")
    text = f"{value.mean:.1f}" + (f" ± {value.spread:.1f}" if value.spread is not None else "")
    return text + (f" ({len(value.seeds)} of {seeds} seeds)" if len(value.seeds) < seeds else "")


def average(value: Number) -> str:
    """`98.6 [97.9, 99.1]` with its interval, `98.6 (3 of 4)` where numbers are missing, or a dash."""
    if value.mean is None:
        return "–"
    text = f"{value.mean:.1f}" + (f" {ends(value.interval)}" if value.interval else "")
    return text + (f" ({value.count} of {value.total})" if value.count < value.total else "")


def ends(interval: Ends | None) -> str:
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
    rows = _rows(table, lambda text: f"**{text}**", lambda text: f"_{text}_", " / ")
    return "\n".join([
        f"**{_plain(table.title)}.** {_plain(caption(table))}. {_marks(table, 'in italics')}", "",
        "| class | " + " | ".join(_plain(table.titles[c]) for c in table.columns) + " |",
        "|---|" + "---|" * len(table.columns),
        *(f"| {' | '.join([_plain(head), *cells])} |" for head, *cells in rows), "",
    ])  # fmt: skip


def to_latex(table: Table) -> str:
    """A `table` with booktabs; the row's best bold, the better weights of a cell underlined."""
    made = _rows(table, lambda text: f"\\textbf{{{text}}}", lambda text: f"\\underline{{{text}}}", "/", _latex)
    *rows, last = (" & ".join([_latex(head), *cells]) + " \\\\" for head, *cells in made)
    return "\n".join([
        "% needs \\usepackage{booktabs}", "\\begin{table}", "\\centering", "\\small",
        "\\begin{tabular}{l" + "c" * len(table.columns) + "}", "\\toprule",
        " & ".join(["Class", *(_latex(table.titles[c]) for c in table.columns)]) + " \\\\", "\\midrule",
        *rows, "\\midrule", last, "\\bottomrule", "\\end{tabular}",
        f"\\caption{{{_latex(caption(table))}. {_marks(table, 'underlined')}}}",
        f"\\label{{tab:{table.slug}}}", "\\end{table}", "",
    ])  # fmt: skip


def to_csv(table: Table) -> str:
    """One line per class, method and weights, then the averages; empty where there is no number."""
    of = [table.condition.dataset, table.metric, table.condition.model, table.condition.protocol]
    rows = [
        [*of, *key, v.state, _rounded(v.mean), _rounded(v.spread), " ".join(map(str, v.seeds)),
         *_ends(v.interval), *_beside(table.published(*key), v.mean)]
        for key, v in table.values.items()
    ]  # fmt: skip
    for column in table.columns:
        for weights in table.weights:
            a, paper = table.averages[column, weights], table.published_average(column, weights)
            rows.append([*of, AVERAGE, column, weights, f"{a.count}/{a.total}", _rounded(a.mean), "", "",
                         *_ends(a.interval), *_beside(paper, a.mean)])  # fmt: skip
    head = "dataset metric model protocol class method weights state mean spread seeds low high published difference"
    return csv_text(head.split(), rows)


def csv_text(head: list[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *rows])
    return out.getvalue()


Mark = Callable[[str], str]


def _rows(table: Table, bold: Mark, other: Mark, between: str, plain: Mark = str) -> list[list[str]]:
    """Head and cells of a row for each class, and of one of averages; a class may have that name too."""
    rows = []
    for row in table.classes:
        cells = [row]
        for column in table.columns:
            keys = [(row, column, w) for w in table.weights]
            texts = [plain(number(table.values[key], len(table.seeds))) for key in keys]
            texts = [other(text) if key in table.better else text for key, text in zip(keys, texts, strict=True)]
            texts = [bold(text) if key in table.best else text for key, text in zip(keys, texts, strict=True)]
            cells.append(between.join(texts))
        rows.append(cells)
    last = [AVERAGE]
    for column in table.columns:
        averages = [(plain(average(table.averages[column, w])), w) for w in table.weights]
        texts = [bold(text) if (column, w) in table.best_averages else text for text, w in averages]
        last.append(between.join(texts))
    return [*rows, last]


def _marks(table: Table, better: str) -> str:
    """What the marks mean."""
    text = "Bold: the best method of the row for these weights"
    return text + (f"; {better}: the better weights of a cell." if len(table.weights) > 1 else ".")


def _beside(paper: float | None, mean: float | None) -> list[str]:
    """The published number and the difference from it."""
    return [_rounded(paper), "" if paper is None or mean is None else _rounded(mean - paper)]


def _ends(interval: Ends | None) -> list[str]:
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
