"""Make the next batches while the present one is being used: in a thread, or on a second CUDA stream.

Rendering needs no worker processes: the CPU renderer's threads run outside Python's lock and the
CUDA renderer only launches kernels. So each of these is a generator around a function that makes
batch number b; closing the generator, or dropping it, ends what it started.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Make = Callable[[int], tuple["torch.Tensor", ...]]
"""Makes batch number b of the epoch."""


@dataclass
class Meter:
    """How much was rendered, and how long the renderer was at work on it."""

    batches: int = 0
    images: int = 0
    seconds: float = 0.0
    """Time spent rendering: of the rendering thread on a CPU, of the side stream on a GPU."""

    def add(self, images: int, seconds: float) -> None:
        """Count one batch."""
        self.batches, self.images, self.seconds = self.batches + 1, self.images + images, self.seconds + seconds


def in_thread(make: Make, batches: range, ahead: int, meter: Meter) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield every batch in order, with up to `ahead` more made by a background thread meanwhile.

    What `make` raises is raised here, at the batch it concerns. With `ahead` 0 there is no thread.
    """

    def timed(batch: int) -> tuple[torch.Tensor, ...]:
        start = time.perf_counter()
        made = make(batch)
        meter.add(len(made[0]), time.perf_counter() - start)
        return made

    if ahead == 0:
        yield from map(timed, batches)
        return
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="fracgen-loader") as pool:
        try:
            for batch in batches:
                pending.append(pool.submit(timed, batch))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()  # the pool then waits for the one batch that may be under way


def on_side_stream(
    make: Make, batches: range, ahead: int, meter: Meter, device: torch.device
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield every batch in order on the caller's current stream, with up to `ahead` more under way on another.

    The caller's stream waits for a batch before it can touch it (an event, no host wait), and the
    allocator is told that the caller's stream uses memory that the side stream allocated, so it is
    not handed out again before that use has ended.
    """
    import torch

    cuda: Any = torch.cuda  # parts of it have no types
    caller = cuda.current_stream(device)
    side = cuda.Stream(device) if ahead else caller
    side.wait_stream(caller)  # codes and tables may still be on their way to the device
    pending: deque[tuple[tuple[torch.Tensor, ...], Any, Any]] = deque()
    finished: deque[tuple[int, Any, Any]] = deque()

    def hand_over() -> tuple[torch.Tensor, ...]:
        made, start, end = pending.popleft()
        current = cuda.current_stream(device)
        current.wait_event(end)
        for tensor in made:
            tensor.record_stream(current)
        finished.append((len(made[0]), start, end))
        while finished and finished[0][2].query():
            images, start, end = finished.popleft()
            meter.add(images, start.elapsed_time(end) / 1000)
        return made

    for batch in batches:
        with cuda.stream(side):
            start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            start.record()
            made = make(batch)
            end.record()
        pending.append((made, start, end))
        if len(pending) > ahead:
            yield hand_over()
    while pending:
        yield hand_over()
