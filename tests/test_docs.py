"""The documents say what the code does: presets' texts, commands and their options, links."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from fracgen.cli import SHORT, _app
from fracgen.recipes.presets import PRESETS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / n for n in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md", "kernels/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
COMMAND = re.compile(r"(?<![\w-])fracgen ([a-z]+(?: [^|`#'\n]*)?)")


def command_lines(sentences: bool) -> list[str]:
    """Every `fracgen ...` in the documents' blocks of commands, continued lines as one; or in their sentences."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text()
        pieces = re.findall(r"```(?:console|bash|sh)\n(.*?)```", text, re.S)
        if sentences:
            pieces = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
        for piece in pieces:
            found.update(match.group(1).strip() for match in COMMAND.finditer(piece.replace("\\\n", " ")))
    return sorted(found)


def find_command(line: str) -> tuple[Any, list[str]]:
    """Typer's object for a command line, and the words after the command's name."""
    words = [word for short in shlex.split(line) for word in SHORT.get(short, (short,))]
    command = get_command(_app({words[0]}))
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"`fracgen {line}`: no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    return command, words


def test_there_are_commands_to_check() -> None:
    assert len(command_lines(sentences=False)) >= 30
    assert len(command_lines(sentences=True)) >= 8


@pytest.mark.parametrize("line", command_lines(sentences=False))
def test_commands_in_the_documents_are_understood(line: str) -> None:
    """Names, options, types of values, and that nothing is missing; the command is parsed and not run."""
    command, words = find_command(line)
    command.make_context(f"fracgen {line}", words)


@pytest.mark.parametrize("line", command_lines(sentences=True))
def test_commands_in_sentences_exist(line: str) -> None:
    command, words = find_command(line)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.split("=")[0] for word in words if word.startswith("-") and word != "-"} <= known


WRONG = {
    "rendr": "no command", "codes shw x": "no command", "render --sise 64": "No such option",
    "render -n many": "valid integer", "eval run --method all": "Missing parameter", "doctor now": "unexpected extra",
}  # fmt: skip


@pytest.mark.parametrize(("line", "fault"), WRONG.items())
def test_a_wrong_command_would_be_seen(line: str, fault: str) -> None:
    with pytest.raises(Exception, match=fault):
        test_commands_in_the_documents_are_understood(line)


def test_recipes_page_is_what_the_presets_say() -> None:
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "docs/make_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    page = (ROOT / "docs/recipes.md").read_text()
    assert make.text() in page, "run `python docs/make_pictures.py`"
    assert all(f"images/{name}.webp" in page for name in PRESETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


PLACES = ("fracgen", "evaluation", "kernels", "tests", "bench", "docs", "examples")


def paths_in(page: Path) -> list[str]:
    """Paths from the repository's root that a page names as code, or draws."""
    text = page.read_text()
    return [p for p in re.findall(r"(?<![\w/.-])(?:[\w-]+/)+[\w.*{},/-]*", text) if p.split("/")[0] in PLACES]


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md", "kernels/README.md"])
def test_paths_that_a_page_names_exist(name: str) -> None:
    paths = paths_in(ROOT / name)
    assert len(paths) > 4
    gone = [path for path in paths if not list(ROOT.glob(path.rstrip("/.,"))) and "{" not in path]
    assert not gone
