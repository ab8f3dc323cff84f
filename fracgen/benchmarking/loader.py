"""Throughput of a loader on an otherwise idle machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fracgen.benchmarking.timing import interleaved, make_record, result
from fracgen.formulas.banks import make_bank
from fracgen.recipes.recipe import BankSpec
from fracgen.recipes.variations import VariationSpec

if TYPE_CHECKING:
    from fracgen.loading.loader import FractalLoader
    from fracgen.recipes.recipe import Recipe

LAYOUTS = ("uint8", "float32", "bfloat16", "bfloat16 channels-last")


def bench_loader(
    spec: BankSpec | VariationSpec, recipe: Recipe, *, device: str = "auto", batch: int | Sequence[int] = 64,
    batches: int = 8, rounds: int = 5, prefetch: int = 2,
) -> dict[str, Any]:  # fmt: skip
    """Images per second of a loader that is drained, for each layout of its images and each size of batch.

    Args:
        spec: the codes.
        recipe: the images.
        batch: images in a batch, or several such numbers.
        batches: batches of the largest size in an epoch, which is what is timed: all epochs have as many images.
        rounds: epochs of each, in turn.

    Raises:
        ValueError: an argument is out of range.
        DeviceError: a GPU was asked for and is not usable.
    """
    import torch

    from fracgen.loading.loader import FractalLoader

    bank = make_bank(spec)
    sizes = [batch] if isinstance(batch, int) else list(batch)
    images = max(sizes) * batches
    loaders = {
        layout if len(sizes) == 1 else f"{layout}, batch {size}": FractalLoader(
            bank, recipe, size, device, epoch_size=images, prefetch=prefetch,
            dtype=getattr(torch, layout.split()[0]), channels_last="channels-last" in layout,
        )
        for layout in LAYOUTS for size in sizes
    }  # fmt: skip
    seconds = interleaved({name: _drain(loader) for name, loader in loaders.items()}, rounds)
    rates = {name: result("images/s", [images / s for s in times]) for name, times in seconds.items()}
    settings = {
        "recipe": recipe.name, "size": recipe.size, "codes": spec.codes,
        "batch": batch if isinstance(batch, int) else sizes, "batches": batches,
        "prefetch": prefetch, "rounds": rounds, "device": str(next(iter(loaders.values())).device),
    }  # fmt: skip
    return make_record("loader", settings, rates)


def wait(device: Any) -> None:
    """Until the device has done all it was given."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _drain(loader: FractalLoader) -> Callable[[], None]:
    def drain() -> None:
        for _ in loader:
            pass
        wait(loader.device)

    return drain
