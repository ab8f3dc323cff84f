"""The documents say what the code does: presets' texts, commands and their options, links."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fracgen.cli import COMMANDS
from fracgen.presets import PRESETS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "bench/README.md", "kernels/README.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
COMMAND = re.compile(r"fracgen ((?:[a-z]+)(?: [^|`#\n]*)?)")


def command_lines() -> list[str]:
    """Every `fracgen ...` in a block of commands."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:console|bash|sh)\n(.*?)```", page.read_text(), re.S):
            found += [match.group(1).strip() for match in COMMAND.finditer(block)]
    return sorted(set(found))


def test_there_are_commands_to_check():
    assert len(command_lines()) >= 6


@pytest.mark.parametrize("line", command_lines())
def test_commands_in_the_documents_exist(line):
    words = shlex.split(line)
    assert words[0] in COMMANDS, f"no command {words[0]!r}"
    path = [words[0]]
    for word in words[1:2]:
        if COMMANDS[words[0]][1].endswith(":app") and not word.startswith("-"):
            path.append(word)
    shown = subprocess.run(
        [sys.executable, "-m", "fracgen", *path, "--help"], capture_output=True, text=True, check=True
    ).stdout  # fmt: skip
    for option in (w.split("=")[0] for w in words if w.startswith("-") and w != "-"):
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", shown), f"{' '.join(path)} has no {option}"


def test_recipes_page_is_what_the_presets_say():
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "docs/make_pictures.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    page = (ROOT / "docs/recipes.md").read_text()
    assert make.text() in page, "run `python docs/make_pictures.py`"
    assert all(f"images/{name}.webp" in page for name in PRESETS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target
