"""Selections of images, batches of rendered images, the protocol of formats, and the record of a folder of images.

A selection is a list of positions 0 .. count - 1; every position is one sample of an epoch. Files are
named and ordered by position, so any split of a selection over processes makes the same files. `dataset.json` in
a folder says what decides its bytes, so that it can be made again and resumed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fracgen import __version__
from fracgen.draws import Stream, seed_key
from fracgen.formulas.files import Bank
from fracgen.order import MAX_INDEX, order_keys, permute
from fracgen.recipes.recipe import UNPROMISED, Recipe
from fracgen.support.decode import read_json
from fracgen.support.files import PART, remove_parts, whole_file
from fracgen.support.options import Within, check_fields
from fracgen.support.provenance import provenance


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
    count: Annotated[int, Within(1, MAX_INDEX, "images")] = 64
    """Samples of the whole selection, all shards together."""
    _: KW_ONLY
    seed: int = 0
    epoch: Annotated[int, Within(0, MAX_INDEX)] = 0
    stream: int = Stream.TRAIN
    order: Literal["index", "epoch"] = "index"
    """`index`: position k is sample k. `epoch`: position k is the k-th sample of an epoch of `count`."""
    shard: tuple[int, int] = (0, 1)
    """(i, n): this process makes the i-th of n contiguous runs of files, counted from 0."""
    per_file: Annotated[int, Within(1, MAX_INDEX, "positions in a file")] = 1
    """Number of positions in a file: shards are cut between files."""
    span: tuple[int, int] = field(init=False)
    """First position and last + 1 of this process's shard."""

    def __post_init__(self) -> None:
        seed_key(self.seed)
        check_fields(self)
        i, n = self.shard
        if not (n >= 1 and 0 <= i < n):
            raise ValueError(f"shard {i}/{n} is out of range: use 0/{max(n, 1)} to {max(n, 1) - 1}/{max(n, 1)}")
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


Put = Callable[[Batch], object]


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


def describe(selection: Selection, options: Mapping[str, object]) -> dict[str, object]:
    """Everything that decides the bytes of a selection's files, and what made them. JSON types."""
    bank, recipe = selection.bank, selection.recipe
    return {
        **options, "count": selection.count, "order": selection.order, "seed": selection.seed,
        "epoch": selection.epoch, "stream": int(selection.stream), "recipe": recipe.to_json(),
        "recipe_digest": recipe.digest, "render_version": recipe.render_version,
        "bank": {"sha256": bank.sha256, "codes": len(bank), "classes": bank.classes, "metadata": dict(bank.metadata)},
        "shard": f"{selection.shard[0]}/{selection.shard[1]}", "made_with": provenance(),
    }  # fmt: skip


def prepare_folder(folder: Path, selection: Selection, options: Mapping[str, object], resume: bool) -> None:
    """Make an output folder, or check that the one there is of the same selection; write its record, one a shard.

    Raises:
        ValueError: the folder holds other images, or anything else, or this selection's and `resume` is false.
        OSError: it cannot be made or written.
    """
    own, (i, n) = describe(selection, options), selection.shard
    record = folder / ("dataset.json" if n == 1 else f"dataset-{i}-of-{n}.json")
    records = sorted(folder.glob("dataset*.json"))
    for path in records:
        if difference := _difference(path, own):
            raise ValueError(f"{folder} holds another dataset ({difference}): name another folder")
    if record.exists() and not resume:
        raise ValueError(f"{folder} already holds this dataset: add --resume to carry on, or name another folder")
    if not records and folder.is_dir() and any(not p.name.endswith(PART) for p in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no fracgen dataset: name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    if i == 0:  # one of them looks, for all
        remove_parts(folder, "**/.*")
    with whole_file(record) as file:
        file.write((json.dumps(own, indent=2) + "\n").encode())


def _difference(path: Path, own: dict[str, object]) -> str | None:
    """The first difference of the record at `path`, in words; None if it is of the same selection."""
    try:
        other = read_json(path)
    except ValueError:
        return f"{path.name} is not readable"
    made_with = other.get("made_with")
    release = made_with.get("fracgen") if isinstance(made_with, dict) else None
    if own["render_version"] == UNPROMISED and release != __version__:
        return f"of render_version {UNPROMISED} and release {release}, from which {__version__} may differ"
    for key, ours in own.items():
        theirs = other.get(key)
        if key in ("shard", "made_with") or ours == theirs:
            continue
        if isinstance(theirs, dict) and isinstance(ours, dict):
            inner = next(k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k))
            key, theirs, ours = f"{key}.{inner}", theirs.get(inner), ours.get(inner)
        return f"{key} {theirs!r} there, {ours!r} asked for"
    return None
