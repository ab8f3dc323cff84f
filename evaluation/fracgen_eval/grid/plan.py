"""What a grid will do: all its cells, checked before the first one starts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean

from fracgen_eval.datasets import Category, check_files, check_root, dataset, draw_shots, limited, root_of
from fracgen_eval.datasets.base import SMALL_IMAGES, split
from fracgen_eval.errors import EvaluationError, one_of
from fracgen_eval.grid.cell import Cell, DataChoice, MethodChoice, WeightsChoice
from fracgen_eval.grid.result import DONE, CellResult
from fracgen_eval.grid.results import read_results, result_path
from fracgen_eval.methods import METHODS, check_fit, is_other, settings_for, settings_of
from fracgen_eval.methods.settings import IMAGE_LEVEL, LAYER_CHOICE, PROTOCOLS
from fracgen_eval.weights.backbones import InputNorm, Weights, WeightsSpec, load_weights
from fracgen_eval.weights.files import check_there
from fracgen_eval.weights.network import network

SMALL_CATEGORIES = 2
"""`--limit small` takes this many categories where none are named."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A grid as asked for: every combination of methods, categories, weights, layers and seeds."""

    out: Path
    methods: tuple[str, ...]
    dataset: str
    weights: tuple[WeightsSpec, ...]
    root: Path | None = None
    """The dataset's folder; None for `surfaces`, written below `out`, and for `elpv`, an installed package's."""
    categories: tuple[str, ...] | None = None
    model: str = "wide_resnet50_2"
    layers: tuple[tuple[str, ...], ...] = ()
    """Layer sets for PatchCore and PaDiM instead of their own."""
    seeds: tuple[int, ...] = (0,)
    shots: int | None = None
    protocol: str = "honest"
    limit: str | None = None
    """`small`, or the number of training and of test images."""
    input_norm: InputNorm = "checkpoint"
    map_size: str = "evaluation"
    overrides: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    shard: tuple[int, int] = (0, 1)
    rerun: bool = False


Kind = tuple[str, str, str | None, str | None]
"""Method, model, limit and device: cells of one kind take about the same time."""


@dataclass(frozen=True)
class Plan:
    """Cells of this shard and what they need."""

    request: Request
    pending: list[Cell]
    finished: list[Cell]
    categories: dict[str, Category]
    weights: dict[str, Weights]
    times: dict[Kind, float] = field(default_factory=dict)
    """Mean wall time, in seconds, of the finished cells of the result folder, by their kind."""

    def seconds(self, cell: Cell, device: str) -> float | None:
        """Time that a cell will take, if one of its kind has finished on such a device."""
        return self.times.get(_kind(cell, device))

    def data(self, cell: Cell) -> Category:
        """The pictures of a cell: limited, then drawn for few-shot."""
        return _data(self.categories[cell.data.category], self.request, cell.seed)


def make_plan(request: Request) -> Plan:
    """Check everything that can be checked before work begins, and list the cells.

    Raises:
        EvaluationError: a name is unknown, a file missing, damaged or of the wrong kind.
    """
    check_names(request)
    request = dataclasses.replace(request, model=network(request.model).name)
    methods = [m for m in METHODS if m in request.methods] + [m for m in request.methods if is_other(m)]
    choices = {method: _choices(request, method) for method in methods}
    weights = {spec.name: load_weights(spec, request.model, request.input_norm) for spec in request.weights}
    source, root = dataset(request.dataset), root_of(request.dataset, request.root, request.out)
    names = request.categories or tuple(source.categories(root))
    if request.limit == "small" and request.categories is None:
        names = names[:SMALL_CATEGORIES]
    categories = {name: source.load(root, name) for name in names}
    if request.protocol == "paper" and (bare := [n for n, c in categories.items() if not c.has_masks]):
        raise EvaluationError(f"{bare[0]} has no masks, on which protocol 'paper' stops early: use honest")
    cells = _cells(request, choices, categories, weights)
    index, shards = request.shard
    mine = cells[index::shards]
    found = [(request.out / path, result) for path, result in read_results(request.out)]
    done = {path: r for path, r in found if isinstance(r, CellResult) and r.status == DONE}
    finished = [c for c in mine if not request.rerun and result_path(request.out, c) in done]
    pending = [c for c in mine if request.rerun or result_path(request.out, c) not in done]
    for name in dict.fromkeys(c.data.category for c in pending):
        seeds = dict.fromkeys(c.seed for c in pending) if request.shots else [0]
        for seed in seeds:
            check_files(_data(categories[name], request, seed))
    plan = Plan(request, pending, finished, categories, weights, _mean_times(done.values()))
    _check_fits(plan)
    return plan


