"""`fracgen report`: a result folder as tables and figures beside the paper's."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from fracgen.cli.options import refuse_given
from fracgen.support.provenance import need
from fracgen.support.terminal import say, working


def report(
    context: typer.Context,
    *,
    folder: Annotated[Path | None, typer.Argument(help="Result folder of `fracgen eval run`.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write.", show_default="FOLDER/report")
    ] = None,
    root: Annotated[
        list[str] | None, typer.Option(help="dataset=FOLDER: where its images are, for galleries; may be repeated.")
    ] = None,
    published: Annotated[
        list[str] | None,
        typer.Option(help="NAME=imagenet or NAME=fractals: the paper's column beside weights of that name."),
    ] = None,
    show_published: Annotated[
        bool, typer.Option("--show-published", help="Open the page with the paper's numbers and the differences.")
    ] = False,
    paper: Annotated[bool, typer.Option("--paper", help="Report the paper's published numbers alone.")] = False,
) -> None:
    """Write tables, figures and galleries: one HTML file, and Markdown, LaTeX, CSV, SVG and PNG beside it.

    Prints the HTML file. Failed, missing, double and foreign files are named in the report.
    """
    need("eval")
    from fracgen_eval.datasets import DATASETS
    from fracgen_eval.report import write_report
    from fracgen_eval.report.published import COLUMNS, write_cells

    if paper == (folder is not None):
        raise ValueError("name a result folder, or --paper for the published numbers alone")
    if paper:
        refuse_given(context, ("root", "published", "show_published"), "--paper reports the published numbers alone")
    roots = {name: Path(path) for name, path in _pairs(root, "--root").items()}
    named = _pairs(published, "--published")
    if unknown := next((name for name in roots if name not in DATASETS), None):
        raise ValueError(f"--root {unknown}=...: no such dataset; use {', '.join(DATASETS)}")
    if gone := next((p for p in roots.values() if not p.is_dir()), None):
        raise ValueError(f"{gone}: no such folder; --root names where a dataset's images are")
    if wrong := next((v for v in named.values() if v not in COLUMNS), None):
        raise ValueError(f"the paper has no column {wrong!r}: use --published NAME=imagenet or NAME=fractals")
    with contextlib.ExitStack() as stack:
        if paper:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "published"
            output = output or Path("report")
            write_cells(folder)
        assert folder is not None
        try:
            done = write_report(folder, output, roots=roots, named=named, show_published=show_published)
        except OSError as error:
            with working():
                raise error
    for line in done.summary:
        say(line)
    for problem in done.problems[:10]:
        say(problem)
    if len(done.problems) > 10:
        say(f"{len(done.problems) - 10} more lines like these are in the report")
    print(done.html)


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise ValueError(f"{option} {text!r} is not NAME=VALUE")
        pairs[name] = value
    return pairs
