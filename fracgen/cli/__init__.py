"""The command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `fracgen`."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code."""
    import typer

    from fracgen.cli.evaluate import app

    root = typer.Typer(pretty_exceptions_enable=False)
    root.callback()(lambda: None)
    root.add_typer(app, name="eval")
    try:
        code = root(list(arguments), prog_name="fracgen", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (ValueError, OSError) as error:
        print(f"fracgen: {error}", file=sys.stderr)
        return 2
