"""The simulated multiprocessor: the C++ in this folder, compiled once for a machine and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.machine_code import program as decoding
from bench.machine_code.program import INSTRUCTION, Program
from fracgen.rendering.cuda.nvrtc import cache_folder

HERE = Path(__file__).parent
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-frounding-math", "-fPIC", "-shared",
)  # fmt: skip
BANKS = 4
PARAMETERS_AT = 0x210
"""Where a kernel's arguments begin in constant bank 0 on compute capability 9.0."""
MAX_WARPS, MAX_BLOCKS, REGISTERS, SHARED_BYTES, CACHE_AND_SHARED_BYTES = 64, 32, 65_536, 228 * 1024, 256 * 1024
"""Limits of a multiprocessor of compute capability 9.0."""


class SimulationError(RuntimeError):
    """The simulated kernel did what a card would fault on, or what the simulator does not know."""


class Run(NamedTuple):
    """What a launch took: cycles of one multiprocessor for so many blocks, of a grid of so many."""

    cycles: int
    blocks: int
    grid_blocks: int


class _Launch(ctypes.Structure):
    """`Launch` of program.hpp."""

    _fields_ = [
        ("code", ctypes.c_void_p), ("banks", ctypes.c_char_p * BANKS), ("memory", ctypes.c_void_p),
        ("memory_bytes", ctypes.c_uint64), ("bank_bytes", ctypes.c_uint32 * BANKS),
        *((name, ctypes.c_uint32) for name in (
            "instructions", "registers", "shared_bytes", "threads", "grid_x", "grid_y", "blocks", "resident",
            "cache_bytes",
        )),
        ("cycles", ctypes.c_uint64), ("fault", ctypes.c_char * 256),
    ]  # fmt: skip


def names_header() -> str:
    """`names.hpp`: what program.py numbers, as C++ constants."""
    lists = {
        "I_": decoding.CODES, "M_": decoding.MODIFIERS, "R_": decoding.SPECIAL_REGISTERS,
        "U_": (*decoding.UNITS, "COUNT"), "": decoding.KINDS,
    }  # fmt: skip
    named = [", ".join(prefix + name for name in names) for prefix, names in lists.items()]
    named.append(", ".join(f"{name} = {bit}" for name, bit in decoding.FLAGS.items()))
    return "#pragma once\n" + "".join(f"enum {{ {names} }};\n" for names in named)


@functools.cache
def _library() -> ctypes.CDLL:
    """The simulator, compiled by g++ if no earlier run has done it.

    Raises:
        FileNotFoundError: there is no g++.
    """
    text = "\0".join([names_header(), *FLAGS, *(f.read_text() for f in sorted(HERE.glob("*.[hc]pp")))])
    path = cache_folder() / f"simulator-{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as place:
            (Path(place) / "names.hpp").write_text(names_header())
            made = Path(place) / path.name
            subprocess.run(["g++", *FLAGS, f"-I{place}", str(HERE / "multiprocessor.cpp"), "-o", str(made)], check=True)
            os.replace(made, path)
    library = ctypes.CDLL(str(path))
    sizes = [library.size_of(k) for k in range(2)]
    assert sizes == [INSTRUCTION.itemsize, ctypes.sizeof(_Launch)], "structures differ between C++ and Python"
    return library


def simulate(
    program: Program, parameters: bytes, memory: NDArray[np.uint8], *, grid: tuple[int, int], threads: int,
    dynamic_shared: int = 0, rounds: int = 0,
) -> Run:  # fmt: skip
    """Run a kernel's blocks on one multiprocessor.

    Args:
        program: the kernel.
        parameters: its arguments as they lie in constant memory.
        memory: all of global memory, at a multiple of 128 bytes; pointers among the arguments are host addresses in it.
        grid: blocks in x and y.
        threads: of a block, in x.
        dynamic_shared: bytes, beside the program's own.
        rounds: go through the grid again until each place for a block was taken this often, and end with a full round,
            so that cycles are those of a full multiprocessor; 0: each block once.

    Raises:
        SimulationError: an access out of bounds, threads that wait for ever, an unknown instruction.
    """
    shared = program.shared_bytes + dynamic_shared
    resident = occupancy(threads, program.registers, shared)
    total = grid[0] * grid[1]
    blocks = -(-max(total, rounds * resident) // resident) * resident if rounds else total
    head = np.array([threads, 1, 1, *grid, 1], np.uint32).tobytes()
    banks = {0: head.ljust(PARAMETERS_AT, b"\0") + parameters} | program.banks
    assert memory.ctypes.data % 128 == 0
    launch = _Launch(
        program.code.ctypes.data, tuple(banks.get(k) for k in range(BANKS)), memory.ctypes.data, memory.nbytes,
        tuple(len(banks.get(k, b"")) for k in range(BANKS)), len(program.code), program.registers, shared, threads,
        *grid, blocks, min(resident, blocks), max(16 * 1024, CACHE_AND_SHARED_BYTES - resident * (shared + 128)),
    )  # fmt: skip
    _library().simulate(ctypes.byref(launch))
    if launch.fault:
        fault = launch.fault.decode()
        text = dict(enumerate(program.text)).get(int(fault.rsplit(" ", 1)[1]), "before the first")
        raise SimulationError(f"{program.name}: {fault}: {text}")
    return Run(launch.cycles, blocks, total)


def occupancy(threads: int, registers: int, shared_bytes: int) -> int:
    """Blocks of a kernel that one multiprocessor holds at a time.

    Registers are given out in units of 256 a warp, to warps of a scheduler's quarter of the file.

    Args:
        threads: of a block.
        registers: of a thread.
        shared_bytes: of a block, with the kilobyte that the system keeps.
    """
    warps = -(-threads // 32)
    per_warp = -(-max(registers, 1) * 32 // 256) * 256
    by_registers = REGISTERS // 4 // per_warp * 4 // warps
    by_shared = SHARED_BYTES // (-(-shared_bytes // 128) * 128)
    return max(1, min(MAX_BLOCKS, MAX_WARPS // warps, by_registers, by_shared))
