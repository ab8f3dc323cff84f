"""Throughput of a recipe: images and points per second, and each stage's share."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fracgen.benchmarking.timing import interleaved, make_record, result
from fracgen.formulas.banks import Bank, make_bank
from fracgen.recipes.recipe import BankSpec, Preset, Recipe
from fracgen.rendering import make_renderer

BANK_CODES = 1000


def bench_render(
    preset: Preset, recipe: Recipe, *, device: str = "auto", batch: int = 256, rounds: int = 9,
    threads: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Time batches of a recipe.

    Args:
        preset: whose kind of codes to draw; 1,000 of them, or as many as it has.
        recipe: what to make of them.
        device: as for `make_renderer`.
        batch: images per call.
        rounds: calls that are timed, each of other images.
        threads: CPU only.

    Returns:
        A checked record; see `fracgen.benchmarking.timing`.
    """
    if batch < 1:
        raise ValueError(f"batch {batch} is out of range: use 1 or more")
    renderer = make_renderer(_bank(preset), recipe, device, threads=threads)
    epoch = iter(range(2**32))
    codes_drawn: list[Any] = []

    def render() -> None:
        rendered = renderer.render(range(batch), epoch=next(epoch))
        synchronise(rendered.images)
        codes_drawn.append(rendered.codes)

    seconds = interleaved({"render": render}, rounds)["render"]
    unit, each = _work(recipe)
    drawn = [int((c >= 0).sum()) * each for c in codes_drawn[-rounds:]]
    results = {
        "images": result("images/s", [batch / s for s in seconds]),
        unit: result(f"{unit}/s", [n / s for n, s in zip(drawn, seconds, strict=True)]),
        "time": result("us/image", [1e6 * s / batch for s in seconds]),
    }
    on_gpu = not isinstance(renderer.render([0]).images, np.ndarray)
    if not on_gpu:
        results |= stage_shares(renderer, batch, rounds)
    settings = {
        "recipe": recipe.to_json(), "device": "cuda" if on_gpu else "cpu", "batch": batch, "rounds": rounds,
        "threads": None if on_gpu else renderer.threads,  # type: ignore[attr-defined]
    }  # fmt: skip
    return make_record("render", settings, results)


def _work(recipe: Recipe) -> tuple[str, int]:
    """What an object of a sample is made of, and how many of that."""
    if recipe.formula == "mandelbulb":
        return "rays", recipe.views * (recipe.canvas * recipe.samples) ** 2
    return "points", recipe.views * recipe.points


def _bank(preset: Preset) -> Bank:
    """A preset's bank, but of 1,000 codes at most where codes are sampled."""
    spec = preset.bank
    if isinstance(spec, BankSpec):
        codes = min(spec.codes, BANK_CODES)
        spec = BankSpec(codes, codes, spec.maps)
    return make_bank(spec)


def synchronise(images: Any) -> None:
    """Wait until a batch is there: a GPU's images are promised, not made, when `render` returns."""
    if not isinstance(images, np.ndarray) and images.is_cuda:
        import torch

        torch.cuda.synchronize(images.device)


def stage_shares(renderer: Any, batch: int, rounds: int) -> dict[str, Any]:
    """Each stage's share of the CPU renderer's time, on one thread."""
    totals: dict[str, list[float]] = {}
    for turn in range(rounds):
        seconds = dict.fromkeys(renderer.stages, 0.0)

        def timed(name: str, run: Any, seconds: dict[str, float] = seconds) -> None:
            start = time.perf_counter()
            run()
            seconds[name] += time.perf_counter() - start

        renderer.render(range(batch), epoch=2**31 + turn, run_stage=timed)
        for name, spent in seconds.items():
            totals.setdefault(name, []).append(spent / sum(seconds.values()))
    return {f"share of {name}": result("of the time", shares) for name, shares in totals.items()}
