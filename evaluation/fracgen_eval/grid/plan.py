"""What a grid will do: all its cells, checked before the first one starts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Annotated

from fracgen.support.options import Option, parse_names, parse_shard
from fracgen_eval.datasets import Category, check_files, check_root, dataset, draw_shots, limited, root_of
from fracgen_eval.datasets.base import SMALL_IMAGES, split
from fracgen_eval.errors import EvaluationError, one_of
from fracgen_eval.grid.cell import Cell, DataChoice, MethodChoice, WeightsChoice
from fracgen_eval.grid.result import DONE, CellResult
from fracgen_eval.grid.results import read_results, result_path
from fracgen_eval.methods import METHODS, check_fit, settings_for, settings_of
from fracgen_eval.methods.base import Table
from fracgen_eval.methods.others import own_name
from fracgen_eval.methods.settings import IMAGE_LEVEL, KNOWN, LAYER_CHOICE, PROTOCOLS, read_overrides
from fracgen_eval.weights.backbones import InputNorm, Weights, WeightsSpec, load_weights
from fracgen_eval.weights.network import network

SMALL_CATEGORIES = 2
"""`--limit small` takes this many categories where none are named."""


WEIGHTS_HELP = (
    "fractal (fractal.TAG: not the newest), imagenet, imagenet-v2, random (random-1 and so on: others), or name=FILE; "
    "may be repeated."
)
METHOD_HELP = (
    "A method, several with commas, or all for the eight; efficient_ad is another; anomalib:NAME is a model of "
    "Anomalib, such as anomalib:cfa; may be repeated."
)
MODEL_HELP = "A network of timm with features, such as resnet18 or tf_efficientnet_lite0; pdn_small for efficient_ad."
SETTINGS_HELP = "TOML or JSON file: a table of settings for each method."


def parse_methods(texts: list[str]) -> tuple[str, ...]:
    """Methods from repeated options and from commas in them; `all` are the eight."""
    names = tuple(map(own_name, parse_names(texts)))
    return METHODS if names == ("all",) else names


def parse_weights(texts: list[str]) -> tuple[WeightsSpec, ...]:
    """What `WeightsSpec.parse` makes of each text. Raises ValueError."""
    return tuple(map(WeightsSpec.parse, texts))


def parse_settings(path: str) -> dict[str, Table]:
    """What `read_overrides` reads from a file; raises as it does."""
    return read_overrides(Path(path))


def parse_layers(texts: list[str]) -> tuple[tuple[str, ...], ...]:
    """Layer sets from repeated options, of names with commas."""
    return tuple(parse_names([text]) for text in texts)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds with commas, each once. Raises ValueError."""
    try:
        return tuple(dict.fromkeys(int(n) for n in text.split(",")))
    except ValueError:
        raise ValueError(f"seeds {text!r} are not whole numbers with commas: for example 0,1,2") from None


