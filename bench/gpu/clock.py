"""Device time of a piece of work, by CUDA events."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch


def milliseconds(work: Callable[[], object], runs: int = 9, warm_up: int = 3) -> float:
    """Median device time of `work`, milliseconds. CuPy launches inside it go to torch's stream."""
    return statistics.median(samples(work, runs, warm_up))


def samples(work: Callable[[], object], runs: int = 9, warm_up: int = 3) -> list[float]:
    """Device time of each of `runs` calls, after `warm_up` calls that are not counted."""
    import cupy

    times = []
    with cupy.cuda.Stream.from_external(torch.cuda.current_stream()):
        for run in range(warm_up + runs):
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            work()
            end.record()
            end.synchronize()
            if run >= warm_up:
                times.append(begin.elapsed_time(end))
    return times
