"""A small bank and selections that render in moments."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fracgen import CodeBank, Recipe, make_renderer, preset
from fracgen.rendering.base import Renderer
from fracgen.writing import write
from fracgen.writing.base import Batch, Selection, Writer
from tests.fields import Fields

CLASSES = 5


def recipe(name: str = "paper") -> Recipe:
    """A preset at 16 px and 300 points."""
    return dataclasses.replace(preset(name).recipe.at_size(16), points=300)


def bank() -> CodeBank:
    """15 codes, 3 a class."""
    return CodeBank.sample(15, classes=CLASSES)


def renderer(selection: Selection) -> Renderer:
    return make_renderer(selection.bank, selection.recipe, "cpu", threads=1)


def selection(count: int = 23, name: str = "paper", **options: object) -> Selection:
    given: Fields = {"per_file": 1000, **options}
    return Selection(bank(), recipe(name), count, **given)


def expected(selection: Selection) -> NDArray[np.uint8]:
    """The images a selection should write, uint8 [n, views, 3, 16, 16]."""
    index = selection.index(*selection.span)
    images = renderer(selection).render(index, seed=selection.seed, epoch=selection.epoch).numpy().images
    return images if selection.recipe.views == 2 else images[:, None]


def export(selection: Selection, writer: Writer, resume: bool = False) -> int:
    """Write a selection; returns the number of images rendered."""
    writer.prepare(selection, resume)
    return write(selection, renderer(selection), writer).images


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder but the records, which say what machine made them."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("dataset")
    }


class Interrupt(Exception):
    """Stands for whatever ends an export."""


@pytest.fixture
def interrupt_after() -> Callable[[Selection, Writer, int], None]:
    """Run an export that is ended, by an exception, once `count` batches of one image are done."""

    def run(selection: Selection, writer: Writer, count: int) -> None:
        def progress(batch: Batch) -> None:
            nonlocal count
            count -= 1
            if count == 0:
                raise Interrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fracgen.writing.BATCH_BYTES", 1)
            writer.prepare(selection, False)
            with pytest.raises(Interrupt):
                write(selection, renderer(selection), writer, progress=progress)

    return run
