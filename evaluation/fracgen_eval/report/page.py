"""The HTML page: one file that needs no network, made from a template by Jinja with everything escaped."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib.resources import files

from fracgen_eval.grid.result import PAPER_METRICS
from fracgen_eval.report.by_defect import DefectTable
from fracgen_eval.report.drawing import Chart, picture
from fracgen_eval.report.gallery import Gallery
from fracgen_eval.report.gather import Results
from fracgen_eval.report.references import SOURCES, Compared, calibration_line
from fracgen_eval.report.significance import compare
from fracgen_eval.report.tables import Number, Table, column_title, missing, over_cells
from fracgen_eval.report.text import average, caption, ends, number

TRACEBACK = 4_000
"""Last characters of a failed cell's traceback that a report shows."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a page shows of a result folder."""

    tables: list[Table]
    by_defect: list[DefectTable]
    compared: list[Compared]
    charts: list[Chart]
    sheets: list[tuple[str, bytes]]
    """Title and PNG of each of the weights' filters."""
    galleries: list[Gallery]


def render(results: Results, content: Content, files_made: list[str], show_published: bool = False) -> str:
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    from fracgen import __version__

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(
        number=number, caption=caption, column_title=column_title, signed=_signed, average=average, share=_share,
        width=_width, ends=ends, beside_average=_beside_average, uri=_uri, picture=picture,
    )  # fmt: skip
    here, cells = files("fracgen_eval") / "report", results.cells
    template = environment.from_string((here / "page.html.j2").read_text())
    return template.render(
        vars(content), version=__version__, style=(here / "page.css").read_text(),
        script=(here / "page.js").read_text(), summary=_by_weights(content.tables), paper_metrics=PAPER_METRICS,
        comparisons={t.slug: compare(t) for t in content.tables if len(t.weights) > 1},
        failed=[(cell, cell.result.outcome) for cell in cells[~cells.done].itertuples()],
        longest_traceback=TRACEBACK, problems=results.problems, missing=missing(content.tables),
        weights=_described(results), versions=_versions(results), files=files_made, show_published=show_published,
        calibration=calibration_line(content.compared), sources=SOURCES, published_only=results.published_only,
        count=len(cells), folder=results.folder.resolve().name,
    )  # fmt: skip


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _described(results: Results) -> list[tuple[str, str]]:
    """What each of the weights is, as the cells' records say."""
    out = {}
    for cell in results.cells[results.cells.done].itertuples():
        if about := cell.result.outcome.training.weights:
            out[cell.weights, cell.model] = (
                f"{about.get('source', 'source unknown')}, {cell.model}, input normalised as by "
                f"{about.get('norm', 'unknown')}, digest of the tensors {about.get('digest', 'unknown')}"
            )
    return [(name, text) for (name, _), text in sorted(out.items())]


def _versions(results: Results) -> list[str]:
    """Distinct sets of versions, device and machine."""
    lines = set()
    for origin in (result.origin for result in results.cells.result):
        if origin.versions:
            text = ", ".join(f"{k} {v}" for k, v in sorted(origin.versions.items()))
            lines.add("; ".join([text, *(place for place in (origin.machine, origin.device) if place is not None)]))
    return sorted(lines)


def _beside_average(table: Table, what: str, weights: str) -> str:
    return average(over_cells(table.beside.get((row, what, weights), Number()) for row in table.classes))


def _signed(value: Number, paper: float | None) -> str:
    """`98.6 (−0.4)`: the paper's number and ours minus it."""
    if paper is None:
        return "not published"
    if value.mean is None:
        return f"{paper:.1f}"
    difference = round(value.mean - paper, 1) + 0.0  # never -0.0
    return f"{paper:.1f} ({difference:+.1f})".replace("-", "−")


def _by_weights(tables: list[Table]) -> list[tuple[list[str], list[Table]]]:
    """Tables with numbers, those of the same weights together."""
    groups: dict[tuple[str, ...], list[Table]] = {}
    for table in tables:
        if table.weights_with_numbers:
            groups.setdefault(tuple(table.weights_with_numbers), []).append(table)
    return [(list(weights), group) for weights, group in groups.items()]


def _width(table: Table, least: int = 4) -> int:
    """Letters across, roughly, with so many or more in a number: a printed page makes them as small as it must."""
    numbers = [number(v, len(table.seeds)) for v in table.values.values()]
    widest = max([least, *map(len, numbers), *map(len, table.weights)])
    return max(map(len, table.classes), default=0) + (len(table.columns) + 1) * len(table.weights) * (widest + 3)


def _share(average: Number) -> str:
    return f"{average.count} of {average.total}" if average.count < average.total else str(average.count)
