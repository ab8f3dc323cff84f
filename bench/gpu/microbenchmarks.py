"""Three questions that the cycle model leaves open, asked of a card.

1. What do colliding atomics in shared memory cost? The chaos game is bound by them.
2. Is a 128-bit load of eight distinct rows, which fill the 32 banks once, one pass or four? Every point
   of the chaos game takes one.
3. Do logic, integer products and float products issue beside each other, and how long does each take
   its pipe? Compose and stamp, half of an image, are bound by that.

Each case is a loop of one instruction (or mix) whose cycles the block counts itself, so a card's clock
does not matter. `bench/gpu/predicted.json` holds what the model says, by hypothesis.
"""

from __future__ import annotations

import functools
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).with_suffix(".cu")
THREADS, WARPS = 1024, 32
HISTOGRAM_BYTES = 33_280 * 4

HYPOTHESES: dict[str, dict[str, int]] = {
    "as assumed": {},
    "wide loads merged": {"merge_wide_loads": 1},
    "equal words merged": {"merge_equal_atomics": 1},
}
"""Numbers of `bench.model.machine.Multiprocessor` under which cases are simulated."""


@dataclass(frozen=True)
class Case:
    """A loop.

    Args:
        name: for people.
        kernel: in microbenchmarks.cu.
        pattern: its first argument.
        unroll: instructions a turn.
        shared: bytes of dynamic shared memory.
        hypotheses: those that it tells apart.
    """

    name: str
    kernel: str
    pattern: int = 0
    unroll: int = 16
    shared: int = 0
    hypotheses: tuple[str, ...] = ("as assumed",)


_ATOMICS = ("own words", "hashed", "pairs share a bank", "pairs share a word", "four share a bank", "one word")
_LOADS = ("one row", "eight rows", "all rows")
_MIXES = (
    "logic_only", "add_only", "product_only", "wide_only", "float_only", "logic_and_product", "logic_and_float",
    "all_three",
)  # fmt: skip

CASES = (
    *(
        Case(f"atomics, {name}", "atomics", k, shared=HISTOGRAM_BYTES, hypotheses=("as assumed", "equal words merged"))
        for k, name in enumerate(_ATOMICS)
    ),
    *(
        Case(f"{8 * width}-bit loads, {name}", f"loads{width}", k, hypotheses=("as assumed", "wide loads merged"))
        for width in (4, 8, 16)
        for k, name in enumerate(_LOADS)
    ),
    *(Case(f"mix, {name.replace('_', ' ')}", name, unroll=64) for name in _MIXES),
)
HASHED = "atomics, hashed"
FASTEST = "mix, float only"
"""An instruction every cycle from every scheduler."""


def binary(arch: str) -> bytes:
    """The kernels, compiled; raises NVRTC's error with its log as a note."""
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(SOURCE.read_text(), SOURCE.name, [], [])
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={arch}", "-std=c++17", "-default-device"))
    except nvrtc.NVRTCError as error:
        error.add_note(nvrtc.getProgramLog(program))
        raise
    return bytes(nvrtc.getCUBIN(program)) + b"\0"  # CuPy drops the last byte of the image, which is zero


def per_instruction(cycles: float, case: Case, turns: int) -> float:
    """Cycles of a multiprocessor for a warp's instruction."""
    return cycles / (turns * case.unroll * WARPS)


def measure(turns: int = 2000) -> dict[str, Any]:
    """`microbenchmarks` of the results file: cycles an instruction of each case, and the clock under load."""
    return {"cycles": {case.name: _cycles(case, turns) for case in CASES}, "turns": turns, "clock_hz": clock_hz()}


def clock_hz(turns: int = 50_000) -> float:
    """The multiprocessors' clock under load: cycles that a long loop counts, over its time."""
    import torch

    fastest = next(case for case in CASES if case.name == FASTEST)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    launch(fastest, turns)
    begin.record()
    cycles = launch(fastest, turns)
    end.record()
    end.synchronize()
    return float(cycles.max()) / (begin.elapsed_time(end) / 1e3)


def _cycles(case: Case, turns: int) -> float:
    """Median over blocks and repetitions; the first is a warm-up."""
    found = [per_instruction(float(np.median(launch(case, turns).cpu().numpy())), case, turns) for _ in range(6)]
    return statistics.median(found[1:])


def launch(case: Case, turns: int) -> Any:
    """Run a case on torch's stream, a block on each multiprocessor; cycles of each block, int64 on the device."""
    import cupy
    import torch

    count = torch.cuda.get_device_properties(0).multi_processor_count
    cycles, out = torch.zeros(count, dtype=torch.int64, device="cuda"), torch.zeros(1, dtype=torch.int32, device="cuda")
    function = _module().get_function(case.kernel)
    if case.shared:
        function.max_dynamic_shared_size_bytes = case.shared
    arguments = (np.int32(case.pattern), np.int32(turns), np.uint64(cycles.data_ptr()), np.uint64(out.data_ptr()))
    with cupy.cuda.Stream.from_external(torch.cuda.current_stream()):
        function((count,), (THREADS,), arguments, shared_mem=case.shared)
    return cycles


@functools.cache
def _module() -> Any:
    import cupy
    import torch

    major, minor = torch.cuda.get_device_capability()
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary(f"sm_{major}{minor}"))
        file.flush()
        module = cupy.RawModule(path=file.name)
        for kernel in {case.kernel for case in CASES}:
            assert module.get_function(kernel).num_regs > 0  # asking loads it, before the file goes
    return module
