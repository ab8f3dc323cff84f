"""One cell, from images to a result: load, fit, predict, measure."""

from __future__ import annotations

import contextlib
import gc
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fracgen.slurm.queue import job_here
from fracgen.support.decode import from_json
from fracgen.support.files import whole_file
from fracgen.support.provenance import versions
from fracgen_eval.datasets import Category
from fracgen_eval.datasets.base import THRESHOLD_QUANTILE, split
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import (
    DONE,
    CellResult,
    Cost,
    Failure,
    ImageScore,
    Judged,
    Measurement,
    Origin,
    Threshold,
    Training,
)
from fracgen_eval.grid.results import found_result, lock, maps_path, write_result
from fracgen_eval.grid.scoring import Thresholds, score
from fracgen_eval.images import load_images
from fracgen_eval.methods import Prediction, Watch, build_method
from fracgen_eval.metrics import count_pixels, normal_threshold, pixel_auroc
from fracgen_eval.weights.backbones import Weights

if TYPE_CHECKING:
    import torch

Masks = NDArray[np.bool_]
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


def run_cell(cell: Cell, category: Category, weights: Callable[[], Weights], options: Options) -> CellResult | None:
    """Run a cell, unless another process has finished it, and write its result; a failure's, too, with its traceback.

    Args:
        cell: what to do.
        category: its images.
        weights: loads its weights.
        options: how.

    Returns:
        What came of it; None where another process is working on it.
    """
    with lock(options.out, cell) as mine:
        if not mine:
            return None
        # Another process may have finished the cell since the plan was made; so may this job, before it was preempted.
        before, job = found_result(options.out, cell), job_here()
        if before is not None and before.status == DONE and (not options.rerun or before.origin.job == job is not None):
            return before
        start, seconds = time.perf_counter(), dict[str, float]()
        _reset_peak(options.device)
        outcome: Measurement | Failure
        try:
            outcome = _measured(cell, category, weights(), options, seconds)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            message, name = str(error).strip().splitlines(), type(error).__name__
            seconds.clear()
            outcome = Failure(name, message[0] if message else name, traceback.format_exc())
        seconds["wall_s"] = round(time.perf_counter() - start, 3)
        result = CellResult(cell, outcome, _cost(seconds, options.device), origin(options.device))
        write_result(options.out, result)
        return result


def origin(device: str) -> Origin:
    """This machine, now."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Origin(device, versions(*PACKAGES), platform.platform(), date, job_here())


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
    fitted, held_back = split(category, choice.protocol, cell.seed)
    train = load_images([s.path for s in fitted], method.geometry)
    held = load_images([s.path for s in held_back], method.geometry) if held_back else None
    images = load_images([s.path for s in test], method.geometry)
    masks = np.stack([method.geometry.mask(s) for s in test]) if category.has_masks else None
    with _timed(seconds, "fit_s"):
        facts = method.fit(train, _watch(cell, images, masks))
    with _timed(seconds, "predict_s"):
        prediction = method.predict(images)
    with _timed(seconds, "metrics_s"):
        normal = Thresholds() if held is None else _thresholds(method.predict(held), category)
        scores, threshold = score(cell, category, prediction, masks, normal)
    maps = _keep_maps(options.out, cell, prediction, masks) if options.keep_maps else None
    judged = tuple(
        ImageScore(_relative(s.path, category.root), s.defect, float(score))
        for s, score in zip(test, prediction.scores, strict=True)
    )
    return Measurement(
        scores,
        Training(weights.describe(), facts, len(train), 0 if held is None else len(held)),
        Judged(method.geometry.side, maps, threshold, normal.image, judged),
    )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 3)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _thresholds(normal: Prediction, category: Category) -> Thresholds:
    """Where to cut, by what a method says of normal images that it was not fitted on."""
    what = "validation images" if category.validation else "held-out normal images"
    image = Threshold(float(normal.scores.max()), f"highest of the {what}")
    if normal.maps is None:
        return Thresholds(None, image)
    if category.seg_f1:
        rule = "mean and three standard deviations of the validation images' maps"
        return Thresholds(Threshold(normal_threshold(normal.maps), rule), image)
    return Thresholds(Threshold(float(np.quantile(normal.maps, THRESHOLD_QUANTILE)), what), image)


def _watch(cell: Cell, images: torch.Tensor, masks: Masks | None) -> Watch | None:
    if cell.method.protocol != "paper" or masks is None:
        return None

    def watched(prediction: Prediction) -> float:
        assert prediction.maps is not None
        return pixel_auroc(count_pixels(prediction.maps, masks))

    return Watch(images, watched)


def _keep_maps(out: Path, cell: Cell, prediction: Prediction, masks: Masks | None) -> str | None:
    """Write the maps; the file's path below the result folder, None where the method gives no maps."""
    if prediction.maps is None:
        return None
    path = maps_path(out, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        if masks is None:
            np.savez_compressed(file, maps=prediction.maps)
        else:
            np.savez_compressed(file, maps=prediction.maps, masks=masks)
    return path.relative_to(out).as_posix()


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
