"""`fracgen report`: a result folder as tables and figures beside the paper's."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fracgen.cli.options import refuse_given, with_options
from fracgen.support.options import Option
from fracgen.support.provenance import need
from fracgen.support.terminal import say, working


def parse_pairs(option: str, example: str, texts: list[str]) -> dict[str, str]:
    """NAME=VALUE, several times. Raises ValueError, with an example of the option."""
    if wrong := next((text for text in texts if not re.fullmatch("[^=]+=.+", text)), None):
        raise ValueError(f"{option} {wrong!r} is not NAME=VALUE: for example {option} {example}")
    return dict(text.split("=", 1) for text in texts)


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """The options of `fracgen report`."""

    output: Annotated[
        Path | None, Option("Folder to write.", names=("-o", "--output"), default="FOLDER/report")
    ] = None
    root: Annotated[
        dict[str, str],
        Option("dataset=FOLDER: where its images are, for galleries; may be repeated.", repeated=True,
               parse=partial(parse_pairs, "--root", "mvtec=DIR")),
    ] = field(default_factory=dict)
    published: Annotated[
        dict[str, str],
        Option("NAME=imagenet or NAME=fractals: the paper's column beside weights of that name; may be repeated.",
               repeated=True, parse=partial(parse_pairs, "--published", "fractal=fractals")),
    ] = field(default_factory=dict)
    show_published: Annotated[bool, "Open the page with the paper's numbers and the differences."] = False
    paper: Annotated[bool, "Report the paper's published numbers alone."] = False

    def check(self) -> None:
        """Raise ValueError if a name is unknown or a folder is not there."""
        from fracgen_eval.datasets import DATASETS
        from fracgen_eval.report.published import COLUMNS

        if unknown := next((name for name in self.root if name not in DATASETS), None):
            raise ValueError(f"--root {unknown}=...: no such dataset; use {', '.join(DATASETS)}")
        if gone := next((path for path in self.root.values() if not Path(path).is_dir()), None):
            raise ValueError(f"{gone}: no such folder; --root names where a dataset's images are")
        if wrong := next((column for column in self.published.values() if column not in COLUMNS), None):
            raise ValueError(f"the paper has no column {wrong!r}: use --published NAME=imagenet or NAME=fractals")


@with_options
def report(
    context: typer.Context,
    *,
    folder: Annotated[Path | None, typer.Argument(help="Result folder of `fracgen eval run`.")] = None,
    asked: Reporting,
) -> None:
    """Write tables, figures and galleries: one HTML file, and Markdown, LaTeX, CSV, SVG and PNG beside it.

    Prints the HTML file. Failed, missing, double and foreign files are named in the report.
    """
    need("eval")
    from fracgen_eval.report import write_report
    from fracgen_eval.report.published import write_cells

    if asked.paper == (folder is not None):
        raise ValueError("name a result folder, or --paper for the published numbers alone")
    if asked.paper:
        refuse_given(context, ("root", "published", "show_published"), "--paper reports the published numbers alone")
    asked.check()
    with tempfile.TemporaryDirectory() as scratch:
        output = asked.output
        if folder is None:
            folder, output = Path(scratch) / "published", output or Path("report")
            write_cells(folder)
        roots = {name: Path(path) for name, path in asked.root.items()}
        try:
            done = write_report(folder, output, roots=roots, named=asked.published, show_published=asked.show_published)
        except OSError as error:
            with working():
                raise error
    for line in (*done.summary, *done.problems[:10]):
        say(line)
    if len(done.problems) > 10:
        say(f"{len(done.problems) - 10} more lines like these are in the report")
    print(done.html)
