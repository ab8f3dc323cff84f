"""The Python that README shows runs as it stands there; loops end after their first turn.

`tests/training/test_export.py` runs that of `docs/weights.md`.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from fracgen.recipes.presets import PRESETS

README = Path(__file__).parents[1] / "README.md"


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
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    for block in blocks:
        exec(compile(ast.fix_missing_locations(_OneTurn().visit(ast.parse(block))), str(README), "exec"), names)
    assert blocks
