"""The documents say what the code does: presets' texts, commands and their options, links; and what they show runs,
as do the examples, in docstrings, too. `tests/training/test_export.py` runs the Python of `docs/weights.md`."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import fracgen_eval
import pytest
from typer.main import get_command

import fracgen
from fracgen.cli import SHORT, _app
from fracgen.recipes.presets import PRESETS
from fracgen.training.built_in import models

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


FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
FOLDERS = [Path(package.__file__ or "").parent for package in (fracgen, fracgen_eval)]
MODULES = [
    ".".join(path.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
    for folder in FOLDERS
    for path in sorted(folder.rglob("*.py"))
    if ">>> " in path.read_text()
]
SHOWN = ("BankSpec", "CodeBank", "FractalDataset", "FractalLoader", "Recipe", "make_renderer", "preset", "render")
"""Names of the public interface whose docstrings hold an example."""


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str) -> None:
    if module == "fracgen.training.built_in" and not models():
        pytest.skip("this checkout brings no weights")
    failed, tried = doctest.testmod(import_module(module), optionflags=FLAGS)
    assert tried > 0
    assert not failed, "see the captured output"


@pytest.mark.parametrize("name", SHOWN)
def test_the_public_interface_has_examples(name: str) -> None:
    assert ">>> " in (getattr(fracgen, name).__doc__ or "")


class _OneTurn(ast.NodeTransformer):
    def visit_For(self, node: ast.For) -> ast.For:
        node.body.append(ast.Break())
        return node


def test_blocks_of_readme_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With images of `paper` that take a moment."""
    paper = PRESETS["paper"]
    small = dataclasses.replace(paper, recipe=dataclasses.replace(paper.recipe.at_size(32), points=500))
    monkeypatch.setitem(PRESETS, "paper", small)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for block in blocks:
        exec(compile(ast.fix_missing_locations(_OneTurn().visit(ast.parse(block))), "README.md", "exec"), names)
    assert blocks


EXAMPLES = ROOT / "examples"


def run(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_plain_loop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    told = run("plain_loop.py", monkeypatch, capsys, "2", "64")
    assert told.count("validation accuracy") == 2


def test_plain_loop_is_as_long_as_it_is_said_to_be() -> None:
    code = (EXAMPLES / "plain_loop.py").read_text().splitlines()[1:]
    assert len([line for line in code if line.strip()]) <= 30


def test_timm_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert "classes a picture" in run("timm_model.py", monkeypatch, capsys, "2")


def test_jax_dlpack(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jax", reason="JAX is no dependency of fracgen; the example is for those who have it")
    assert run("jax_dlpack.py", monkeypatch, capsys).count("(32, 3, 64, 64) float32") == 10


def test_ddp_with_torchrun() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(EXAMPLES / "ddp.py"), "2"], cwd=ROOT, capture_output=True, text=True, timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "16 of 32 images on this rank" in done.stdout
