"""Selections of images, batches of rendered images, and the protocol of formats.

A selection is a list of positions 0 .. count - 1; every position is one sample of an epoch. Files are
named and ordered by position, so any split of a selection over processes makes the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen.draws import Stream, seed_key
from fracgen.formulas.files import Bank
from fracgen.order import MAX_INDEX, order_keys, permute
from fracgen.recipes.recipe import Recipe

ORDERS = ("index", "epoch")


@dataclass(frozen=True)
class Selection:
    """Images to make.

    Raises:
        ValueError: a number is out of range.

    >>> from fracgen import preset
    >>> from fracgen.formulas.ifs.bank import CodeBank
    >>> codes, recipe = CodeBank.sample(10), preset("paper").recipe
    >>> Selection(codes, recipe, 100, shard=(1, 3)).span, Selection(codes, recipe, 100, shard=(1, 3), per_file=30).span
    ((33, 66), (30, 60))
    """

    bank: Bank
    recipe: Recipe
    count: int = 64
    """Samples of the whole selection, all shards together."""
    _: KW_ONLY
    seed: int = 0
    epoch: int = 0
    stream: int = Stream.TRAIN
    order: str = "index"
    """`index`: position k is sample k. `epoch`: position k is the k-th sample of an epoch of `count`."""
    shard: tuple[int, int] = (0, 1)
    """(i, n): this process makes the i-th of n contiguous runs of files, counted from 0."""
    per_file: int = 1
    """Number of positions in a file: shards are cut between files."""
    span: tuple[int, int] = field(init=False)
    """First position and last + 1 of this process's shard."""

    def __post_init__(self) -> None:
        seed_key(self.seed)
        if not 0 <= self.epoch <= MAX_INDEX:
            raise ValueError(f"epoch {self.epoch} is out of range: use 0 to {MAX_INDEX}")
        if not 1 <= self.count <= MAX_INDEX:
            raise ValueError(f"{self.count} images are out of range: use 1 to {MAX_INDEX}")
        if self.order not in ORDERS:
            raise ValueError(f"unknown order {self.order!r}: use one of {', '.join(ORDERS)}")
        i, n = self.shard
        if not (n >= 1 and 0 <= i < n):
            raise ValueError(f"shard {i}/{n} is out of range: use 0/{max(n, 1)} to {max(n, 1) - 1}/{max(n, 1)}")
        if self.per_file < 1:
            raise ValueError(f"{self.per_file} images a file is out of range: use 1 or more")
        files = -(-self.count // self.per_file)
        if files < n:
            what = "images" if self.per_file == 1 else f"files of {self.per_file} images"
            raise ValueError(f"{n} shards are too many for {files} {what}: use at most {files}")
        first, end = (files * k // n * self.per_file for k in (i, i + 1))
        object.__setattr__(self, "span", (first, min(end, self.count)))

    @property
    def multi_label(self) -> bool:
        """Whether an image may show attractors of several classes."""
        return self.recipe.source == "bank" and self.recipe.max_objects > 1

    def index(self, first: int, last: int) -> NDArray[np.uint32]:
        """Sample numbers, uint32, of positions first .. last - 1."""
        position = np.arange(first, last, dtype=np.uint32)
        if self.order == "index":
            return position
        return permute(position, self.count, order_keys(self.seed, self.epoch, self.stream))


@dataclass(frozen=True)
class Batch:
    """Consecutive positions of a selection, rendered."""

    first: int
    """Position of the first."""
    index: NDArray[np.uint32]
    """Sample numbers [B]."""
    images: NDArray[np.uint8]
    """uint8 [B, views, 3, size, size] RGB."""
    labels: NDArray[np.int64]
    """int64 [B]: the sample's class."""
    classes: NDArray[np.int64]
    """int64 [B, max_objects]: class of every attractor, the sample's own first, -1 beyond the last."""


Put = Callable[[Batch], None]


class Writer(Protocol):
    """A format. It decides which files a selection becomes; `fracgen.writing.write` feeds it."""

    def prepare(self, selection: Selection, resume: bool) -> None:
        """Refuse what this format cannot hold and make sure it can be written, before work begins.

        Raises:
            ValueError: the selection, or what the output already holds, does not fit.
            OSError: the output cannot be written.
        """

    def parts(self, selection: Selection) -> Iterator[tuple[int, int]]:
        """Runs of positions (first, last + 1) that are still to be made, each to be passed to `part`."""

    def part(self, selection: Selection, first: int, last: int) -> AbstractContextManager[Put]:
        """Take the batches of one run, in order; its file is there, whole, once the block has ended."""


class OneFile:
    """Base of formats of a single file or stream, which is written in one go and cannot be resumed."""

    no_resume = "a stream cannot be carried on: name a folder with -o"
    """Why `--resume` is refused."""

    def prepare(self, selection: Selection, resume: bool) -> None:
        """See `Writer.prepare`."""
        if resume:
            raise ValueError(self.no_resume)

    def parts(self, selection: Selection) -> Iterator[tuple[int, int]]:
        """See `Writer.parts`: one run, of everything."""
        yield selection.span
