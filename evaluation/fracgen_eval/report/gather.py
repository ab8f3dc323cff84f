"""A result folder as one tidy table, a row a cell, and all that is not one by name: nothing is dropped in silence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from fracgen.support.decode import shown
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import DONE, METRICS
from fracgen_eval.grid.results import CELLS, read_table
from fracgen_eval.methods import is_method, settings_for
from fracgen_eval.methods.settings import IMAGE_LEVEL
from fracgen_eval.weights.backbones import random_seed
from fracgen_eval.weights.network import LAYERS

if TYPE_CHECKING:
    from pandas import DataFrame

LONGEST_SLUG = 60
BASELINES = ("imagenet", "imagenet-v2", "random")
"""Weights that stand before all others, in this order."""
DATASET_NAMES = {"mvtec": "MVTec AD", "visa": "VisA", "elpv": "ELPV (no masks: image metrics only)"}
SAME = ["condition", "column", "category", "weights", "network", "seed", "layers", "shots"]
"""Columns that are alike in results of the same cell."""


@dataclass(frozen=True, order=True)
class Condition:
    """What cells must share to stand in one table."""

    dataset: str
    model: str
    protocol: str
    limit: str = ""
    input_norm: str = "checkpoint"

    @property
    def title(self) -> str:
        """A line for people."""
        parts = [DATASET_NAMES.get(self.dataset, self.dataset), self.model, f"protocol {self.protocol}"]
        parts += [f"TRIAL RUN (limit {self.limit})"] if self.limit else []
        parts += ["ImageNet's input normalisation"] if self.input_norm == "imagenet" else []
        return ", ".join(parts)

    @property
    def slug(self) -> str:
        """For names of files."""
        parts = [self.dataset, self.model, self.protocol, self.limit and f"limit{self.limit}"]
        parts += ["imagenetnorm"] if self.input_norm == "imagenet" else []
        return slug_of("-".join(p for p in parts if p))


def slug_of(text: str) -> str:
    """A name for files: letters, digits and `._=-`; a long one ends in a digest."""
    slug = re.sub(r"[^\w.=]+", "-", text).strip("-")
    return slug if len(slug) <= LONGEST_SLUG else f"{slug[:LONGEST_SLUG]}-{sha256(slug.encode()).hexdigest()[:8]}"


def layers_text(layers: tuple[str, ...]) -> str:
    """`{1, 2}` of `layer1` and `layer2`."""
    return "{" + ", ".join(x.removeprefix("layer") if x in LAYERS else x for x in layers) + "}"


@dataclass
class Results:
    """Everything below a result folder.

    `cells` has a row for each cell and the columns of `read_table`, with these differences: `weights` is their name in
    tables, with a part of their digest where others have the same name, and `random` for all random networks, which
    `network` numbers (0 for all other weights); `column` is the method's name in tables, with the settings that are not
    the usual ones; `layers` are those other than the method's own that are to be drawn against, else None; `condition`
    is what cells of one table share. `done` says whether there are numbers, `plain` whether a cell belongs into the
    main tables: neither few-shot nor with other layers.
    """

    folder: Path
    cells: DataFrame
    problems: list[str]
    """One line each about files that are unreadable, foreign, duplicates or of other pictures, and about figures
    that could not be drawn."""

    @property
    def published_only(self) -> bool:
        """Whether all numbers are a publication's."""
        return all(cell.done and cell.result.outcome.published for cell in self.cells.itertuples())

    def weights(self) -> list[str]:
        """Names of weights in the order of tables: baselines, then the others by name."""
        names = set(self.cells.weights)
        return [b for b in BASELINES if b in names] + sorted(names - set(BASELINES))

    def by_condition(self) -> list[tuple[Condition, DataFrame]]:
        """The cells of each condition, in the order of the report: MVTec AD, VisA, others; trial runs last."""
        order = {"mvtec": 0, "visa": 1}
        found = sorted(set(self.cells.condition), key=lambda c: (bool(c.limit), order.get(c.dataset, 2), c))
        return [(condition, self.cells[self.cells.condition == condition]) for condition in found]


def gather(folder: Path) -> Results:
    """Read a result folder.

    Raises:
        EvaluationError: it is no result folder, or holds not one cell.
    """
    if not (folder / CELLS).is_dir():
        remedy = f"`fracgen eval run -o {folder}` fills it"
        if (folder / "eval" / CELLS).is_dir():  # a demo's folder
            remedy = f"{folder / 'eval'} is one"
        raise EvaluationError(f"{folder}: no result folder (it has no {CELLS}/); {remedy}")
    cells, unread = read_table(folder)
    problems = [line.replace(f"{folder}/", "") for line in unread]
    for cell in cells.itertuples():
        if not is_method(cell.method):
            problems.append(f"{cell.path}: not a cell's result (method {shown(cell.method)} is unknown): move it away")
    for path in sorted((folder / CELLS).rglob("*")):
        if path.is_file() and path.suffix != ".json" and not path.name.endswith(".part"):
            problems.append(f"{path.relative_to(folder)}: not a result file, passed over")
    if cells.empty or not any(map(is_method, cells.method)):
        only = f", only: {problems[0]}" if problems else ""
        raise EvaluationError(f"{folder}: no cells to report{only}; `fracgen eval run -o {folder}` makes them")
    known = cells[[is_method(method) for method in cells.method]].reset_index(drop=True)
    cells, others = _of_the_same_pictures(_named(known))
    cells, doubles = _newest(cells)
    return Results(folder, _lone_layers(cells), problems + others + doubles)


