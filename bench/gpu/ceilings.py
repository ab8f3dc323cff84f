"""What the device can do at most, measured on it: issue, shared atomics, memory bandwidth."""

from __future__ import annotations

from typing import Any

import torch

from bench.gpu.clock import milliseconds
from bench.gpu.microbenchmarks import CASES, FASTEST, HASHED, THREADS, launch

TURNS = 4_000


def measure() -> dict[str, Any]:
    """`ceilings` of the results file.

    The atomics go to hashed addresses: those of lanes in an arithmetic progression collide less than
    points of an attractor do.
    """
    count = torch.cuda.get_device_properties(0).multi_processor_count
    rates = {}
    for case in CASES:
        if case.name in (FASTEST, HASHED):
            ms = milliseconds(lambda c=case: launch(c, TURNS))
            rates[case.name] = count * THREADS * TURNS * case.unroll / (ms / 1e3)
    source = torch.empty(1 << 31, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    ms = milliseconds(lambda: target.copy_(source))
    return {
        "thread_instructions_per_s": rates[FASTEST], "shared_atomics_per_s": rates[HASHED],
        "copy_bytes_per_s": 2 * source.numel() / (ms / 1e3),
    }  # fmt: skip
