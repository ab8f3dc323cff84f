"""One cell, from images to a result: load, fit, predict, measure."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fracgen.support.files import whole_file
from fracgen.support.provenance import version_of
from fracgen_eval.datasets import Category, Sample
from fracgen_eval.datasets.base import THRESHOLD_QUANTILE, hold_out
from fracgen_eval.decode import from_json
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import (
    CellResult,
    Cost,
    Failure,
    ImageScore,
    Judged,
    Measurement,
    Origin,
    Scores,
    Threshold,
    Training,
)
from fracgen_eval.grid.results import maps_path, write_result
from fracgen_eval.images import OriginalSize, load_images
from fracgen_eval.methods import Method, Prediction, Watch, build_method
from fracgen_eval.metrics import (
    aupro_of,
    auroc,
    average_precision,
    best_f1_threshold,
    count_pixels,
    f1_max,
    pixel_auroc_of,
)
from fracgen_eval.metrics.bootstrap import image_replicates, pixel_replicates, resamples
from fracgen_eval.weights.backbones import Weights

AUPRO_LIMITS = {"aupro": 0.3, "aupro_05": 0.05}
"""False-positive rates: MVTec AD's usual one, and MVTec AD 2's stricter one."""
AUPRO_DEFINITION = "official MVTec AD: 8-connected regions, trapezoid to FPR 0.3, divided by 0.3, in [0, 1]"
PACKAGES = ("fracgen", "torch", "torchvision", "timm", "anomalib", "lightning", "scikit-learn", "scikit-image", "numpy")


@dataclass(frozen=True)
class Options:
    """How cells are run, whichever they are."""

    out: Path
    """Result folder."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    keep_maps: bool = False
    """Write score maps and masks beside the results."""
    rerun: bool = False
    """Run finished cells again."""


def run_cell(cell: Cell, category: Category, weights: Callable[[], Weights], options: Options) -> CellResult:
    """Run a cell and write its result; a failure is written too, with its traceback.

    Args:
        cell: what to do.
        category: its images.
        weights: loads its weights.
        options: how.
    """
    start = time.perf_counter()
    _reset_peak(options.device)
    seconds: dict[str, float] = {}
    outcome: Measurement | Failure
    try:
        outcome = _measured(cell, category, weights(), options, seconds)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        message = str(error).strip().splitlines()
        name, seconds = type(error).__name__, {}
        outcome = Failure(name, message[0] if message else name, traceback.format_exc())
    seconds["wall_s"] = round(time.perf_counter() - start, 3)
    result = CellResult(cell, outcome, _cost(seconds, options.device), origin(options.device))
    write_result(options.out, result)
    return result


def origin(device: str) -> Origin:
    """This machine, now."""
    return Origin(device, versions(), platform.platform(), datetime.now(UTC).isoformat(timespec="seconds"))


def _measured(
    cell: Cell, category: Category, weights: Weights, options: Options, seconds: dict[str, float]
) -> Measurement:
    """Fit, predict and measure; `seconds` gets what each took."""
    if weights.digest != cell.weights.digest:
        raise EvaluationError(
            f"the file of weights {cell.weights.name} has changed since the grid began: start it again"
        )
    choice, test = cell.method, category.test
    method = build_method(
        choice.name, weights, choice.settings, layers=choice.layers, protocol=choice.protocol, seed=cell.seed,
        device=options.device,
    )  # fmt: skip
    train, held = _split(load_images([s.path for s in category.train], method.geometry), cell)
    images = load_images([s.path for s in test], method.geometry)
    masks = np.stack([method.geometry.mask(s) for s in test]) if category.has_masks else None
    with _timed(seconds, "fit_s"):
        facts = method.fit(train, _watch(cell, images, masks))
    with _timed(seconds, "predict_s"):
        prediction = method.predict(images)
    with _timed(seconds, "metrics_s"):
        scores, threshold = measure(cell, test, prediction, masks)
        if held is not None and prediction.maps is not None:
            threshold = _normal_threshold(method, held)
    maps = _keep_maps(options.out, cell, prediction, masks) if options.keep_maps else None
    judged = tuple(
        ImageScore(_relative(s.path, category.root), s.defect, float(score))
        for s, score in zip(test, prediction.scores, strict=True)
    )
    return Measurement(
        scores,
        Training(weights.describe(), facts, len(train), 0 if held is None else len(held)),
        Judged(method.geometry.side, maps, threshold, judged),
    )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 3)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _split(images: Any, cell: Cell) -> tuple[Any, Any]:
    """Training images, and those that `honest` keeps back; None where it keeps none."""
    if cell.method.protocol != "honest":
        return images, None
    train, held = hold_out(len(images), cell.seed)
    return images[train], images[held] if len(held) else None