def _named(cells: DataFrame) -> DataFrame:
    """The columns that `Results` describes."""
    from pandas import Series

    each = [result.cell for result in cells.result]
    cells["column"] = [_column(cell) for cell in each]
    cells["layers"] = Series([_other_layers(cell) for cell in each], dtype=object)
    cells["shots"] = Series([cell.data.shots for cell in each], dtype=object)
    cells["condition"] = [
        Condition(c.data.dataset, c.weights.model, c.method.protocol, c.data.limit or "", c.weights.input_norm)
        for c in each
    ]
    cells["done"] = cells.status == DONE
    several = cells.groupby(["weights", "model"]).weights_digest.transform("nunique") > 1
    cells.loc[several, "weights"] += ":" + cells.weights_digest.str[:4]  # other tensors under the same name
    network = [random_seed(name) for name in cells.weights]
    cells["network"] = [seed or 0 for seed in network]
    cells["weights"] = [name if n is None else "random" for name, n in zip(cells.weights, network, strict=True)]
    return cells.astype(dict.fromkeys(SAME, object))


def _column(cell: Cell) -> str:
    """`patchcore`, or `patchcore coreset=0.01` where settings are not the usual ones."""
    method = cell.method
    usual = settings_for(method.name, cell.data.limit == "small")
    other = {k: v for k, v in method.settings.items() if usual.get(k) != v}
    if method.name not in IMAGE_LEVEL and method.map_size == "original":
        other["map"] = "original size"
    return f"{method.name} {', '.join(f'{k}={v}' for k, v in sorted(other.items()))}".strip()


def _other_layers(cell: Cell) -> tuple[str, ...] | None:
    own = tuple(cell.method.settings.get("layers") or ())
    return None if not cell.method.layers or cell.method.layers == own else cell.method.layers


def _of_the_same_pictures(cells: DataFrame) -> tuple[DataFrame, list[str]]:
    """Cells whose numbers can stand beside each other: where those of a category saw different pictures, the ones
    that saw what most did; and a line about each of the others."""
    usual = cells.groupby(["dataset", "category"]).data_digest.transform(lambda digests: min(digests.mode()))
    same = cells.data_digest == usual
    lines = [
        f"{cell.path}: saw other pictures of {cell.dataset}/{cell.category} than most of its cells (listing "
        f"{cell.data_digest}, theirs {theirs}); not counted"
        for cell, theirs in zip(cells[~same].itertuples(), usual[~same], strict=True)
    ]
    return cells[same], lines


def _newest(cells: DataFrame) -> tuple[DataFrame, list[str]]:
    """One row per cell: of several, the newest that is done; a line about each that gives way."""
    kept, lines = [], []
    for _, group in cells.groupby(SAME, sort=False, dropna=False):
        ranked = group.fillna({"finished": ""}).sort_values(["done", "finished", "path"], ascending=False)
        first = ranked.iloc[0]
        kept.append(first.name)
        for _, other in ranked.iloc[1:].iterrows():
            what = "with the same numbers" if other[[*METRICS]].equals(first[[*METRICS]]) else "with OTHER NUMBERS"
            what = what if other.done else "which failed"
            lines.append(f"{other.path}: the cell of {first.path} once more, {what}; the newest that is done counts")
    return cells.loc[kept], lines


def _lone_layers(cells: DataFrame) -> DataFrame:
    """A method that was run with one set of layers only, not its own, has no layers to be drawn against: its numbers
    are a column of the tables. So are few-shot numbers with other layers a curve of their own."""
    whole = cells[cells.shots.isna()]
    sets = {key: group.nunique(dropna=False) for key, group in whole.groupby(["condition", "column"]).layers}
    cells = cells.reset_index(drop=True)
    for n, cell in enumerate(cells.itertuples()):
        if cell.layers is not None and (cell.shots is not None or sets[cell.condition, cell.column] == 1):
            comma = "," if " " in cell.column else ""
            cells.at[n, "column"] = f"{cell.column}{comma} layers={layers_text(cell.layers)}"
            cells.at[n, "layers"] = None
    cells["plain"] = cells.layers.isna() & cells.shots.isna()
    return cells
