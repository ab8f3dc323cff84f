"""One cell, from pictures to a result: load, fit, judge, measure."""

from __future__ import annotations

import contextlib
import gc
import platform
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from fracgen.support.files import whole_file
from fracgen_eval.datasets import Category, Sample
from fracgen_eval.errors import EvaluationError
from fracgen_eval.grid.results import DONE, FAILED, Cell, maps_path, write_result
from fracgen_eval.images import Geometry, OriginalSize, load_images
from fracgen_eval.methods import Prediction, Watch, build_method
from fracgen_eval.metrics import aupro_of, auroc, best_f1_threshold, count_pixels, pixel_auroc_of
from fracgen_eval.weights.backbones import Weights

AUPRO_DEFINITION = "official MVTec AD: 8-connected regions, trapezoid to FPR 0.3, divided by 0.3, in [0, 1]"
HELD_OUT, HELD_OUT_FROM = 0.1, 10
"""Share of the training images that `honest` keeps back to find a mask threshold, and from how many on."""
THRESHOLD_QUANTILE = 0.995
PACKAGES = ("fracgen", "torch", "torchvision", "timm", "anomalib", "lightning", "scikit-learn", "scikit-image", "numpy")


def run_cell(
    cell: Cell, category: Category, weights: Callable[[], Weights], out: Path, device: str, keep_maps: bool
) -> str:
    """Run a cell and write its result; a failure is written too, with its traceback.

    Args:
        cell: what to do.
        category: its pictures.
        weights: loads its weights.
        out: result folder.
        device: `cpu` or `cuda`.
        keep_maps: write score maps and masks beside the result.

    Returns:
        `done` or `failed`.
    """
    start = time.perf_counter()
    _reset_peak(device)
    try:
        result = {"status": DONE} | _measured(cell, category, weights(), out, device, keep_maps)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        message = str(error).strip().splitlines()
        result = {
            "status": FAILED,
            "error": {
                "type": type(error).__name__, "message": message[0] if message else type(error).__name__,
                "traceback": traceback.format_exc(),
            },
        }  # fmt: skip
    result |= {
        "wall_s": round(time.perf_counter() - start, 3), **_peak(device),
        "device": device, "versions": versions(), "machine": platform.platform(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    write_result(out, cell, result)
    return str(result["status"])


def _measured(
    cell: Cell, category: Category, weights: Weights, out: Path, device: str, keep_maps: bool
) -> dict[str, Any]:
    if weights.digest != cell.weights_digest:
        raise EvaluationError(f"the file of weights {cell.weights} has changed since the grid began: start it again")
    method = build_method(
        cell.method, weights, cell.settings, layers=cell.layers, protocol=cell.protocol, seed=cell.seed, device=device
    )
    geometry, test = method.geometry, category.test
    train, held = _split(load_images([s.path for s in category.train], geometry), cell)
    images = load_images([s.path for s in test], geometry)
    masks = np.stack([geometry.mask(s) for s in test]) if category.has_masks else None
    clock = [time.perf_counter()]
    facts = method.fit(train, _watch(cell, images, masks))
    clock.append(time.perf_counter())
    prediction = method.predict(images)
    clock.append(time.perf_counter())
    metrics, by_defect, threshold = _metrics(cell, geometry, test, prediction, masks)
    if held is not None and prediction.maps is not None:
        normal: Any = method.predict(held).maps
        threshold = {"value": float(np.quantile(normal, THRESHOLD_QUANTILE)), "rule": "held-out normal images"}
    clock.append(time.perf_counter())
    kept = _keep_maps(out, cell, prediction, masks) if keep_maps and prediction.maps is not None else None
    return {
        "metrics": metrics, "by_defect": by_defect, "weights": weights.describe(),
        "beside": {k: {"image_auroc": auroc([s.anomalous for s in test], v)} for k, v in prediction.beside.items()},
        "aupro_definition": AUPRO_DEFINITION, "mask_threshold": threshold, "fit": facts, "maps": kept,
        "train_images": len(train), "held_out_images": 0 if held is None else len(held), "side": geometry.side,
        "images": [
            {"path": _relative(s.path, category.root), "defect": s.defect, "score": float(score)}
            for s, score in zip(test, prediction.scores, strict=True)
        ],
        **{f"{k}_s": round(b - a, 3) for k, a, b in zip(("fit", "predict", "metrics"), clock, clock[1:], strict=False)},
    }  # fmt: skip


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _split(images: Any, cell: Cell) -> tuple[Any, Any]:
    """Training images, and those that `honest` keeps back."""
    if cell.protocol != "honest" or len(images) < HELD_OUT_FROM:
        return images, None
    order = np.random.default_rng([cell.seed, 0x4E1D]).permutation(len(images))
    back = round(len(images) * HELD_OUT)
    return images[np.sort(order[back:])], images[np.sort(order[:back])]


def _watch(cell: Cell, images: Any, masks: Any) -> Watch | None:
    if cell.protocol != "paper" or masks is None:
        return None

    def pixel_auroc(prediction: Prediction) -> float:
        assert prediction.maps is not None
        return pixel_auroc_of(count_pixels(list(prediction.maps), masks))

    return Watch(images, pixel_auroc)


def _metrics(
    cell: Cell, geometry: Geometry, test: Sequence[Sample], prediction: Prediction, masks: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """The three metrics over all test images, per defect type beside the good ones, and a mask threshold."""
    threshold = None
    if prediction.maps is not None and not np.isfinite(prediction.maps).all():
        raise EvaluationError("the maps hold numbers that are not finite: the method diverged; try another seed")
    metrics: dict[str, Any] = {"image_auroc": auroc([s.anomalous for s in test], prediction.scores)}
    maps: Any = prediction.maps
    truth: Any = masks
    if cell.map_size == "original" and prediction.maps is not None and masks is not None:
        maps = OriginalSize(test, prediction.maps)
        truth = maps.masks()
    if maps is not None and truth is not None:
        counts = count_pixels(maps, truth)
        metrics |= {"pixel_auroc": pixel_auroc_of(counts), "aupro": aupro_of(counts)}
        threshold = {"value": best_f1_threshold(counts), "rule": "best pixel F1 on the test set"}
    by_defect: dict[str, Any] = {}
    for defect in sorted({s.defect for s in test if s.anomalous}):
        chosen = [n for n, s in enumerate(test) if s.defect in (defect, "good")]
        by_defect[defect] = {"image_auroc": auroc([test[n].anomalous for n in chosen], prediction.scores[chosen])}
        if maps is not None and truth is not None:
            counts = count_pixels(_Chosen(maps, chosen), _Chosen(truth, chosen))
            by_defect[defect] |= {"pixel_auroc": pixel_auroc_of(counts), "aupro": aupro_of(counts)}
    return metrics, by_defect, threshold if cell.protocol == "paper" else None


class _Chosen(Sequence[Any]):
    def __init__(self, items: Any, chosen: list[int]) -> None:
        self.items, self.chosen = items, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, n: Any) -> Any:
        return self.items[self.chosen[n]]


def _keep_maps(out: Path, cell: Cell, prediction: Prediction, masks: Any) -> str:
    assert prediction.maps is not None
    path = maps_path(out, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.float16 if np.abs(prediction.maps).max() < 60_000 else np.float32
    with whole_file(path) as file:
        np.savez_compressed(file, maps=prediction.maps.astype(kind), **({} if masks is None else {"masks": masks}))
    return path.relative_to(out).as_posix()


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _reset_peak(device: str) -> None:
    gc.collect()  # the cell before this one leaves cycles behind, and gigabytes in them
    with contextlib.suppress(OSError):  # only Linux has it; elsewhere the peak is the process's so far
        Path("/proc/self/clear_refs").write_text("5")
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def _peak(device: str) -> dict[str, int]:
    """Peak memory of this process during the cell, in MB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
    if device != "cuda":
        return {"peak_memory_mb": peak}
    import torch

    return {"peak_memory_mb": peak, "peak_gpu_memory_mb": torch.cuda.max_memory_allocated() >> 20}
