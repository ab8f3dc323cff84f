"""The HTML page: one file that needs no network, made from a template by Jinja with everything escaped."""

from __future__ import annotations

import base64
import io
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fracgen_eval.grid.result import Failure, Measurement
from fracgen_eval.report.by_defect import DefectTable
from fracgen_eval.report.charts import Chart
from fracgen_eval.report.drawing import to_svg
from fracgen_eval.report.gallery import Gallery
from fracgen_eval.report.gather import TRACEBACK, Entry, Results
from fracgen_eval.report.references import SOURCES, Compared, calibration_line
from fracgen_eval.report.significance import Comparison, compare
from fracgen_eval.report.tables import Average, Table, Value, column_title
from fracgen_eval.report.text import average, caption, ends, number

Tile = NDArray[np.uint8]


def render(
    results: Results, *, tables: list[Table], charts: list[Chart], sheets: list[tuple[str, Tile]],
    galleries: list[Gallery], not_run: list[str], files_made: list[str], show_published: bool,
    compared: list[Compared], by_defect: list[DefectTable],
) -> str:  # fmt: skip
    """The page as text."""
    from jinja2 import Environment, StrictUndefined

    from fracgen import __version__

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(
        number=number, caption=caption, column_title=column_title, signed=_signed, average=average, share=_share,
        width=_width, ends=ends,
    )  # fmt: skip
    here = files("fracgen_eval") / "report"
    template = environment.from_string((here / "page.html.j2").read_text())
    return template.render(
        version=__version__, style=(here / "page.css").read_text(), script=(here / "page.js").read_text(),
        tables=tables, summary=_by_weights(tables),
        comparisons={t.slug: _tested(compare(t)) for t in tables if len(t.weights) > 1},
        charts=[(c, _uri("image/svg+xml", to_svg(c.draw("light"), c.slug)),
                 _uri("image/svg+xml", to_svg(c.draw("dark"), c.slug))) for c in charts],
        sheets=[(title, _picture(sheet, "PNG")) for title, sheet in sheets],
        galleries=[(g, [_case_uris(c) for c in g.cases]) for g in galleries],
        failed=[(e, _error(e)) for e in results.failed], problems=results.problems, missing=not_run,
        weights=_described(results), versions=_versions(results), files=files_made, show_published=show_published,
        compared=compared, by_defect=by_defect, calibration=calibration_line(compared), sources=SOURCES,
        published_only=all(e.published for e in results.entries), count=len(results.entries),
        folder=results.folder.resolve().name,
    )  # fmt: skip


def _tested(comparisons: list[Comparison]) -> tuple[list[Comparison], bool]:
    return comparisons, any(c.p is not None for c in comparisons)


def _case_uris(case: Any) -> dict[str, Any]:
    return {
        "picture": None if case.picture is None else _picture(case.picture, "WEBP"),
        "truth": _picture(case.truth, "WEBP"),
        "judged": [
            (name, _picture(heat, "WEBP"), None if mask is None else _picture(mask, "WEBP"), quality)
            for name, heat, mask, quality in case.judged
        ],
    }


def _picture(pixels: Tile, kind: str) -> str:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=kind, **({"quality": 80} if kind == "WEBP" else {}))
    return _uri(f"image/{kind.lower()}", out.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _error(entry: Entry) -> dict[str, str]:
    error = entry.result.outcome
    assert isinstance(error, Failure)
    return {"type": error.type, "message": error.message, "traceback": error.traceback[-TRACEBACK:]}


def _described(results: Results) -> list[tuple[str, str]]:
    """What each of the weights is, as the cells' records say."""
    out = {}
    for e in results.entries:
        outcome = e.result.outcome
        if isinstance(outcome, Measurement) and (about := outcome.training.weights):
            out[e.weights, e.condition.model] = (
                f"{about.get('source', 'source unknown')}, {e.condition.model}, input normalised as by "
                f"{about.get('norm', 'unknown')}, digest of the tensors {about.get('digest', 'unknown')}"
            )
    return [(name, text) for (name, _), text in sorted(out.items())]


def _versions(results: Results) -> list[str]:
    """Distinct sets of versions, device and machine."""
    lines = set()
    for e in results.entries:
        origin = e.result.origin
        if origin.versions:
            text = ", ".join(f"{k} {v}" for k, v in sorted(origin.versions.items()))
            lines.add("; ".join([text, *(place for place in (origin.machine, origin.device) if place is not None)]))
    return sorted(lines)


def _signed(value: Value | Average, paper: float | None) -> str:
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


def _share(average: Average) -> str:
    return f"{average.count} of {average.total}" if average.count < average.total else str(average.count)
