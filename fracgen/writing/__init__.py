"""Write images: a contact sheet, a folder, WebDataset, NumPy arrays or a bare stream.

Memory holds one batch (and one row of a contact sheet), however many images are made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fracgen.order import labels_of
from fracgen.rendering.base import Renderer
from fracgen.writing.base import Batch, Selection, Writer

FORMATS = ("sheet", "folder", "wds", "npy", "raw")
PIPED = ("wds", "npy", "raw")
"""Formats that can go to standard output."""

BATCH_BYTES, BATCH_IMAGES = 1 << 26, 512
"""Limits of what is rendered at a time, whichever is reached first."""


@dataclass(frozen=True)
class Made:
    """The result of `write`."""

    images: int
    """Samples rendered in this run."""
    skipped: int
    """Samples that were there already."""
    seconds: float
    rate: float | None
    """Samples a second, rendered and written, after the first batch: that one may have waited for the renderer to be
    compiled. None where there was no other."""


def make_writer(
    format: str, output: Path | None, *, member: str = "png", threads: int = 1
) -> Writer:
    """The writer of a format.

    Args:
        format: one of `FORMATS`.
        output: file (sheet, raw) or folder (folder, wds, npy); None is standard output.
        member: WebDataset only, see `WdsWriter`.
        threads: encode images.

    Raises:
        ValueError: the format is unknown, cannot be streamed, or an option is out of range.
    """
    from fracgen.writing.formats.folder import FolderWriter
    from fracgen.writing.formats.npy import NpyPipe, NpyWriter, RawWriter
    from fracgen.writing.formats.sheet import SheetWriter
    from fracgen.writing.formats.webdataset import WdsPipe, WdsWriter

    if format not in FORMATS:
        raise ValueError(f"unknown format {format!r}: use one of {', '.join(FORMATS)}")
    if format == "raw":
        return RawWriter(output)
    if output is None:
        if format not in PIPED:
            raise ValueError(f"format {format} cannot go to a pipe: use one of {', '.join(PIPED)}, or name a file")
        return WdsPipe(member, threads) if format == "wds" else NpyPipe()
    if format == "wds":
        return WdsWriter(output, member, threads)
    if format == "folder":
        return FolderWriter(output, threads)
    return SheetWriter(output) if format == "sheet" else NpyWriter(output)


def write(
    selection: Selection, renderer: Renderer, writer: Writer, *, progress: Callable[[Batch], None] = lambda batch: None
) -> Made:
    """Render a selection's images and write those that are not there yet. Call `writer.prepare` first.

    Args:
        progress: called after every batch.

    Raises:
        OSError: the output cannot be written. What is there then are whole files.
    """
    start, made = time.perf_counter(), 0
    warm: tuple[float, int] | None = None  # when the first batch was done, and its samples
    size = max(1, min(BATCH_IMAGES, BATCH_BYTES // (3 * selection.recipe.size**2 * selection.recipe.views)))
    first, last = selection.span
    for part_first, part_last in writer.parts(selection):
        with writer.part(selection, part_first, part_last) as put:
            for batch_first in range(part_first, part_last, size):
                batch = render_batch(selection, renderer, batch_first, min(batch_first + size, part_last))
                put(batch)
                made += len(batch.index)
                progress(batch)
                warm = warm or (time.perf_counter(), made)
    end = time.perf_counter()
    rate = (made - warm[1]) / (end - warm[0]) if warm and made > warm[1] else None
    return Made(made, last - first - made, end - start, rate)


def render_batch(selection: Selection, renderer: Renderer, first: int, last: int) -> Batch:
    """Positions first .. last - 1 of a selection."""
    index = selection.index(first, last)
    rendered = renderer.render(index, seed=selection.seed, epoch=selection.epoch, stream=selection.stream).numpy()
    codes = rendered.codes.astype(np.int64)
    classes = np.where(codes < 0, -1, codes // selection.bank.per_class)
    recipe = selection.recipe
    images = rendered.images.reshape(len(index), recipe.views, 3, recipe.size, recipe.size)
    return Batch(first, index, images, labels_of(index, selection.bank.classes), classes)
