"""What live rendering adds to a training step, and how much of the device the step uses.

Blocks of steps on freshly rendered images take turns with blocks of steps on images that lie ready
in memory, so that the machine's slow minutes fall on both. A live block ends when the loader has
also replaced all batches that the block took from it, so nothing it cost is left to its neighbour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fracgen.benchmarking.loader import wait
from fracgen.benchmarking.timing import interleaved, make_record, result
from fracgen.formulas.banks import make_bank

if TYPE_CHECKING:
    import torch

    from fracgen.loading.loader import FractalLoader
    from fracgen.training.config import Config

BOOTSTRAPS = 10_000


def bench_train(
    config: Config, *, device: str = "auto", steps: int = 20, rounds: int = 15, prefetch: int = 2
) -> dict[str, Any]:
    """Time a training step with and without live rendering.

    Args:
        config: model, recipe and batch size are taken from it.
        steps: of one block.
        rounds: pairs of blocks.

    Returns:
        A record: milliseconds a step of both kinds, per cent that rendering adds (every pair, and the
        mean's 95% interval by bootstrap), images/s, share of time rendering, share of the device's
        own matrix multiplication rate.

    Raises:
        ValueError: an argument is out of range.
        DeviceError: a GPU was asked for and is not usable.
    """
    import torch

    from fracgen.loading.loader import FractalLoader
    from fracgen.rendering.device import use_gpu

    gpu = use_gpu(device, "training")
    where = torch.device("cuda" if gpu else "cpu")
    dtype = torch.bfloat16 if gpu else torch.float32
    bank = make_bank(config.bank, config.bank_seed)
    needed = config.batch_size * (steps * (rounds + 1) + prefetch + 1)
    loader = FractalLoader(
        bank, config.recipe, config.batch_size, where, config.seed, epoch_size=needed, dtype=dtype,
        channels_last=gpu, prefetch=prefetch,
    )  # fmt: skip
    step = training_step(config, bank.classes, where, dtype)
    batches = iter(loader)
    ready = next(batches)
    step(*ready)

    def fixed() -> None:
        for _ in range(steps):
            step(*ready)
        wait(where)

    seconds = interleaved({"live": live(loader, batches, step, steps), "fixed": fixed}, rounds)
    share = loader.meter.seconds / loader.meter.batches * steps / float(np.median(seconds["live"]))
    flops = step_flops(step, ready) * steps / float(np.median(seconds["fixed"]))
    batches.close()  # type: ignore[attr-defined]
    settings = {
        "preset": config.preset, "model": config.model, "recipe": config.recipe.name, "size": config.recipe.size,
        "batch": config.batch_size, "steps": steps, "rounds": rounds, "prefetch": prefetch, "device": str(where),
        "dtype": str(dtype).removeprefix("torch."),
    }  # fmt: skip
    return make_record("train", settings, _results(config, steps, seconds, share, flops, matmul_flops(where, dtype)))


def live(
    loader: FractalLoader, batches: Iterator[tuple[Any, ...]], step: Callable[..., None], steps: int
) -> Callable[[], None]:
    """A block of steps on fresh images."""

    def block() -> None:
        taken = 0
        while taken < steps:
            step(*next(batches))
            taken += 1
        wait(loader.device)
        if loader.device.type == "cpu":
            handed_out = loader.position[1]
            while loader.meter.batches < min(handed_out + loader.prefetch, len(loader)):
                time.sleep(0.0005)

    return block


def training_step(
    config: Config, classes: int, where: torch.device, dtype: torch.dtype
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """One optimizer step, as `fracgen pretrain` takes it."""
    import torch

    from fracgen.networks import create
    from fracgen.training.losses import images_of_pairs, objective_of

    objective = objective_of(config, classes)
    model = create(config.model, objective.outputs, config.recipe.size, config.seed).to(where)
    if where.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), config.learning_rate, config.momentum)
    half = dtype != torch.float32

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        with torch.autocast(where.type, dtype, enabled=half):
            outputs = model(images_of_pairs(images))
        loss = objective.loss(outputs.float(), [], labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def step_flops(step: Callable[..., None], batch: tuple[Any, ...]) -> float:
    """Floating-point operations of a step's convolutions and matrix products."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step(*batch)
    return float(counter.get_total_flops())


def matmul_flops(where: torch.device, dtype: torch.dtype) -> float:
    """The rate that the device reaches in multiplying large square matrices: floating-point operations per second."""
    import torch

    side = 8192 if where.type == "cuda" else 1024
    a = torch.ones(side, side, device=where, dtype=dtype)

    def multiply() -> None:
        for _ in range(4):
            a @ a
        wait(where)

    seconds = interleaved({"matmul": multiply}, 5)["matmul"]
    return 4 * 2 * side**3 / min(seconds)


def interval_of_mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """95% interval of a mean, by bootstrap; the resampling is the same every time."""
    chosen = np.random.default_rng(0).integers(0, len(values), (BOOTSTRAPS, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def _results(
    config: Config, steps: int, seconds: dict[str, list[float]], share: float, flops: float, peak: float
) -> dict[str, Any]:
    live, fixed = (np.array(seconds[name]) for name in ("live", "fixed"))
    added = 100 * (live - fixed) / fixed
    low, high = interval_of_mean(added)
    return {
        "rendering adds": result("%", added.tolist()),
        "rendering adds, mean": result("%", [float(added.mean())]),
        "rendering adds, 95% interval, low": result("%", [low]),
        "rendering adds, 95% interval, high": result("%", [high]),
        "step with live rendering": result("ms", (1000 * live / steps).tolist()),
        "step on ready images": result("ms", (1000 * fixed / steps).tolist()),
        "images/s": result("images/s", (config.batch_size * steps / live).tolist()),
        "share of time rendering": result("%", [100 * share]),
        "share of matrix multiplication rate": result("%", [100 * flops / peak]),
        "matrix multiplication rate": result("TFLOP/s", [peak / 1e12]),
    }


def config_for(preset_name: str, model: str | None, batch: int | None, size: int | None) -> Config:
    """A pre-training preset with some of it changed."""
    from fracgen.training.config import named_config

    config = named_config(preset_name)
    changes: dict[str, Any] = {"model": model or config.model, "batch_size": batch or config.batch_size}
    if size is not None:
        changes["recipe"] = config.recipe.at_size(size)
    return replace(config, **changes)
