"""A small bank and jobs that render in moments."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fracgen import CodeBank, Recipe, make_renderer, preset
from fracgen.rendering.base import Renderer
from fracgen.writing import write
from fracgen.writing.base import Job, Writer

CLASSES = 5


def recipe(name: str = "paper") -> Recipe:
    """A preset at 16 px and 300 points."""
    return dataclasses.replace(preset(name).recipe.at_size(16), points=300)


def bank() -> CodeBank:
    """15 codes, 3 a class."""
    return CodeBank.sample(15, classes=CLASSES)


def renderer(job: Job) -> Renderer:
    return make_renderer(job.bank, job.recipe, "cpu", threads=1)


def job(count: int = 23, name: str = "paper", **options: Any) -> Job:
    return Job(bank(), recipe(name), count, **options)


def expected(job: Job) -> np.ndarray[Any, Any]:
    """The images a job should write, uint8 [n, views, 3, 16, 16]."""
    images = renderer(job).render(job.index(*job.span()), seed=job.seed, epoch=job.epoch).images
    return images if job.recipe.views == 2 else images[:, None]


def export(job: Job, writer: Writer, resume: bool = False) -> int:
    """Write a job; returns the number of images rendered."""
    writer.prepare(job, resume)
    return write(job, renderer(job), writer).images


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
def interrupt_after() -> Callable[[Job, Writer, int], None]:
    """Run an export that is ended, by an exception, once `count` batches of one image are done."""

    def run(job: Job, writer: Writer, count: int) -> None:
        def progress(batch: Any) -> None:
            nonlocal count
            count -= 1
            if count == 0:
                raise Interrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fracgen.writing.BATCH_BYTES", 1)
            writer.prepare(job, False)
            with pytest.raises(Interrupt):
                write(job, renderer(job), writer, progress=progress)

    return run
