"""The examples in docstrings run and say what they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import fracgen_eval
import pytest

import fracgen
from fracgen.training.built_in import models

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
