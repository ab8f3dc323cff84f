"""A result folder as entries, and everything in it that is not one: nothing is dropped in silence."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import KW_ONLY, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from fracgen.support.decode import shown
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import METRICS, CellResult, Judged, Measurement, Scores
from fracgen_eval.grid.results import CELLS, read_results
from fracgen_eval.methods import is_method, settings_for
from fracgen_eval.methods.settings import IMAGE_LEVEL
from fracgen_eval.weights.backbones import random_seed
from fracgen_eval.weights.network import LAYERS

TRACEBACK = 4_000
"""Last characters of a failed cell's traceback that a report shows."""
LONGEST_SLUG = 60
BASELINES = ("imagenet", "imagenet-v2", "random")
"""Weights that stand before all others, in this order."""

DATASET_NAMES = {"mvtec": "MVTec AD", "visa": "VisA", "elpv": "ELPV (no masks: image metrics only)"}


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


@dataclass(frozen=True)
class Entry:
    """A cell's result, and where it stands in the report."""

    condition: Condition
    column: str
    """The method's name in tables: with the settings that are not the usual ones."""
    weights: str
    """Their name in tables: with a part of their digest where others have the same name."""
    layers: tuple[str, ...] | None
    """Other layers than the method's own, to be drawn against."""
    _: KW_ONLY
    path: str
    """Of its file, below the result folder."""
    result: CellResult = field(repr=False, hash=False, compare=False)
    network: int = 0
    """Which of several random networks, all of which have the name `random` in tables; 0 for all other weights."""

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.result.cell.method.name

    @property
    def category(self) -> str:
        """Name of the category."""
        return self.result.cell.data.category

    @property
    def seed(self) -> int:
        """Seed of the cell."""
        return self.result.cell.seed

    @property
    def shots(self) -> int | None:
        """Training images of a few-shot cell."""
        return self.result.cell.data.shots

    @property
    def done(self) -> bool:
        """Whether there are numbers; else it ended in an error."""
        return isinstance(self.result.outcome, Measurement)

    @property
    def scores(self) -> Scores | None:
        """The numbers, None of a failed cell."""
        return self.result.outcome.scores if isinstance(self.result.outcome, Measurement) else None

    @property
    def judged(self) -> Judged | None:
        """The test images one by one, None of a failed cell."""
        return self.result.outcome.judged if isinstance(self.result.outcome, Measurement) else None

    @property
    def published(self) -> bool:
        """Whether the numbers are a publication's."""
        return isinstance(self.result.outcome, Measurement) and self.result.outcome.published

    @property
    def metrics(self) -> dict[str, float | None]:
        """In [0, 1]; None where a metric does not exist for the cell."""
        return {name: self.result.metrics.get(name) for name in METRICS}

    @property
    def beside(self) -> dict[str, float]:
        """Image AUROC in [0, 1] that stands beside the method's own, such as CutPaste's of `steps=0`."""
        variants = self.scores.beside if self.scores else {}
        return {name: metrics["image_auroc"] for name, metrics in variants.items() if "image_auroc" in metrics}

    @property
    def plain(self) -> bool:
        """Neither few-shot nor with other layers: it belongs into the main tables."""
        return self.layers is None and self.shots is None


@dataclass
class Results:
    """Everything below a result folder."""

    folder: Path
    entries: list[Entry]
    problems: list[str]
    """One line each about files that are unreadable, foreign, duplicates or of other pictures, and about figures
    that could not be drawn."""

    @property
    def failed(self) -> list[Entry]:
        """Cells that ended in an error."""
        return [e for e in self.entries if not e.done]

    def weights(self) -> list[str]:
        """Names of weights in the order of tables: baselines, then the others by name."""
        names = {e.weights for e in self.entries}
        return [b for b in BASELINES if b in names] + sorted(names - set(BASELINES))

    def conditions(self) -> list[Condition]:
        """In the order of the report: MVTec AD, VisA, others; trial runs last."""
        order = {"mvtec": 0, "visa": 1}
        return sorted({e.condition for e in self.entries}, key=lambda c: (bool(c.limit), order.get(c.dataset, 2), c))


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
    entries, problems = [], []
    for path, result in read_results(folder):
        if isinstance(result, EvaluationError):
            problems.append(str(result).replace(f"{folder}/", ""))
        elif not is_method(method := result.cell.method.name):
            problems.append(f"{path}: not a cell's result (method {shown(method)} is unknown): move it away")
        else:
            entries.append(_entry(str(path), result))
    for path in sorted((folder / CELLS).rglob("*")):
        if path.is_file() and path.suffix != ".json" and not path.name.endswith(".part"):
            problems.append(f"{path.relative_to(folder)}: not a result file, passed over")
    if not entries:
        only = f", only: {problems[0]}" if problems else ""
        raise EvaluationError(f"{folder}: no cells to report{only}; `fracgen eval run -o {folder}` makes them")
    entries, others = _of_the_same_pictures(_one_random(_disambiguated(entries)))
    entries, duplicates = _newest(entries)
    return Results(folder, _lone_layers(entries), problems + others + duplicates)


