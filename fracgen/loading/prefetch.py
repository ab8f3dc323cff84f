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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Make = Callable[[int], tuple["torch.Tensor", ...]]
"""Makes batch number b of the epoch."""
_Timed = tuple[int, int, "torch.cuda.Event", "torch.cuda.Event"]
"""Number of batches and images made together, and the events around it."""
MakeSeveral = Callable[[range], list[tuple["torch.Tensor", ...]]]
"""Makes consecutive batches of the epoch."""


@dataclass
class Meter:
    """How much was rendered, and how long the renderer was at work on it."""

    batches: int = 0
    images: int = 0
    seconds: float = 0.0
    """Time spent rendering: of the rendering thread on a CPU, of the side stream on a GPU."""

    def add(self, images: int, seconds: float, batches: int = 1) -> None:
        """Count what was rendered in one go."""
        self.batches, self.images, self.seconds = self.batches + batches, self.images + images, self.seconds + seconds


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
    pending: deque[Future[tuple[torch.Tensor, ...]]] = deque()
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
    make: MakeSeveral, batches: range, ahead: int, meter: Meter, device: torch.device, together: int = 1
) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield every batch in order on the caller's current stream, with up to `ahead` more under way on another.

    The caller's stream waits for a batch before it can touch it (an event, no host wait), and the
    allocator knows by `record_stream` that the caller's stream uses memory that the side stream allocated, so it is
    not handed out again before that use has ended. The host itself waits only where the caller has
    queued work on more batches than are made ahead, so that batches do not pile up in memory.

    Args:
        make: makes consecutive batches, `together` at a time.
        ahead: batches; 0 makes each on the caller's stream when it is asked for.
    """
    import torch

    cuda = torch.cuda
    caller = cuda.current_stream(device)
    side = cuda.Stream(device) if ahead else caller
    side.wait_stream(caller)  # codes and tables may still be on their way to the device
    ready: deque[tuple[tuple[torch.Tensor, ...], torch.cuda.Event]] = deque()
    begun: deque[_Timed] = deque()
    in_use: deque[torch.cuda.Event] = deque()
    for first in range(batches.start, batches.stop, together):
        part = range(first, min(first + together, batches.stop))
        with cuda.stream(side):
            start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            start.record()
            several = make(part)
            end.record()
        ready.extend((made, end) for made in several)
        begun.append((len(several), sum(len(made[0]) for made in several), start, end))
        del several
        while len(ready) > (ahead if part.stop < batches.stop else 0):
            yield _hand_over(*ready.popleft(), device)
            # The caller asks for the next batch: all it does with this one is queued.
            _wait(in_use, max(ahead, together), device)
            _count(begun, meter)


def _hand_over(
    made: tuple[torch.Tensor, ...], end: torch.cuda.Event, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """A batch, for whose end the caller's current stream waits."""
    import torch

    current = torch.cuda.current_stream(device)
    current.wait_event(end)
    for tensor in made:
        tensor.record_stream(current)
    return made


def _wait(in_use: deque[torch.cuda.Event], most: int, device: torch.device) -> None:
    """Note that work on a batch is queued; wait until there are at most so many whose work has not ended."""
    import torch

    after = torch.cuda.Event(blocking=True)
    after.record(torch.cuda.current_stream(device))
    in_use.append(after)
    while len(in_use) > most:
        in_use.popleft().synchronize()


def _count(begun: deque[_Timed], meter: Meter) -> None:
    """Count what has been rendered by now."""
    while begun and begun[0][3].query():
        count, images, start, end = begun.popleft()
        meter.add(images, start.elapsed_time(end) / 1000, count)