def _normal_threshold(method: Method, held: Any) -> Threshold:
    normal: Any = method.predict(held).maps
    return Threshold(float(np.quantile(normal, THRESHOLD_QUANTILE)), "held-out normal images")


def _watch(cell: Cell, images: Any, masks: Any) -> Watch | None:
    if cell.method.protocol != "paper" or masks is None:
        return None

    def pixel_auroc(prediction: Prediction) -> float:
        assert prediction.maps is not None
        return pixel_auroc_of(count_pixels(list(prediction.maps), masks))

    return Watch(images, pixel_auroc)


def measure(
    cell: Cell, test: Sequence[Sample], prediction: Prediction, masks: Any
) -> tuple[Scores, Threshold | None]:
    """The metrics over all test images and per defect type, each beside the good ones; and a mask threshold.

    Args:
        cell: names the protocol and the size at which maps are compared.
        test: the test images.
        prediction: what the method says about them.
        masks: bool [N, side, side], or None where the dataset has none.

    Raises:
        EvaluationError: a map or a score is not finite, or only one kind of image is there.
    """
    if prediction.maps is not None and not np.isfinite(prediction.maps).all():
        raise EvaluationError("the maps hold numbers that are not finite: the method diverged; try another seed")
    labels = [s.anomalous for s in test]
    maps: Any = prediction.maps
    truth: Any = masks
    if cell.method.map_size == "original" and maps is not None and masks is not None:
        maps = OriginalSize(test, maps)
        truth = maps.masks()
    metrics: dict[str, float] = {
        "image_auroc": auroc(labels, prediction.scores), "image_ap": average_precision(labels, prediction.scores),
        "image_f1_max": f1_max(labels, prediction.scores),
    }  # fmt: skip
    threshold = None
    resampled = resamples(labels, [int.from_bytes(hashlib.sha256(cell.data.digest.encode()).digest()[:8], "big")])
    replicates = image_replicates(labels, prediction.scores, resampled)
    if maps is not None and truth is not None:
        counts = count_pixels(maps, truth)
        metrics |= {"pixel_auroc": pixel_auroc_of(counts)}
        metrics |= {name: aupro_of(counts, limit) for name, limit in AUPRO_LIMITS.items()}
        replicates |= pixel_replicates(maps, truth, resampled, AUPRO_LIMITS)
        threshold = Threshold(best_f1_threshold(counts), "best pixel F1 on the test set")
    by_defect: dict[str, dict[str, float]] = {}
    for defect in sorted({s.defect for s in test if s.anomalous}):
        chosen = [n for n, s in enumerate(test) if s.defect in (defect, "good")]
        by_defect[defect] = {"image_auroc": auroc([labels[n] for n in chosen], prediction.scores[chosen])}
        if maps is not None and truth is not None:
            counts = count_pixels(_Chosen(maps, chosen), _Chosen(truth, chosen))
            by_defect[defect] |= {"pixel_auroc": pixel_auroc_of(counts), "aupro": aupro_of(counts)}
    beside = {name: {"image_auroc": auroc(labels, scores)} for name, scores in prediction.beside.items()}
    return (
        Scores(metrics, by_defect, beside, AUPRO_DEFINITION, {k: tuple(v.round(4)) for k, v in replicates.items()}),
        threshold if cell.method.protocol == "paper" else None,
    )


class _Chosen(Sequence[Any]):
    def __init__(self, items: Any, chosen: list[int]) -> None:
        self.items, self.chosen = items, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, n: Any) -> Any:
        return self.items[self.chosen[n]]


def _keep_maps(out: Path, cell: Cell, prediction: Prediction, masks: Any) -> str | None:
    """Write the maps; the file's path below the result folder, None where the method gives no maps."""
    if prediction.maps is None:
        return None
    path = maps_path(out, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.float16 if np.abs(prediction.maps).max() < 60_000 else np.float32
    with whole_file(path) as file:
        np.savez_compressed(file, maps=prediction.maps.astype(kind), **({} if masks is None else {"masks": masks}))
    return path.relative_to(out).as_posix()


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    installed = {package: version for package in PACKAGES if (version := version_of(package)) is not None}
    return {"python": platform.python_version()} | installed


def _reset_peak(device: str) -> None:
    gc.collect()  # the cell before this one leaves cycles behind, and gigabytes in them
    with contextlib.suppress(OSError):  # only Linux has it; elsewhere the peak is the process's so far
        Path("/proc/self/clear_refs").write_text("5")
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def _cost(seconds: dict[str, float], device: str) -> Cost:
    """Seconds, and peak memory of this process during the cell."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
    table = seconds | {"peak_memory_mb": peak}
    if device == "cuda":
        import torch

        table["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() >> 20
    return from_json(Cost, table)