def check_names(request: Request) -> None:
    """Refuse what can be told from names alone, before anything heavy is imported.

    Raises:
        EvaluationError: a name is unknown, a number out of range, or a file or folder not there.
    """
    one_of(request.protocol, PROTOCOLS, "protocol")
    one_of(request.map_size, ("evaluation", "original"), "map size")
    if not request.methods or not request.weights or not request.seeds:
        raise EvaluationError("nothing to do: name at least one method, one of the weights and one seed")
    for method in request.methods:
        layers = request.layers if method in LAYER_CHOICE else ()
        settings_for(method, overrides=request.overrides.get(method), protocol=request.protocol, layers=layers)
        if request.protocol == "paper" and is_other(method):
            raise EvaluationError(f"protocol 'paper' is settings of the eight methods, {method} has none: use honest")
        if request.map_size == "original" and request.protocol == "paper" and method == "patchcore":
            raise EvaluationError("PatchCore crops under protocol 'paper' and has no map of the original size")
    if request.layers and not set(request.methods) & set(LAYER_CHOICE):
        raise EvaluationError(f"--layers is for {' and '.join(LAYER_CHOICE)}, which --method does not name")
    if request.map_size == "original" and set(request.methods) <= set(IMAGE_LEVEL):
        names = " and ".join(request.methods)
        raise EvaluationError(f"--map-size: whole images are judged by {names}, without maps; leave it out")
    index, shards = request.shard
    if not 0 <= index < shards:
        raise EvaluationError(f"shard {index}/{shards} does not exist: count from 0 to {shards - 1}")
    if any(not 0 <= seed < 2**32 for seed in request.seeds):
        raise EvaluationError(f"seeds {request.seeds} are out of range: use whole numbers from 0 to 2^32 - 1")
    if request.limit not in (None, "small") and not (str(request.limit).isdigit() and int(str(request.limit)) > 1):
        raise EvaluationError(f"limit {request.limit!r}: use small, or a number of images above 1")
    _check_files(request)


def _check_files(request: Request) -> None:
    check_root(request.dataset, request.root)
    source = dataset(request.dataset)
    for category in request.categories or ():
        one_of(category, source.categories(request.root or Path()), f"category of {request.dataset}")
    names = [spec.name for spec in request.weights]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise EvaluationError(f"weights {twice!r} are given twice: give each file a name of its own")
    for spec in request.weights:
        if spec.path is not None:
            check_there(spec.path)


def _check_fits(plan: Plan) -> None:
    """Raises EvaluationError, with the category's name, for the first cell that could not be fitted."""
    for how, data, model, number in dict.fromkeys(
        (c.method, c.data.category, c.weights.model, len(split(plan.data(c), c.method.protocol, c.seed)[0]))
        for c in plan.pending
    ):
        try:
            check_fit(how.name, model, how.settings, number, layers=how.layers, protocol=how.protocol)
        except EvaluationError as error:
            raise EvaluationError(f"{data}: {error}") from None


def _mean_times(results: Iterable[CellResult]) -> dict[Kind, float]:
    times: dict[Kind, list[float]] = {}
    for result in results:
        if result.cost.wall_s is not None:
            times.setdefault(_kind(result.cell, result.origin.device), []).append(result.cost.wall_s)
    return {kind: fmean(several) for kind, several in times.items()}


def _kind(cell: Cell, device: str | None) -> Kind:
    return cell.method.name, cell.weights.model, cell.data.limit, device


def _data(category: Category, request: Request, seed: int) -> Category:
    images = SMALL_IMAGES if request.limit == "small" else int(request.limit) if request.limit else None
    return draw_shots(limited(category, images), request.shots, seed)


def _cells(
    request: Request, choices: dict[str, list[MethodChoice]], categories: dict[str, Category],
    weights: dict[str, Weights],
) -> list[Cell]:  # fmt: skip
    digests = {name: _listing_digest(category) for name, category in categories.items()}
    return [
        Cell(
            how, DataChoice(request.dataset, category, digests[category], request.shots, request.limit),
            WeightsChoice(name, weights[name].digest, request.model, request.input_norm), seed,
        )
        for category, method, name, seed in product(categories, choices, weights, request.seeds)
        for how in choices[method]
    ]  # fmt: skip


def _choices(request: Request, method: str) -> list[MethodChoice]:
    """A method with each of the layer sets, by their names here; None stands for its own.

    Raises:
        EvaluationError: the network does not serve the method, or has no such layer.
    """
    settings = settings_for(
        method, request.limit == "small", request.overrides.get(method), protocol=request.protocol
    )
    sets: list[tuple[str, ...] | None] = [None] if is_other(method) else []
    for layers in () if sets else request.layers if method in LAYER_CHOICE and request.layers else (None,):
        stages = settings_of(method, settings, layers=layers, protocol=request.protocol).stages(network(request.model))
        names, modules = [stage.layer for stage in stages], [stage.module for stage in stages]
        own = layers is None or settings["layers"] in (names, modules)  # makes the same cell as none at all
        sets.append(None if own else tuple(names))
    map_size = "evaluation" if method in IMAGE_LEVEL else request.map_size
    return [MethodChoice(method, settings, layers, request.protocol, map_size) for layers in dict.fromkeys(sets)]


def _listing_digest(category: Category) -> str:
    """First 12 hex digits of a SHA-256 over the names and sizes of a category's files."""
    files: list[tuple[str, int]] = []
    for sample in [*category.train, *category.validation, *category.test]:
        for path in (sample.path, *sample.masks):
            name = path.relative_to(category.root) if path.is_relative_to(category.root) else path.name
            files.append((str(name), path.stat().st_size))
    return hashlib.sha256(repr(sorted(files)).encode()).hexdigest()[:12]
