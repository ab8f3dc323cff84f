"""The command line: `main` finds the command, runs it, and turns errors into one line and an exit code.

Codes: 0 done, 1 failed while working, 2 refused before work began, 3 a grid finished with failed
cells, 128 + N stopped by signal N (130 by Ctrl-C). Data goes to stdout, and a part that cannot be delivered
is a failure; everything else goes to stderr.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

import typer

from fracgen.support.errors import WorkFailed
from fracgen.support.streams import OutputLost, listen, open_streams, received
from fracgen.support.terminal import one_line, refusals, say, show

# To add a command, add one line: its name, the line that `fracgen --help` shows, and where it is:
# a function, or a `typer.Typer` that holds sub-commands. Only the command that is called is imported,
# and it imports what is heavy (torch, numba, lightning, ...) inside its function.
COMMANDS: dict[str, tuple[str, str]] = {
    "sample": ("Sample a bank of codes.", "fracgen.cli.codes:sample"),
    "render": ("Render images: a contact sheet, a folder, WebDataset, NumPy arrays or a stream.",
               "fracgen.cli.render:render"),
    "codes": ("Look at codes; import those of other projects.", "fracgen.cli.codes:app"),
    "pretrain": ("Pre-train a network and export its weights.", "fracgen.cli.pretrain:pretrain"),
    "export": ("Export weights for torchvision and timm, with a model card.", "fracgen.cli.pretrain:export"),
    "eval": ("Measure what weights are worth in eight anomaly detection methods.", "fracgen.cli.evaluate:app"),
    "report": ("Make tables and figures of an evaluation, beside the paper's.", "fracgen.cli.report:report"),
    "bench": ("Measure the speed of rendering, loading and training here.", "fracgen.cli.bench:app"),
    "demo": ("Run the whole pipeline on a small example: minutes on two cores.", "fracgen.cli.demo:demo"),
    "doctor": ("Show what is installed, what is missing and how to get it.", "fracgen.cli.doctor:doctor"),
}  # fmt: skip

SHORT = {"--gpu": ("--device", "cuda")}
"""Short forms of options."""
OLD = {"--out": ("--output",), "--batch": ("--batch-size",)}
"""Spellings of options that are accepted until the next release, and those that replace them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `fracgen`: runs the command line and exits."""
    # OpenMP reads this when torch loads it. By default its threads spin while they wait, and on a machine that others
    # use they burn the core that the thread they wait for would need: ten times the time, of clock and processor.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    open_streams()
    listen()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code."""
    try:
        try:
            return call(arguments)
        finally:
            print(end="", flush=True)
    except (KeyboardInterrupt, typer.Abort, SystemExit) as stop:
        number = received() or signal.SIGINT
        if isinstance(stop, SystemExit) and not received():  # Lightning makes one of an interruption
            raise
        show("\nfracgen: interrupted\n") if number == signal.SIGINT else say(f"stopped by {number.name}")
        return 128 + number
    except WorkFailed as error:
        if not (isinstance(error, OutputLost) and error.unwanted):
            say(str(error))
        return 1
    except refusals() as error:
        say(one_line(error))
        return 2
    except Exception as error:
        if not hasattr(error, "format_message"):  # Typer's errors of the command line
            raise
        message = error.format_message()
        if message.startswith("Usage"):  # a group of commands without a command
            show(f"{message}\n")
        else:
            say(f"{one_line(message)} (add --help for what there is)")
        return 2


def call(arguments: Sequence[str]) -> int:
    """Run a command line; returns its exit code. Errors are raised."""
    words = _respelled(arguments)
    code = _app(_wanted(words))(words, prog_name="fracgen", standalone_mode=False)
    if code == 130:  # Typer's word for Ctrl-C
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _respelled(arguments: Sequence[str]) -> list[str]:
    """The arguments with short forms and old spellings of options replaced; the old ones are named on stderr."""
    words: list[str] = []
    for word in arguments:
        name, equals, value = word.partition("=")
        if name in SHORT and not equals and "--" not in words:
            words += SHORT[name]
        elif name in OLD and "--" not in words:
            new = OLD[name]
            say(f"{name} is now {' '.join(new)}; the old spelling goes with the next release")
            words += (f"{new[0]}={value}",) if equals else new
        else:
            words.append(word)
    return words


def _wanted(arguments: Sequence[str]) -> set[str]:
    """Commands to import: the one that is called; all of them for a shell's completions."""
    if "_FRACGEN_COMPLETE" in os.environ:
        return set(COMMANDS)
    return {next((a for a in arguments if not a.startswith("-")), "")}


def _app(wanted: set[str]) -> typer.Typer:
    app = typer.Typer(
        rich_markup_mode=None,  # plain text: importing what draws boxes takes longer than all the rest
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback(invoke_without_command=True)
    def fracgen(
        context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version and exit.")
    ) -> None:
        """Fractal images for pre-training, byte for byte the same on CPU and GPU."""
        from fracgen import __version__

        if version:
            print(f"fracgen {__version__}")
            raise typer.Exit
        if context.invoked_subcommand is None:
            print(context.get_help())

    for name, (line, home) in COMMANDS.items():
        command: Callable[..., object] | typer.Typer = _not_imported
        if name in wanted:
            module, attribute = home.split(":")
            command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, help=line)
        else:
            app.command(name, short_help=line)(command)
    return app


def _not_imported() -> None:
    """Placeholder of a command that is listed but not called."""
