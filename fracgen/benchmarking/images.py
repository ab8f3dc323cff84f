"""How fast images are rendered, and how fast a loader hands them over."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

import numpy as np

from fracgen.benchmarking.record import Record, Summary, interleaved
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import formula, make_bank
from fracgen.recipes.recipe import Preset
from fracgen.rendering import make_renderer
from fracgen.support.decode import Unchecked

if TYPE_CHECKING:
    import torch

    from fracgen.loading.loader import FractalLoader
    from fracgen.rendering.base import Index, Renderer
    from fracgen.rendering.cpu.renderer import CpuRenderer
    from fracgen.rendering.cuda.renderer import CudaRenderer

LAYOUTS = ("uint8", "float32", "bfloat16", "bfloat16 channels-last")


def small_bank(preset: Preset, codes: int = 2000, seed: int = 1) -> Bank:
    """A bank of a preset's kind, of few codes where codes are sampled, so that making it takes no time."""
    return make_bank(preset.bank.few(codes), seed)


class Options(TypedDict, total=False):
    """Options of `Renderer.render`."""

    epoch: int
    dtype: torch.dtype | str
    channels_last: bool


def wait(images: torch.Tensor) -> None:
    """Return when a batch is there: images on a GPU may not be finished when `render` returns."""
    if images.is_cuda:
        import torch

        torch.cuda.synchronize(images.device)


def bench_render(
    preset: Preset, *, device: str = "auto", batch: int = 256, rounds: int = 9, threads: int | None = None,
    **output: Unpack[Options],
) -> Record:  # fmt: skip
    """Images and points (or rays) per second, and each stage's share of the time.

    Points are those that were drawn; of pairs in a scene larger than the image it is not known how many these are.

    Args:
        preset: the recipe, and the kind of codes, of which 2,000 are sampled.
        device: as for `make_renderer`.
        batch: images per call.
        rounds: calls that are timed, each of other images.
        threads: CPU only.
        output: dtype and channels_last of `Renderer.render`.

    Raises:
        ValueError: an argument is out of range.
        DeviceError: a GPU was asked for and is not usable.
    """
    if batch < 1:
        raise ValueError(f"batch {batch} is out of range: use 1 or more")
    recipe, epoch = preset.recipe, iter(range(2**32))
    codes: list[torch.Tensor] = []
    renderer = make_renderer(small_bank(preset), recipe, device, threads=threads)

    def render() -> None:
        rendered = renderer.render(range(batch), **output | {"epoch": next(epoch)})
        wait(rendered.images)
        codes.append(rendered.codes)

    seconds = np.array(interleaved({"render": render}, rounds)["render"])
    results = {
        "images": Summary.of("images/s", batch / seconds), "time": Summary.of("us/image", 1e6 * seconds / batch),
    }  # fmt: skip
    if recipe.views == 1 or recipe.scene in (None, recipe.size):  # else the second view may lack objects of the first
        unit, each = formula(recipe.formula).work(recipe)
        drawn = np.array([int((c >= 0).sum()) * each for c in codes[-rounds:]])
        results[unit] = Summary.of(f"{unit}/s", drawn / seconds)
    turns = [stage_seconds(renderer, range(batch), **output | {"epoch": next(epoch)}) for _ in range(rounds)]
    for name in turns[0]:
        results[f"share of {name}"] = Summary.of("of the time", [s[name] / sum(s.values()) for s in turns])
    workers = getattr(renderer, "threads", None)  # a GPU has none
    settings = {
        "recipe": recipe.to_json(), "device": "cuda" if workers is None else "cpu", "batch": batch, "rounds": rounds,
        "threads": workers, **{name: str(value) for name, value in output.items()},
    }  # fmt: skip
    return Record.of("render", settings, results)


def stage_seconds(renderer: Renderer, index: Index, **options: Unpack[Options]) -> dict[str, float]:
    """Seconds of each stage for a batch: on one thread with a CpuRenderer, of device time with a CudaRenderer."""
    if hasattr(renderer, "pipeline"):
        return _cuda_stages(cast("CudaRenderer", renderer), index, options)
    return _cpu_stages(cast("CpuRenderer", renderer), index, options)


def _cpu_stages(renderer: CpuRenderer, index: Index, options: Options) -> dict[str, float]:
    seconds: dict[str, float] = {}

    def timed(name: str, run: Callable[[], None]) -> None:
        start = time.perf_counter()
        run()
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start

    renderer.render(index, run_stage=timed, **options)
    return seconds


def _cuda_stages(renderer: CudaRenderer, index: Index, options: Options) -> dict[str, float]:
    import torch

    backend = renderer.pipeline.backend
    launch, names = backend.launch, {id(f): key[0] for key, f in renderer.pipeline.functions.items()}
    marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def timed(function: object, *arguments: Unchecked) -> None:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        launch(function, *arguments)
        end.record()
        marks.append((names[id(function)], begin, end))

    renderer.render(index, **options)  # compiles, and keeps the device busy while the timed launches are queued
    vars(backend)["launch"] = timed  # in the place of the method, for a while
    try:
        renderer.render(index, **options)
    finally:
        del vars(backend)["launch"]
    torch.cuda.synchronize(renderer.device)
    seconds: dict[str, float] = {}
    for name, begin, end in marks:
        seconds[name] = seconds.get(name, 0.0) + begin.elapsed_time(end) / 1e3
    return seconds


def bench_loader(
    preset: Preset, *, device: str = "auto", batch: Sequence[int] = (64,), batches: int = 8, rounds: int = 5,
    prefetch: int = 2,
) -> Record:  # fmt: skip
    """Images per second of a loader that is drained, for each layout of its images and each size of batch.

    Args:
        preset: codes and images.
        batch: images in a batch, one size or several.
        batches: batches of the largest size in an epoch, which is what is timed: all epochs have as many images.
        rounds: epochs of each, in turn.

    Raises:
        ValueError: an argument is out of range.
        DeviceError: a GPU was asked for and is not usable.
    """
    from fracgen.loading.loader import FractalLoader

    bank, recipe, images = make_bank(preset.bank), preset.recipe, max(batch) * batches
    loaders = {
        layout if len(batch) == 1 else f"{layout}, batch {size}": FractalLoader(
            bank, recipe, size, device=device, epoch_size=images, prefetch=prefetch,
            dtype=layout.split()[0], channels_last="channels-last" in layout,
        )
        for layout in LAYOUTS for size in batch
    }  # fmt: skip
    seconds = interleaved({name: _drain(loader) for name, loader in loaders.items()}, rounds)
    settings = {
        "recipe": recipe.name, "size": recipe.size, "codes": len(bank),
        "batch": batch[0] if len(batch) == 1 else list(batch), "batches": batches, "prefetch": prefetch,
        "rounds": rounds, "device": str(next(iter(loaders.values())).device),
    }  # fmt: skip
    rates = {name: Summary.of("images/s", [images / s for s in times]) for name, times in seconds.items()}
    return Record.of("loader", settings, rates)


def _drain(loader: FractalLoader) -> Callable[[], None]:
    def drain() -> None:
        for images, *_ in loader:
            last = images
        wait(last)

    return drain
