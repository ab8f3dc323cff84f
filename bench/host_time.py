"""What a batch costs the host: `FractalLoader` itself on a GPU that does nothing.

    python -m bench.host_time

`torch.cuda` and CuPy are replaced by stand-ins that return at once and memory by torch's `meta`
device, which has shapes and no bytes. What is left is the project's own Python and torch's
bookkeeping, without launches and with what Python does to make them; CuPy's and the driver's part of
a launch and torch's calls into the driver come on top. Processor time, not wall time: machines are
shared.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import time
import types
from typing import Any

import torch

import fracgen
from fracgen.rendering.cuda import renderer as cuda

EPOCHS = (1_000_000, 1_281_167)
BATCHES = (64, 512, 4096)


class Idle:
    """A stream, an event, a context or a kernel: whatever is asked of it is done."""

    num_regs, cuda_stream, max_dynamic_shared_size_bytes = 32, 0, 1 << 20

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __call__(self, *arguments: Any, **options: Any) -> Idle:
        return self

    __enter__ = record = wait_event = wait_stream = synchronize = __call__

    def __exit__(self, *arguments: Any) -> None:
        pass

    def query(self) -> bool:
        return True

    def elapsed_time(self, other: Any) -> float:
        return 0.0


launches = 0
"""So far."""


def count_launch(backend: Any, function: Any, grid: Any, threads: int, shared: int, *arguments: Any) -> None:
    """A launch that only counts."""
    global launches
    launches += 1


@contextlib.contextmanager
def nothing_happens(launch: Any = None) -> Any:
    """Replace torch.cuda, CuPy and memory while this lasts, and `CudaBackend.launch` where another is given."""
    import cupy

    idle, empty, to = Idle(), torch.empty, torch.Tensor.to
    card = types.SimpleNamespace(shared_memory_per_block_optin=227 * 1024)

    def shapes_only(*size: Any, device: Any = None, **options: Any) -> torch.Tensor:
        return empty(*size, device=None if device is None else "meta", **options)

    replaced = [
        (torch, {"empty": shapes_only}),
        (torch.Tensor, {
            "record_stream": lambda tensor, stream: None, "is_cuda": property(lambda tensor: tensor.is_meta),
            "to": lambda tensor, *place, **options: tensor if tensor.is_meta else to(tensor, *place, **options),
        }),
        (torch.cuda, {
            "current_device": lambda: 0, "device_count": lambda: 1, "get_device_capability": lambda device=None: (9, 0),
            "get_device_properties": lambda device=None: card, "is_current_stream_capturing": lambda: False,
            "device": idle, "current_stream": idle, "stream": idle, "Stream": Idle, "Event": Idle,
        }),
        (cupy.cuda, {"Device": idle, "Stream": types.SimpleNamespace(from_external=idle)}),
        (cuda.CudaBackend, {
            "load": lambda backend, kernel, header: idle,
            "launch": launch or cuda.CudaBackend.launch,
            "upload": lambda backend, array: torch.as_tensor(array.astype("int32")).to("meta"),
        }),
    ]  # fmt: skip
    before = [(owner, {name: getattr(owner, name) for name in names}) for owner, names in replaced]
    fault, there = "fracgen.rendering.device.cuda_fault", lambda: None
    module = __import__(fault.rpartition(".")[0], fromlist=["cuda_fault"])
    kept, module.cuda_fault = module.cuda_fault, there
    try:
        for owner, names in replaced:
            for name, value in names.items():
                setattr(owner, name, value)
        yield
    finally:
        module.cuda_fault = kept
        for owner, names in before:
            for name, value in names.items():
                setattr(owner, name, value)


def measure(
    epoch_size: int, batch_size: int, launch: Any = None, batches: int = 400, rounds: int = 7
) -> tuple[float, float]:
    """Microseconds of processor time a batch (the best of some rounds), and launches a batch where they are counted."""
    bank = fracgen.CodeBank.sample(100, seed=0)
    with nothing_happens(launch):
        loader = fracgen.FractalLoader(bank, "paper", batch_size, "cuda", epoch_size=epoch_size, dtype=torch.uint8)
        times = []
        gc.disable()
        for _ in range(rounds):
            loader.set_epoch(loader.epoch + 1)
            made = iter(loader)
            next(made)
            first, begin = launches, time.process_time()
            taken = sum(1 for _ in zip(range(min(batches, len(loader) - 1)), made, strict=False))
            times.append((time.process_time() - begin) / taken)
        gc.enable()
    return 1e6 * min(times), (launches - first) / taken


def main() -> None:
    argparse.ArgumentParser(description=__doc__.split("\n")[0]).parse_args()
    print("microseconds a batch, without launches and with Python's part of them")
    print(f"{'epoch':>10} {'batch':>6} {'without':>9} {'with':>9} {'launches':>9}")
    for epoch_size in EPOCHS:
        for batch_size in BATCHES:
            without, count = measure(epoch_size, batch_size, count_launch)
            whole, _ = measure(epoch_size, batch_size)
            print(f"{epoch_size:>10,} {batch_size:>6} {without:>9.1f} {whole:>9.1f} {count:>9.2f}")


if __name__ == "__main__":
    main()
