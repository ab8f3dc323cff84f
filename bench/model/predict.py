"""From simulated cycles to what a card should do: bounds, images a second, time of a batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.model.machine import Card
from bench.model.tree import ROOT

BATCHES = (64, 512, 4096)
IF_WRONG: dict[str, dict[str, float]] = {
    "wide loads of shared memory are served whole": {"merge_wide_loads": 1},
    "atomics on equal words cost one pass": {"merge_equal_atomics": 1},
    "a taken branch costs 24 cycles, a barrier 40": {"branch_cycles": 24, "barrier_cycles": 40},
    "memory answers in 1,000 cycles, L2 in 500": {"memory_latency": 1000, "l2_latency": 500},
}
"""Other numbers of the multiprocessor, under which the first recipe is simulated too."""
GAP_S = 1.0e-6
"""Between two launches of a stream, from the last block's end to the next first one's start."""
LATENCY_BELOW = 0.75
"""Where no unit is busier, a stage waits more than it works."""


class WorkerError(RuntimeError):
    """A worker process failed; the message is the end of what it said."""


@dataclass(frozen=True)
class Prediction:
    """A recipe's figures; `stages` are `worker.Stage` as dictionaries."""

    recipe: str
    stages: list[dict[str, Any]]
    batches: list[dict[str, float]]
    verified: dict[str, Any] | None

    @property
    def cycles(self) -> float:
        """Of one multiprocessor, an image, all stages."""
        return sum(stage["cycles"] for stage in self.stages)

    def images_per_s(self, card: Card) -> float:
        """Full batches, launches without gaps; a stage takes no less than its memory traffic."""
        cycles = sum(max(s["cycles"], s["bytes"] / card.memory_bytes_per_cycle) for s in self.stages)
        return card.multiprocessors * card.clock_hz / cycles

    def batch_seconds(self, card: Card, images: int) -> float:
        """A batch, with what the fullest multiprocessor gets of it and the gaps between launches."""
        cycles = next(b for b in self.batches if b["images"] == images)
        total = 0.0
        for stage in self.stages:
            memory = stage["bytes"] * images / card.multiprocessors / card.memory_bytes_per_cycle
            total += max(cycles[stage["kernel"]], memory) / card.clock_hz + GAP_S
        return total


def bound(stage: dict[str, Any], card: Card) -> tuple[str, float]:
    """What bounds a stage, and how busy that is."""
    busy = {"issue": stage["busy"]["issue"], **stage["busy"]}
    busy["device memory"] = stage["bytes"] / card.memory_bytes_per_cycle / stage["cycles"]
    unit = max(busy, key=lambda name: busy[name])
    return (unit if busy[unit] >= LATENCY_BELOW else f"latency ({unit})"), busy[unit]


def predict(
    folder: Path, recipes: Sequence[str], options: dict[str, Any], batches: tuple[int, ...] = BATCHES
) -> dict[str, Prediction]:
    """Simulate recipes of a source tree, in as many processes as there are CPUs.

    Args:
        folder: of the source tree.
        recipes: names of presets; none: all that the tree has.
        options: of `worker.Job`.
        batches: sizes whose time is wanted, of the first recipe.

    Raises:
        ValueError: the tree has no such recipe.
        WorkerError: its kernels do not compile or cannot be simulated.
    """
    known = recipes_of(folder)
    for name in recipes:
        if name not in known:
            raise ValueError(f"unknown recipe {name!r}: use one of {', '.join(known)}")
    recipes = list(recipes) or known
    jobs = [{**options, "recipe": name, "batches": batches if k == 0 else ()} for k, name in enumerate(recipes)]
    results = dict(zip(recipes, _spread(folder, jobs), strict=True))
    return {
        name: Prediction(name, results[name]["stages"], results[name]["batches"], results[name].get("verified"))
        for name in recipes
    }


def sensitivity(folder: Path, recipe: str, options: dict[str, Any]) -> dict[str, Prediction]:
    """What a recipe would cost if an assumption is wrong: by `IF_WRONG`."""
    usual = options.get("machine", {})
    jobs = [{**options, "recipe": recipe, "verify": False, "machine": usual | m} for m in IF_WRONG.values()]
    results = _spread(folder, jobs)
    return {label: Prediction(recipe, r["stages"], [], None) for label, r in zip(IF_WRONG, results, strict=True)}


def recipes_of(folder: Path) -> list[str]:
    """Names of the presets of a source tree."""
    return _work(folder, [])[0]


def _spread(folder: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results of jobs, in their order, from as many processes as there are CPUs."""
    processes = max(1, min(len(os.sched_getaffinity(0)), len(jobs)))
    with ThreadPoolExecutor(processes) as pool:
        shares = list(pool.map(lambda k: _work(folder, jobs[k::processes]), range(processes)))
    return [shares[k % processes][k // processes] for k in range(len(jobs))]


def _work(folder: Path, jobs: list[dict[str, Any]]) -> list[Any]:
    """What a worker process prints: a line a job."""
    command = [sys.executable, "-m", "bench.model.worker", str(folder), *map(json.dumps, jobs)]
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        errors.seek(0)
        said = errors.read()
    if done.returncode:
        raise WorkerError(f"simulating {', '.join(j['recipe'] for j in jobs) or 'nothing'} failed:\n{said[-3000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]

