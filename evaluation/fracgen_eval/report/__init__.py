"""`fracgen report`: a folder of cells as tables and figures, in one HTML file and in files of their own."""

from __future__ import annotations

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
    from fracgen_eval.report.page import Content
    from fracgen_eval.report.tables import Table

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
    from fracgen_eval.report.by_defect import defect_tables
    from fracgen_eval.report.charts import all_charts
    from fracgen_eval.report.filters import filter_sheets
    from fracgen_eval.report.gallery import galleries
    from fracgen_eval.report.gather import gather
    from fracgen_eval.report.page import Content, render
    from fracgen_eval.report.references import calibrate, calibration_line
    from fracgen_eval.report.tables import make_tables, missing

    results = gather(source)
    if unknown := sorted(set(named or {}) - set(results.weights())):
        raise EvaluationError(f"no weights {unknown[0]!r} in {source}: it has {', '.join(results.weights())}")
    folder = out if out is not None else source / "report"
    if folder.exists() and not folder.is_dir():
        raise EvaluationError(f"{folder} is a file: name a folder with -o")
    tables = make_tables(results, named)
    charts = all_charts(results, tables)
    sheets, bad_filters = filter_sheets(source, results.weights())
    shown, bad_maps = galleries(results, roots or {})
    results.problems += [*bad_filters, *bad_maps]
    content = Content(
        tables=tables, by_defect=defect_tables(results), charts=charts, sheets=sheets, galleries=shown,
        compared=[] if results.published_only else calibrate(tables),
    )  # fmt: skip
    made = _files(content)
    page = render(results, content, sorted(made), show_published)
    made["report.html"] = lambda: page
    written = _write(folder, made)
    counts = {
        "failed": int((~results.cells.done).sum()), "not run or without a number": len(missing(tables)),
        "remarks on files and figures": len(results.problems),
    }  # fmt: skip
    summary = [*_summary(tables), *filter(None, [calibration_line(content.compared)])]
    summary += [f"{n} {what}" for what, n in counts.items() if n]
    return Report(folder / "report.html", written, results.problems, summary)


def _files(content: Content) -> dict[str, Callable[[], str | bytes]]:
    """What makes each file beside the page, by name."""
    from fracgen_eval.report import by_defect, references, text
    from fracgen_eval.report.drawing import picture
    from fracgen_eval.report.gallery import sheet
    from fracgen_eval.report.gather import slug_of

    made: dict[str, Callable[[], str | bytes]] = {}
    for table in content.tables:
        for suffix, make in (("md", text.to_markdown), ("tex", text.to_latex), ("csv", text.to_csv)):
            made[f"tables/{table.slug}.{suffix}"] = partial(make, table)
    for kinds in content.by_defect:
        made[f"tables/{kinds.slug}.csv"] = partial(by_defect.to_csv, kinds)
    if content.compared:
        made["tables/calibration.csv"] = partial(references.to_csv, content.compared)
    for chart in content.charts:
        made[f"figures/{chart.slug}.svg"] = partial(getattr, chart, "svg")
        made[f"figures/{chart.slug}.png"] = chart.png
    for n, (_, filters) in enumerate(content.sheets):
        made[f"figures/filters-{n + 1}.png"] = partial(bytes, filters)
    for gallery in content.galleries:
        slug = f"{gallery.condition.slug}-gallery-{slug_of(gallery.column)}"
        made[f"figures/{slug}.png"] = lambda gallery=gallery: picture(sheet(gallery))  # type: ignore[misc]
    return made


def _write(folder: Path, content: dict[str, Callable[[], str | bytes]]) -> list[Path]:
    """Write files, each whole; then take away those of an earlier report that are no longer there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (".", "tables", "figures"):
        remove_parts(folder / name)
    before = _earlier(folder)
    files = []
    for name, make in content.items():
        path, made = folder / name, make()
        path.parent.mkdir(exist_ok=True)
        with whole_file(path, sync=False) as file:
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
    names = manifest.get("files") if manifest.get("schema") == SCHEMA else None
    ours = re.compile(r"(tables|figures)/[\w=-][\w.=-]*")
    return {n for n in names if isinstance(n, str) and ours.fullmatch(n)} if isinstance(names, list) else set()


def _summary(tables: list[Table]) -> list[str]:
    """The paper's metrics, for a terminal."""
    from fracgen_eval.grid.result import METRIC_NAMES, PAPER_METRICS
    from fracgen_eval.report.significance import difference
    from fracgen_eval.report.text import average

    lines = []
    for table in (t for t in tables if t.metric in PAPER_METRICS):
        lines.append(f"{METRIC_NAMES[table.metric]} on {table.condition.title}, {' / '.join(table.weights)}, averages:")
        wide = max(len(title) for title in table.titles.values())
        for column, title in table.titles.items():
            lines.append(f"  {title:{wide}}  " + " / ".join(average(table.averages[column, w]) for w in table.weights))
        if len(table.weights_with_numbers) > 1 and table.compared:
            wins = " / ".join(str(table.wins(w)) for w in table.weights)
            lines.append(f"  better in {wins} of {len(table.compared)} cells")
            lines += [f"  {difference(table, w)}" for w in table.weights_with_numbers[1:]]
    return lines
