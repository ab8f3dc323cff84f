"""Options that are made of dataclasses, and spellings of options that are replaced."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from fracgen.cli import COMMANDS, OLD, _app
from fracgen.cli.options import Given, with_options
from fracgen.support.options import Option, parse_names, parse_shard
from tests.command_line import Command


@dataclass(frozen=True)
class Part:
    depth: Annotated[float, "Depth in pixels."] = 0.5
    deep: Annotated[bool, "Whether it is deep."] = False
    inner: int = 3


@dataclass(frozen=True)
class Preset:
    rate: Annotated[float, "Rate."] = 0.1
    steps: Annotated[int, Option("Number of steps.", default="many")] = 5


@dataclass(frozen=True, kw_only=True)
class Asked:
    names: Annotated[tuple[str, ...], Option("Names.", names=("-n", "--name"), parse=parse_names, repeated=True)]
    out: Annotated[Path, Option("Folder.", names=("-o", "--output"))] = Path("out")
    kind: Annotated[Literal["one", "two"], "Kind."] = "one"
    many: Annotated[tuple[str, ...], "Loggers."] = ()
    shard: Annotated[tuple[int, int], Option("Part.", parse=parse_shard, default="0/1")] = (0, 1)
    either: Annotated[bool | None, "Yes or no."] = None
    part: Part = field(default_factory=Part)
    changes: Annotated[dict[str, object], Given(Preset)] = field(default_factory=dict)


GOT: list[object] = []


@with_options
def command(*, asked: Asked, plain: Annotated[int, typer.Option(help="Typer's own.")] = 7) -> None:
    GOT.append((asked, plain))


def ran(*words: str) -> str:
    """Run the command; what it printed."""
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    done = CliRunner().invoke(app, words, standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_fields_are_options_and_values_have_their_types() -> None:
    ran("-n", "a,b", "--name", "b,c")
    assert GOT.pop() == (Asked(names=("a", "b", "c")), 7)
    words = "-n a -o x --kind two --many p --many q --shard 1/3 --no-either --depth 2 --deep --rate 1 --plain 8"
    ran(*words.split())
    assert GOT.pop() == (
        Asked(names=("a",), out=Path("x"), kind="two", many=("p", "q"), shard=(1, 3), either=False,
              part=Part(2.0, True), changes={"rate": 1.0}), 8,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [("--kind two", "--name"), ("-n a --kind three", "unknown kind 'three': use one of one, two"),
     ("-n a --inner 4", "No such option"), ("-n a --shard 3", "shard '3' is not of the form"),
     ("-n a --depth deep", "--depth")],
)  # fmt: skip
def test_what_is_wrong_is_named(words: str, says: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011
        ran(*words.split())
    assert says in getattr(raised.value, "format_message", lambda: str(raised.value))()
    assert not GOT


def test_the_help_is_that_of_the_fields() -> None:
    text = " ".join(ran("--help").split())
    for part in (
        "--kind one|two Kind. [default: one]", "Loggers.", "[default: 0/1]", "Depth in pixels. [default: 0.5]",
        "Rate. [default: 0.1]", "[default: many]", "--either / --no-either", "--deep ",
    ):  # fmt: skip
        assert part in text
    assert "[required]" in text
    assert "--no-deep" not in text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["sample", "--codes", "4", "--classes", "2", "--out", "b"], "--output"),
        (["sample", "--codes", "4", "--classes", "2", "--out=b"], "--output"),
    ],
)
def test_an_old_spelling_is_accepted_with_a_note(fracgen: Command, old: list[str], new: str) -> None:
    done = fracgen(*old)
    assert done.code == 0
    assert done.err.startswith(f"fracgen: --out is now {new}; the old spelling goes with the next release\n")
    assert Path("b").is_file()


def test_gpu_is_short_for_a_device(fracgen: Command) -> None:
    for words in (["--gpu"], ["--device", "cuda"]):
        done = fracgen("render", *words, "-n", "1")
        assert done.code == 2
        assert "GPU" in done.err


def test_an_option_has_one_spelling_in_all_commands() -> None:
    def options(command: object) -> list[tuple[str, ...]]:
        own = [tuple(parameter.opts) for parameter in getattr(command, "params", ())]
        return own + [opts for inner in getattr(command, "commands", {}).values() for opts in options(inner)]

    found = options(typer.main.get_command(_app(set(COMMANDS))))
    assert len(found) > 150
    assert not {name for opts in found for name in opts} & set(OLD)
    for short in ("-o", "-n"):
        assert len({opts for opts in found if short in opts}) == 1
