"""`fracgen report`: a folder of cells as tables and figures, in one HTML file and in files of their own."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.support.decode import read_json
from fracgen.support.files import remove_parts, whole_file
from fracgen_eval.errors import EvaluationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fracgen_eval.report.gallery import Gallery
    from fracgen_eval.report.gather import Results
    from fracgen_eval.report.tables import Table

Content = Callable[[], "str | bytes"]
"""What makes the content of a file."""
SCHEMA = "fracgen-report/1"
MANIFEST = "report.json"
"""Lists the report's files, so that the next report in this place takes away what it no longer has."""


@dataclass(frozen=True)
class Report:
    """What was written."""

    html: Path
    files: list[Path]
    problems: list[str]
    """One line each: files that are unreadable, foreign or duplicates, pictures that are not there."""
    summary: list[str]
    """Lines for a terminal."""


def write_report(
    source: Path, out: Path | None = None, *, roots: dict[str, Path] | None = None,
    named: dict[str, str] | None = None, show_published: bool = False,
) -> Report:  # fmt: skip
    """Write the report of a result folder.

    Args:
        source: result folder of `fracgen eval run`.
        out: folder to write; `report` below the source where None.
        roots: folder of each dataset's pictures, for galleries.
        named: the paper's column (`imagenet` or `fractals`) that stands beside weights of other names.
        show_published: open the page with the paper's numbers shown.

    Raises:
        EvaluationError: there is nothing to report, or an argument does not fit the folder.
        OSError: a file cannot be written.
    """
    from fracgen_eval.report import charts, text
    from fracgen_eval.report.by_defect import defect_tables
    from fracgen_eval.report.by_defect import to_csv as defects_to_csv
    from fracgen_eval.report.drawing import chart_png, chart_svg
    from fracgen_eval.report.filters import filter_sheets
    from fracgen_eval.report.gallery import galleries
    from fracgen_eval.report.gather import gather, slug_of
    from fracgen_eval.report.page import render
    from fracgen_eval.report.references import calibrate, calibration_line, to_csv
    from fracgen_eval.report.tables import make_tables, missing

    results = gather(source)
    named = dict(named or {})
    if unknown := sorted(set(named) - set(results.weights())):
        raise EvaluationError(f"no weights {unknown[0]!r} in {source}: it has {', '.join(results.weights())}")
    folder = out if out is not None else source / "report"
    if folder.exists() and not folder.is_dir():
        raise EvaluationError(f"{folder} is a file: name a folder with -o")
    tables = make_tables(results, named)
    drawn = charts.all_charts(results, tables)
    sheets, bad_filters = filter_sheets(source, results.weights())
    shown, bad_maps = galleries(results, roots or {})
    results.problems += [*bad_filters, *bad_maps]
    by_defect = defect_tables(results)
    content: dict[str, Content] = {}
    for table in tables:
        for suffix, make in (("md", text.to_markdown), ("tex", text.to_latex), ("csv", text.to_csv)):
            content[f"tables/{table.slug}.{suffix}"] = partial(make, table)
    for chart in drawn:
        content[f"figures/{chart.slug}.svg"] = partial(chart_svg, chart)
        content[f"figures/{chart.slug}.png"] = partial(chart_png, chart)
    for n, (_, filters) in enumerate(sheets):
        content[f"figures/filters-{n + 1}.png"] = partial(_png, filters)
    for gallery in shown:
        slug = f"{gallery.condition.slug}-gallery-{slug_of(gallery.column)}"
        content[f"figures/{slug}.png"] = partial(_gallery_png, gallery)
    for kinds in by_defect:
        content[f"tables/{kinds.slug}.csv"] = partial(defects_to_csv, kinds)
    compared = [] if results.published_only else calibrate(tables)
    if compared:
        content["tables/calibration.csv"] = partial(to_csv, compared)
    page = render(
        results, tables=tables, charts=drawn, sheets=sheets, galleries=shown, not_run=missing(tables),
        files_made=sorted(content), show_published=show_published, compared=compared, by_defect=by_defect,
    )  # fmt: skip
    content["report.html"] = lambda: page
    files = _write(folder, content)
    summary = [*_summary(tables), *([line] if (line := calibration_line(compared)) else [])]
    return Report(folder / "report.html", files, results.problems, [*summary, *_gaps(results, missing(tables))])


def _write(folder: Path, content: dict[str, Content]) -> list[Path]:
    """Write files, each whole; then take away those of an earlier report that are no longer there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (".", "tables", "figures"):
        remove_parts(folder / name)
    before = _earlier(folder)
    files = []
    for name, make in content.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        with whole_file(path, sync=False) as file:
            made = make()
            file.write(made.encode() if isinstance(made, str) else made)
        files.append(path)
    with whole_file(folder / MANIFEST) as file:
        file.write(json.dumps({"schema": SCHEMA, "files": sorted(content)}, indent=1).encode() + b"\n")
    for name in before - set(content):
        (folder / name).unlink(missing_ok=True)
    return files


def _earlier(folder: Path) -> set[str]:
    """Files that an earlier report wrote here: those that its manifest names, as far as a report writes such files."""
    try:
        manifest = read_json(folder / MANIFEST)
    except (OSError, ValueError):
        return set()
    if manifest.get("schema") != SCHEMA:
        return set()
    names = manifest.get("files")
    ours = re.compile(r"(tables|figures)/[\w=-][\w.=-]*")
    return {n for n in names if isinstance(n, str) and ours.fullmatch(n)} if isinstance(names, list) else set()


def _summary(tables: list[Table]) -> list[str]:
    from fracgen_eval.grid.result import METRIC_NAMES, PAPER_METRICS
    from fracgen_eval.report.significance import difference
    from fracgen_eval.report.text import average

    lines = []
    for table in (t for t in tables if t.metric in PAPER_METRICS):
        lines.append(f"{METRIC_NAMES[table.metric]} on {table.condition.title}, {' / '.join(table.weights)}, averages:")
        wide = max(len(title) for title in table.titles.values())
        for column, title in table.titles.items():
            means = [average(table.averages[column, w]) for w in table.weights]
            lines.append(f"  {title:{wide}}  " + " / ".join(means))
        if len(table.weights_with_numbers) > 1 and table.compared:
            wins = " / ".join(str(table.wins(w)) for w in table.weights)
            lines.append(f"  better in {wins} of {len(table.compared)} cells")
            lines += [f"  {difference(table, w)}" for w in table.weights_with_numbers[1:]]
    return lines


def _gaps(results: Results, not_run: list[str]) -> list[str]:
    counts = {
        "failed": int((~results.cells.done).sum()), "not run or without a number": len(not_run),
        "remarks on files and figures": len(results.problems),
    }  # fmt: skip
    return [f"{n} {what}" for what, n in counts.items() if n]


def _gallery_png(gallery: Gallery) -> bytes:
    from fracgen_eval.report.gallery import sheet

    return _png(sheet(gallery))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()
