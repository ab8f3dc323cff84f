"""What a grid will take, roughly: time, memory and disk, before it starts.

Times come from this result folder's own finished cells where there are any of the same method and
model. Otherwise they are a rule of thumb: seconds per image and epoch with resnet18 at 256 pixels on
two CPU cores, times the network's cost beside resnet18's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.plan import Plan
from fracgen_eval.grid.result import CellResult, Measurement
from fracgen_eval.grid.results import read_results
from fracgen_eval.methods import settings_of
from fracgen_eval.methods.padim import PadimSettings
from fracgen_eval.methods.settings import IMAGE_LEVEL
from fracgen_eval.weights.network import network

COST_MODEL = "resnet18"
"""The network to whose multiplications others' are set in proportion."""
CPU_SECONDS = {
    "fastflow": 0.7, "cflow": 2.0, "patchcore": 0.1, "padim": 0.1, "rd": 0.25, "stfpm": 0.15, "panda": 0.05,
    "cutpaste": 0.4,
}  # fmt: skip
OTHER_SECONDS = 0.3
"""Of Anomalib's other models, which differ."""
START_S, CELL_S = 12.0, 1.5
"""Once for a process: Anomalib's import and torch's first steps. For each cell: building a model, files."""
GPU_SPEEDUP = 30.0
MEMORY_GB, MEMORY_GROWTH = 2.0, 0.6
"""Of a cell with resnet18, and the power of the cost with which it grows: 6 GB with wide_resnet50_2."""


@dataclass(frozen=True)
class Estimate:
    """For all pending cells together; memory for the hungriest one."""

    seconds: float
    memory_gb: float
    disk_mb: float
    measured: int
    """Cells whose time comes from finished ones like them."""


def estimate(plan: Plan, jobs: int, device: str, keep_maps: bool) -> Estimate:
    """What the pending cells of a plan will take."""
    seconds, disk, measured = 0.0, 0.0, 0
    for cell, (time, known) in seconds_of(plan, device).items():
        seconds, measured = seconds + time, measured + known
        side = int(cell.method.settings.get("image_size", 0))
        maps = keep_maps and cell.method.name not in IMAGE_LEVEL
        disk += 0.03 + (4.0 * len(plan.data(cell).test) * side**2 / 1e6 if maps else 0)
    seconds += START_S * (measured < len(plan.pending))
    memory = max((_memory_gb(cell, len(plan.data(cell).train)) for cell in plan.pending), default=0.0)
    return Estimate(seconds / max(1, jobs), memory * max(1, jobs), disk, measured)


def seconds_of(plan: Plan, device: str) -> dict[Cell, tuple[float, bool]]:
    """Seconds of every pending cell without its process's start, and whether they were measured on cells like it."""
    before, found = measured_seconds(plan.request.out), {}
    for cell in plan.pending:
        data, like = plan.data(cell), before.get(_kind(cell, device))
        guess = like or _rule_of_thumb(cell, len(data.train), len(data.test), device)
        found[cell] = (guess, like is not None)
    return found


def measured_seconds(out: Path) -> dict[tuple[str, str, str, str], float]:
    """Mean wall time of finished cells by method, model, limit and device."""
    times: dict[tuple[str, str, str, str], list[float]] = {}
    for _, result in read_results(out):
        if not isinstance(result, CellResult) or not isinstance(result.outcome, Measurement):
            continue
        if result.cost.wall_s is not None and result.origin.device is not None:
            times.setdefault(_kind(result.cell, result.origin.device), []).append(result.cost.wall_s)
    return {k: sum(v) / len(v) for k, v in times.items()}


def _kind(cell: Cell, device: str) -> tuple[str, str, str, str]:
    """Cells of one kind take about the same time."""
    return cell.method.name, cell.weights.model, cell.data.limit or "", device


def _rule_of_thumb(cell: Cell, train: int, test: int, device: str) -> float:
    method, settings, model = cell.method.name, cell.method.settings, cell.weights.model
    epochs = settings.get("epochs" if cell.method.protocol == "honest" else "most_epochs", 1)
    images = train * epochs
    if method == "cutpaste":
        images = settings["steps"] * settings["batch"]
    side = settings.get("image_size") or settings["crop"]
    seconds = CPU_SECONDS.get(method, OTHER_SECONDS) * _cost(model) * (images + test) * (side / 256) ** 2
    if method == "patchcore":
        # The coreset's greedy search: selected patches times patches.
        patches = train * (side // 8) ** 2
        seconds += settings["coreset"] * patches**2 * 5e-7
    return float(CELL_S + seconds / (GPU_SPEEDUP if device == "cuda" else 1))


def _memory_gb(cell: Cell, train: int) -> float:
    how, model = cell.method, cell.weights.model
    settings, net = settings_of(how.name, how.settings, layers=how.layers, protocol=how.protocol), network(model)
    if not isinstance(settings, PadimSettings):
        return float(MEMORY_GB * max(1.0, _cost(model)) ** MEMORY_GROWTH)
    _, height, width = net.maps(settings.image_size)[settings.stages(net)[0].layer]
    features = settings.kept(net)
    return MEMORY_GB + height * width * features * max(features, train) * 4e-9  # inverses grow as embeddings shrink


def _cost(model: str) -> float:
    return network(model).cost / network(COST_MODEL).cost
