"""Measures what live rendering adds to a training step.

Blocks of steps on freshly rendered images take turns with blocks of steps on images that lie ready in memory, so that
the machine's slow minutes fall on both. A live block ends when the loader has also replaced all batches that the block
took from it, so nothing that it cost is left to its neighbour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from fracgen.benchmarking.images import wait
from fracgen.benchmarking.record import Record, Results, Summary, interleaved
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import make_bank
from fracgen.loading.loader import FractalLoader
from fracgen.networks import create
from fracgen.rendering.device import use_gpu
from fracgen.training.config import Config, named_config
from fracgen.training.losses import images_of_pairs, objective_of

BOOTSTRAPS = 10_000

Batches = Iterator[tuple[torch.Tensor, ...]]
Step = Callable[[torch.Tensor, torch.Tensor], None]


def bench_train(
    config: Config, *, device: str = "auto", steps: int = 20, rounds: int = 15, prefetch: int = 2
) -> Record:
    """Time a training step with and without live rendering.

    Args:
        config: model, recipe and batch size are taken from it.
        steps: of one block.
        rounds: pairs of blocks.

    Returns:
        Milliseconds a step of both kinds, per cent that rendering adds (every pair, and the mean's 95% interval by
        bootstrap), images/s, share of time rendering.

    Raises:
        ValueError: an argument is out of range.
        DeviceError: a GPU was asked for and is not usable.
    """
    gpu = use_gpu(device, "training")
    where, dtype = (torch.device("cuda"), torch.bfloat16) if gpu else (torch.device("cpu"), torch.float32)
    bank = make_bank(config.bank, config.bank_seed)
    loader = FractalLoader(
        bank, config.recipe, config.batch_size, device=where, seed=config.seed, dtype=dtype, channels_last=gpu,
        prefetch=prefetch, epoch_size=config.batch_size * (steps * (rounds + 1) + prefetch + 1),
    )  # fmt: skip
    step = training_step(config, bank, where, dtype)
    batches = iter(loader)
    ready = next(batches)
    step(*ready)

    def fixed() -> None:
        for _ in range(steps):
            step(*ready)
        wait(ready[0])

    seconds = interleaved({"live": live(loader, batches, step, steps), "fixed": fixed}, rounds)
    each = {name: np.array(values) / steps for name, values in seconds.items()}
    results = _results(each["live"], each["fixed"], config.batch_size, loader.meter.seconds / loader.meter.batches)
    settings = {
        "preset": config.preset, "model": config.model, "recipe": config.recipe.name, "size": config.recipe.size,
        "batch": config.batch_size, "steps": steps, "rounds": rounds, "prefetch": prefetch, "device": str(where),
        "dtype": str(dtype).removeprefix("torch."),
    }  # fmt: skip
    return Record.of("train", settings, results)


def _results(live: NDArray[np.float64], fixed: NDArray[np.float64], batch: int, rendering: float) -> Results:
    """Results from seconds of a step of each kind, [rounds], and seconds in which the loader renders a batch."""
    added = 100 * (live / fixed - 1)
    low, high = interval_of_mean(added)
    return {
        "rendering adds": Summary.of("%", added),
        "rendering adds, mean": Summary.of("%", [added.mean()]),
        "rendering adds, 95% interval, low": Summary.of("%", [low]),
        "rendering adds, 95% interval, high": Summary.of("%", [high]),
        "step with live rendering": Summary.of("ms", 1000 * live),
        "step on ready images": Summary.of("ms", 1000 * fixed),
        "images/s": Summary.of("images/s", batch / live),
        "share of time rendering": Summary.of("%", [100 * rendering / np.median(live)]),
    }


def live(loader: FractalLoader, batches: Batches, step: Step, steps: int) -> Callable[[], None]:
    """A block of steps on fresh images."""

    def block() -> None:
        for _ in range(steps):
            images, labels = next(batches)
            step(images, labels)
        wait(images)
        if loader.device.type == "cpu":
            handed_out = loader.position[1]
            while loader.meter.batches < min(handed_out + loader.prefetch, len(loader)):
                time.sleep(0.0005)

    return block


def training_step(config: Config, bank: Bank, where: torch.device, dtype: torch.dtype) -> Step:
    """One optimizer step, as `fracgen pretrain` takes it."""
    objective = objective_of(config, bank)
    model = create(config.model, objective.outputs, config.recipe.size, config.seed).to(where)
    if where.type == "cuda":
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), config.learning_rate, config.momentum)

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        with torch.autocast(where.type, dtype, enabled=dtype != torch.float32):
            outputs = model(images_of_pairs(images))
        loss = objective.loss(outputs.float(), [], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def interval_of_mean(values: NDArray[np.float64]) -> tuple[float, float]:
    """95% interval of a mean, by bootstrap; the resampling is the same every time."""
    chosen = np.random.default_rng(0).integers(0, len(values), (BOOTSTRAPS, len(values)))
    low, high = np.quantile(values[chosen].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def config_for(name: str, model: str | None = None, batch: int | None = None, size: int | None = None) -> Config:
    """A pre-training preset with some of it changed. Raises ValueError."""
    config = named_config(name)
    recipe = config.recipe if size is None else config.recipe.at_size(size)
    return replace(config, recipe=recipe, model=model or config.model, batch_size=batch or config.batch_size)
