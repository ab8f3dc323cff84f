"""Device time of a piece of work, by CUDA events."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def milliseconds(work: Callable[[], object], runs: int = 7) -> float:
    """Median device time of one call of `work`, milliseconds.

    The device is kept busy for half a second first, so that its clock is up, and every sample
    queues enough calls for 20 ms between a pair of events, so that what Python does before a launch is
    hidden behind the call before. CuPy launches inside `work` go to torch's stream.
    """
    import cupy

    with cupy.cuda.Stream.from_external(torch.cuda.current_stream()):
        begin, calls = time.perf_counter(), 0
        while time.perf_counter() - begin < 0.5:
            work()
            torch.cuda.synchronize()
            calls += 1
        repeats = max(3, round(20e-3 / (0.5 / calls)))
        times = []
        for _ in range(runs):
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            for _ in range(repeats):
                work()
            last.record()
            last.synchronize()
            times.append(first.elapsed_time(last) / repeats)
    return statistics.median(times)