def _entry(path: str, result: CellResult) -> Entry:
    cell = result.cell
    own = tuple(cell.method.settings.get("layers") or ())
    layers = None if not cell.method.layers or cell.method.layers == own else cell.method.layers
    condition = Condition(
        cell.data.dataset, cell.weights.model, cell.method.protocol, cell.data.limit or "", cell.weights.input_norm
    )
    return Entry(condition, _column(cell), cell.weights.name, layers, path=path, result=result)


def _column(cell: Cell) -> str:
    """`patchcore`, or `patchcore coreset=0.01` where settings are not the usual ones."""
    method = cell.method
    usual = settings_for(method.name, cell.data.limit == "small")
    other = {k: v for k, v in method.settings.items() if usual.get(k) != v}
    if method.name not in IMAGE_LEVEL and method.map_size == "original":
        other["map"] = "original size"
    return f"{method.name} {', '.join(f'{k}={v}' for k, v in sorted(other.items()))}".strip()


def _disambiguated(entries: list[Entry]) -> list[Entry]:
    """Different tensors under the same name get a part of their digest added to it."""
    digests: dict[tuple[str, str], set[str]] = defaultdict(set)
    for e in entries:
        digests[e.weights, e.condition.model].add(e.result.cell.weights.digest)
    return [
        replace(e, weights=f"{e.weights}:{e.result.cell.weights.digest[:4]}")
        if len(digests[e.weights, e.condition.model]) > 1 else e
        for e in entries
    ]  # fmt: skip


def _one_random(entries: list[Entry]) -> list[Entry]:
    """Random networks of other seeds (`random-N`) are further draws of the weights `random`."""
    return [
        replace(e, weights="random", network=seed) if (seed := random_seed(e.weights)) is not None else e
        for e in entries
    ]


def _of_the_same_pictures(entries: list[Entry]) -> tuple[list[Entry], list[str]]:
    """Entries whose numbers can stand beside each other: where cells of a category saw different pictures, those
    that saw what most did; and a line about each of the others."""
    seen: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for e in entries:
        seen[e.condition.dataset, e.category][_pictures(e)] += 1
    usual = {of: max(sorted(counts), key=counts.__getitem__) for of, counts in seen.items()}
    kept = [e for e in entries if _pictures(e) == usual[e.condition.dataset, e.category]]
    lines = [
        f"{e.path}: saw other pictures of {e.condition.dataset}/{e.category} than most of its cells (listing "
        f"{_pictures(e)}, theirs {usual[e.condition.dataset, e.category]}); not counted"
        for e in entries
        if _pictures(e) != usual[e.condition.dataset, e.category]
    ]
    return kept, lines


def _pictures(entry: Entry) -> str:
    return entry.result.cell.data.digest


def _lone_layers(entries: list[Entry]) -> list[Entry]:
    """A method that was run with one set of layers only, not its own, has no layers to be drawn against: its numbers
    are a column of the tables. So are few-shot numbers with other layers a curve of their own."""
    sets: dict[tuple[Condition, str], set[tuple[str, ...] | None]] = defaultdict(set)
    for e in entries:
        if e.shots is None:
            sets[e.condition, e.column].add(e.layers)
    out = []
    for e in entries:
        if e.layers is not None and (e.shots is not None or len(sets[e.condition, e.column]) == 1):
            comma = "," if " " in e.column else ""
            e = replace(e, column=f"{e.column}{comma} layers={layers_text(e.layers)}", layers=None)
        out.append(e)
    return out


def _newest(entries: list[Entry]) -> tuple[list[Entry], list[str]]:
    """One entry per cell: of several, the newest that is done; a line about each that gives way."""
    groups: dict[tuple[Any, ...], list[Entry]] = defaultdict(list)
    for e in entries:
        groups[e.condition, e.column, e.category, e.weights, e.network, e.seed, e.layers, e.shots].append(e)
    kept, lines = [], []
    for group in groups.values():
        ranked = sorted(group, key=lambda e: (e.done, e.result.origin.finished or "", e.path), reverse=True)
        kept.append(ranked[0])
        for other in ranked[1:]:
            what = "with the same numbers" if other.metrics == ranked[0].metrics else "with OTHER NUMBERS"
            what = what if other.done else "which failed"
            path = ranked[0].path
            lines.append(f"{other.path}: the cell of {path} once more, {what}; the newest that is done counts")
    return kept, lines
