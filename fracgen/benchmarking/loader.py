"""How fast a loader hands out batches when nobody else uses the machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fracgen.benchmarking.timing import interleaved, record, result
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.recipe import BankSpec

if TYPE_CHECKING:
    from fracgen.loading.loader import FractalLoader
    from fracgen.recipes.recipe import Recipe

LAYOUTS = ("uint8", "float32", "bfloat16", "bfloat16 channels-last")


def bench_loader(
    spec: BankSpec, recipe: Recipe, *, device: str = "auto", batch: int = 64, batches: int = 8, rounds: int = 5,
    prefetch: int = 2,
) -> dict[str, Any]:  # fmt: skip
    """Images per second of a loader that is drained, for each layout of its images.

    Args:
        spec: the codes.
        recipe: the images.
        batches: batches in an epoch, which is what is timed.
        rounds: epochs of each layout, in turn.

    Raises:
        ValueError: an argument is out of range.
        DeviceError: a GPU was asked for and is not usable.
    """
    import torch

    from fracgen.loading.loader import FractalLoader

    bank = CodeBank.from_spec(spec)
    loaders = {
        layout: FractalLoader(
            bank, recipe, batch, device, epoch_size=batch * batches, prefetch=prefetch,
            dtype=getattr(torch, layout.split()[0]), channels_last="channels-last" in layout,
        )
        for layout in LAYOUTS
    }  # fmt: skip
    seconds = interleaved({layout: _drain(loader) for layout, loader in loaders.items()}, rounds)
    rates = {layout: result("images/s", [batch * batches / s for s in times]) for layout, times in seconds.items()}
    settings = {
        "recipe": recipe.name, "size": recipe.size, "codes": spec.codes, "batch": batch, "batches": batches,
        "prefetch": prefetch, "rounds": rounds, "device": str(loaders["uint8"].device),
    }  # fmt: skip
    return record("loader", settings, rates)


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
