"""Images and points a second, with a breakdown by kernel."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from bench.gpu.clock import milliseconds
from bench.gpu.microbenchmarks import clock_hz
from bench.gpu.parity import small_bank
from fracgen.benchmarking.loader import bench_loader
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import PRESETS
from fracgen.rendering.cuda.renderer import CudaRenderer

SCRATCH = 1 << 30
"""Room for a whole batch between the kernels: parts would add waves that do not fill the device."""


def stages(renderer: CudaRenderer, index: Any, **options: Any) -> dict[str, float]:
    """Device milliseconds of each kernel over one batch, from events around every launch."""
    backend, marks = renderer.pipeline.backend, []
    launch = backend.launch
    names = {id(f): key[0] for key, f in renderer.pipeline.functions.items()}

    def timed(function: Any, *arguments: Any) -> None:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        launch(function, *arguments)
        end.record()
        marks.append((names[id(function)], begin, end))

    renderer.render(index, **options)  # keeps the device busy while the timed launches are queued
    backend.launch = timed
    try:
        renderer.render(index, **options)
    finally:
        backend.launch = launch
    torch.cuda.synchronize()
    total: dict[str, float] = {}
    for name, begin, end in marks:
        total[name] = total.get(name, 0.0) + begin.elapsed_time(end)
    return total


def measure(batch: int) -> list[dict[str, Any]]:
    """`render` of the results file: every recipe in uint8, and in bfloat16 with its channels last."""
    rows = []
    for name, preset in PRESETS.items():
        renderer = CudaRenderer(small_bank(name), preset.recipe, scratch_bytes=SCRATCH)
        for dtype in (torch.uint8, torch.bfloat16):
            options = {"dtype": dtype, "channels_last": dtype == torch.bfloat16}
            n = min(batch, full_batch(renderer, options))
            index = torch.arange(n, dtype=torch.int32, device="cuda")
            ms = milliseconds(lambda r=renderer, i=index, o=options: r.render(i, **o))
            rows.append({
                "recipe": name, "size": preset.recipe.size, "dtype": str(dtype).removeprefix("torch."), "batch": n,
                "images_per_s": n / (ms / 1e3), "stages": stages(renderer, index, **options),
            })  # fmt: skip
    return rows


def full_batch(renderer: CudaRenderer, options: dict[str, Any]) -> int:
    """Images of about 50 ms, so that a slow recipe does not take the time of all others; a wave at least."""
    wave = torch.cuda.get_device_properties(0).multi_processor_count
    index = torch.arange(wave, dtype=torch.int32, device="cuda")
    seconds = []
    for _ in range(2):  # the first compiles
        torch.cuda.synchronize()
        begin = time.perf_counter()
        renderer.render(index, **options)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return max(1, round(50e-3 / seconds[1])) * wave


def stage_cycles(batch: int) -> dict[str, Any]:
    """`stages` of the results file: cycles an image that each kernel of `paper` takes of one multiprocessor.

    The clock is the one that a loop of known length had just before, so it is the clock under load.
    """
    renderer = CudaRenderer(small_bank("paper"), PRESETS["paper"].recipe, scratch_bytes=SCRATCH)
    index = torch.arange(batch, dtype=torch.int32, device="cuda")
    milliseconds(lambda: renderer.render(index))
    clock = clock_hz()
    count = torch.cuda.get_device_properties(0).multi_processor_count
    runs = [stages(renderer, index) for _ in range(9)]
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {
        "recipe": "paper", "batch": batch, "clock_hz": clock, "milliseconds": median,
        "cycles": {name: ms / 1e3 * clock * count / batch for name, ms in median.items()},
    }  # fmt: skip


def loader(batches: Sequence[int]) -> list[dict[str, Any]]:
    """`loader` of the results file: images a second that `FractalLoader` hands over, drained."""
    preset = PRESETS["paper"]
    found = bench_loader(preset.bank, preset.recipe, device="cuda", batch=list(batches), rounds=3)
    return [{"name": name, "images_per_s": r["median"], "spread": r["spread"]} for name, r in found["results"].items()]


def chaos_game(batch: int) -> dict[str, Any]:
    """`chaos_game` of the results file: points a second of the chaos game alone.

    The attractor kernel also makes densities; the difference between 100,000 points and 1,024, which
    costs the same otherwise, is the game's own time.
    """
    bank, recipe = small_bank("paper"), PRESETS["paper"].recipe
    index = torch.arange(batch, dtype=torch.int32, device="cuda")
    times = {}
    for points in (1024, recipe.points):
        renderer = CudaRenderer(bank, dataclasses.replace(recipe, points=points), scratch_bytes=2 << 30)
        renderer.render(index)
        times[points] = sorted(stages(renderer, index)["attractor"] for _ in range(9))[4]
    drawn = (recipe.points - 1024) * batch
    return {
        "points_per_s": drawn / ((times[recipe.points] - times[1024]) / 1e3),
        "points_per_s_with_densities": recipe.points * batch / (times[recipe.points] / 1e3),
        "batch": batch,
    }


def epoch(images: int, batch: int) -> dict[str, Any]:
    """`epoch` of the results file: one whole epoch of labelled images through the batch API, wall clock.

    Every batch lands in a tensor of its own on the device; nothing comes to the host.
    """
    bank = CodeBank.sample(100_000, seed=0, classes=1000)
    renderer = CudaRenderer(bank, PRESETS["paper"].recipe, scratch_bytes=SCRATCH)
    for number in (0, 1):  # the first is the warm-up
        total = images if number else 4 * batch
        torch.cuda.synchronize()
        begin = time.perf_counter()
        seen = 0
        for first in range(0, total, batch):
            count = min(batch, total - first)
            indices, labels = renderer.order(first, count, images, epoch=number)
            pictures = renderer.render(indices, epoch=number).images
            seen += len(pictures) * (len(labels) == count)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
    return {"images": seen, "seconds": seconds, "images_per_s": seen / seconds, "batch": batch, "classes": bank.classes}
