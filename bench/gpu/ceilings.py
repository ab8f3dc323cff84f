"""What the device can do at most, measured on it: issue, shared atomics, memory bandwidth."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.gpu.clock import milliseconds

ISSUE_TURNS, ATOMIC_TURNS = 20_000, 4_000


def measure() -> dict[str, Any]:
    """`ceilings` of the results file."""
    count = torch.cuda.get_device_properties(0).multi_processor_count
    out = torch.zeros(16, device="cuda")
    issue, atomics = _kernels()
    pointer = np.uint64(out.data_ptr())

    blocks, threads = count * 2, 1024
    ms = milliseconds(lambda: issue((blocks,), (threads,), (np.int32(ISSUE_TURNS), pointer)))
    warps = blocks * threads / 32
    issued = warps * ISSUE_TURNS * 128 / (ms / 1e3)

    atomics.max_dynamic_shared_size_bytes = 33280 * 4
    ms = milliseconds(
        lambda: atomics((count,), (1024,), (np.int32(ATOMIC_TURNS), pointer), shared_mem=33280 * 4)
    )  # fmt: skip
    added = count * 1024 * ATOMIC_TURNS / (ms / 1e3)

    source = torch.empty(1 << 31, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    ms = milliseconds(lambda: target.copy_(source))
    return {
        "warp_instructions_per_s": issued,
        "shared_atomics_per_s": added,
        "copy_bytes_per_s": 2 * source.numel() / (ms / 1e3),
    }


def _kernels() -> tuple[Any, Any]:
    import cupy
    from cupy.cuda import nvrtc

    major, minor = torch.cuda.get_device_capability()
    program = nvrtc.createProgram((Path(__file__).parent / "ceilings.cu").read_text(), "ceilings.cu", [], [])
    nvrtc.compileProgram(program, (f"--gpu-architecture=sm_{major}{minor}", "-std=c++17"))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(bytes(nvrtc.getCUBIN(program)) + b"\0")
        file.flush()
        module = cupy.RawModule(path=file.name)
        functions = module.get_function("issue"), module.get_function("atomics")
        for function in functions:
            assert function.num_regs > 0  # asking loads it, before the file goes
    return functions