@dataclass(frozen=True, kw_only=True)
class Request:
    """A grid as asked for: every combination of methods, categories, weights, layers and seeds."""

    methods: Annotated[tuple[str, ...], Option(METHOD_HELP, names=("--method",), parse=parse_methods, repeated=True)]
    weights: Annotated[
        tuple[WeightsSpec, ...],
        Option(WEIGHTS_HELP, parse=parse_weights, repeated=True),
    ]
    dataset: Annotated[str, "mvtec, visa, mvtec-loco, mvtec-ad2, btad, mpdd, real-iad, folder, surfaces or elpv."] = (
        "surfaces"
    )
    root: Annotated[Path | None, "The dataset's folder; `surfaces`, which is written below --output, and `elpv`, an "
                    "installed package's, need none."] = None  # fmt: skip
    categories: Annotated[
        tuple[str, ...] | None,
        Option("Categories, with commas or repeated.", names=("--category",), parse=parse_names, repeated=True),
    ] = None
    out: Annotated[Path, Option("Result folder; a grid is continued there.", names=("-o", "--output"))] = Path("eval")
    model: Annotated[str, MODEL_HELP] = "wide_resnet50_2"
    layers: Annotated[
        tuple[tuple[str, ...], ...],
        Option(
            "Layers for patchcore and padim in the place of their own, of layer1 to layer4 (stride 4 to 32), with "
            "commas; repeat for several sets.",
            parse=parse_layers,
            repeated=True,
        ),
    ] = ()
    seeds: Annotated[tuple[int, ...], Option("Seeds, such as 0,1,2.", parse=parse_seeds, default="0")] = (0,)
    shots: Annotated[int | None, "Few-shot: number of training images, drawn by the seed."] = None
    protocol: Annotated[str, "honest: fixed epochs. paper: stops on the test set, as the paper's tables did."] = (
        "honest"
    )
    limit: Annotated[str | None, "small for a trial run, or a number of training and of test images."] = None
    input_norm: Annotated[InputNorm, "Normalisation. checkpoint: the weights' own; imagenet: as the paper did."] = (
        "checkpoint"
    )
    map_size: Annotated[str, "evaluation, or original: pixel metrics at the files' size."] = "evaluation"
    overrides: Annotated[
        Mapping[str, Mapping[str, object]], Option(SETTINGS_HELP, names=("--settings",), parse=parse_settings)
    ] = field(default_factory=dict)
    shard: Annotated[
        tuple[int, int],
        Option("i/n: only every n-th cell, from the i-th, counted from 0.", parse=parse_shard, default="0/1"),
    ] = (0, 1)
    rerun: Annotated[bool, "Run finished cells again."] = False


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
    settings = check_names(request)
    request = dataclasses.replace(request, model=network(request.model).name)
    choices = [_choices(request, method, table) for method, table in settings.items()]
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


def check_names(request: Request) -> dict[str, Table]:
    """Refuse what can be told from names alone, before anything heavy is imported.

    Returns:
        The settings of each method, those with a name here in their order, then the others.

    Raises:
        EvaluationError: a name is unknown, a number out of range, or a file or folder not there.
    """
    one_of(request.protocol, PROTOCOLS, "protocol")
    one_of(request.map_size, ("evaluation", "original"), "map size")
    if not request.methods or not request.weights or not request.seeds:
        raise EvaluationError("nothing to do: name at least one method, one of the weights and one seed")
    settings = {}
    order = tuple(KNOWN)
    for method in sorted(request.methods, key=lambda name: order.index(name) if name in order else len(order)):
        layers, overrides = request.layers if method in LAYER_CHOICE else (), request.overrides.get(method)
        small = request.limit == "small"
        settings[method] = settings_for(method, small, overrides, protocol=request.protocol, layers=layers)
        if request.protocol == "paper" and method not in METHODS:
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
    return settings


def _check_files(request: Request) -> None:
    check_root(request.dataset, request.root)
    source = dataset(request.dataset)
    for category in request.categories or ():
        one_of(category, source.categories(request.root or Path()), f"category of {request.dataset}")
    names = [spec.name for spec in request.weights]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise EvaluationError(f"weights {twice!r} are given twice: give each file a name of its own")


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
    request: Request, choices: list[list[MethodChoice]], categories: dict[str, Category], weights: dict[str, Weights]
) -> list[Cell]:
    digests = {name: _listing_digest(category) for name, category in categories.items()}
    weights_digests = {name: w.digest for name, w in weights.items()}
    cells = []
    for category, ways, name, seed in product(categories, choices, weights, request.seeds):
        data = DataChoice(request.dataset, category, digests[category], request.shots, request.limit)
        choice = WeightsChoice(name, weights_digests[name], request.model, request.input_norm)
        cells += [Cell(how, data, choice, seed) for how in ways]
    return cells


def _choices(request: Request, method: str, settings: Table) -> list[MethodChoice]:
    """A method with each of its layer sets, by their names here; None for its own.

    Raises:
        EvaluationError: the network does not serve the method, or has no such layer.
    """
    sets: list[tuple[str, ...] | None] = []
    for layers in request.layers if method in LAYER_CHOICE and request.layers else (None,):
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
