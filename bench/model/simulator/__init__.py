"""The simulated multiprocessor: C++ in this folder, compiled once for a machine and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.model import machine
from bench.model.cache import folder
from bench.model.disassembly import INSTRUCTION, Program

HERE = Path(__file__).parent
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-frounding-math", "-fPIC", "-shared",
)  # fmt: skip
MAX_SPANS, BANKS = 4096, 4


class SimulationError(RuntimeError):
    """The simulated kernel did what a card would fault on, or what the simulator does not know."""


class _Launch(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_void_p), ("banks", ctypes.c_void_p * BANKS),
        *((name, ctypes.c_void_p) for name in ("arena", "touched", "order")),
        ("arena_bytes", ctypes.c_uint64), ("bank_bytes", ctypes.c_uint32 * BANKS),
        *((name, ctypes.c_uint32) for name in (
            "instructions", "registers", "shared_bytes", "threads", "grid_x", "grid_y", "blocks",
            "resident", "cache_bytes",
        )),
    ]  # fmt: skip


class _Report(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint64) for name in (
            "cycles", "issued", "wavefronts", "atomic_instructions", "atomic_wavefronts", "read_sectors",
            "written_sectors",
        )),
        ("pipe_busy", ctypes.c_uint64 * len(machine.PIPES)),
        *((name, ctypes.c_void_p) for name in ("executed", "waited", "lanes", "started", "ended", "spans")),
        ("span_count", ctypes.c_uint32), ("fault", ctypes.c_char * 256),
    ]  # fmt: skip


_SPAN = np.dtype([("from", "<u4"), ("to", "<u4"), ("count", "<u4"), ("unused", "<u4"), ("cycles", "<u8")])


@dataclass(frozen=True, kw_only=True)
class Run:
    """What simulating a launch showed. Counts are of the whole run; cycles of one multiprocessor.

    Args:
        cycles: from the first to the last.
        blocks, resident: simulated in all, and at a time.
        started, ended: cycle of each block, [blocks].
        issued: warp instructions.
        busy: unit -> cycles that it was taken (a scheduler's, summed over the four; load-store: passes).
        atomic_instructions, atomic_wavefronts: of warps in shared memory, and the passes that they took.
        read_bytes, written_bytes: of distinct 32-byte sectors of global memory.
        executed, waited, lanes: by instruction, [n]: times issued by a warp, cycles warps stood before it,
            threads that took part.
        sampled: whether the blocks are a sample of the grid's.
        spans: (from, to) instruction of two barriers -> (times, cycles of a block between them).
    """

    cycles: int
    blocks: int
    resident: int
    started: NDArray[np.uint64]
    ended: NDArray[np.uint64]
    issued: int
    busy: dict[str, int]
    atomic_instructions: int
    atomic_wavefronts: int
    read_bytes: int
    written_bytes: int
    executed: NDArray[np.uint64]
    waited: NDArray[np.uint64]
    lanes: NDArray[np.uint64]
    sampled: bool
    spans: dict[tuple[int, int], tuple[int, int]]

    @property
    def full_cycles(self) -> float:
        """Cycles, as if the multiprocessor had been full to the end: of a sample, the last blocks stand for others."""
        return float((self.ended - self.started).sum()) / self.resident if self.sampled else float(self.cycles)


def names_header() -> str:
    """`names.hpp`: instructions, modifiers and special registers as C++ numbers."""
    lists = (("I_", machine.CODES), ("M_", machine.MODIFIERS), ("R_", machine.SPECIAL_REGISTERS))
    lines = (f"enum {{ {', '.join(prefix + name for name in names)} }};" for prefix, names in lists)
    return "// Generated from machine.py.\n#pragma once\n" + "\n".join(lines) + "\n"


@functools.cache
def _library() -> Any:
    """The simulator, compiled by g++ if no earlier run has done it.

    Raises:
        FileNotFoundError: there is no g++.
    """
    files = sorted(HERE.glob("*.[hc]pp"))
    text = "\0".join([names_header(), *FLAGS, *(f.read_text() for f in files)])
    path = folder() / f"simulator-{hashlib.sha256(text.encode()).hexdigest()[:16]}.so"
    if not path.is_file():
        with tempfile.TemporaryDirectory(dir=folder()) as place:
            (Path(place) / "names.hpp").write_text(names_header())
            part = Path(place) / "simulator.so"
            command = ["g++", *FLAGS, f"-I{place}", str(HERE / "multiprocessor.cpp"), "-o", str(part)]
            subprocess.run(command, check=True)
            os.replace(part, path)
    library = ctypes.CDLL(str(path))
    expected = (INSTRUCTION.itemsize, *map(ctypes.sizeof, (_Launch, machine.MachineStruct, _Report)))
    assert tuple(library.sizes(k) for k in range(4)) == expected, "structures differ between C++ and Python"
    return library


def simulate(
    program: Program, parameters: bytes, arena: NDArray[np.uint8], multiprocessor: machine.Multiprocessor, *,
    grid: tuple[int, int], threads: int, dynamic_shared: int, blocks: int, spread: bool = False,
) -> Run:  # fmt: skip
    """Run a kernel's blocks on one multiprocessor.

    Args:
        program: the kernel.
        parameters: its arguments as they lie in constant memory.
        arena: all of global memory; pointers among the arguments are host addresses in it.
        multiprocessor: rates and latencies.
        grid: blocks in x and y.
        threads: a block's, in x.
        dynamic_shared: bytes, beside the program's own.
        blocks: to run in all; a number above the grid's goes through it again, one below takes the first.
        spread: take blocks from all over the grid instead, as a sample of it.

    Raises:
        SimulationError: an access out of bounds, threads that wait for ever, an unknown instruction.
    """
    shared = program.shared_bytes + dynamic_shared
    resident = occupancy(program, threads, dynamic_shared)
    bank = np.zeros(PARAMETERS_AT + len(parameters), np.uint8)
    bank[:12].view(np.uint32)[:] = (threads, 1, 1)
    bank[12:24].view(np.uint32)[:] = (*grid, 1)
    bank[PARAMETERS_AT:] = np.frombuffer(parameters, np.uint8)
    total = grid[0] * grid[1]
    order = (np.arange(blocks) * total // blocks if spread else np.arange(blocks) % total).astype(np.uint32)
    touched = np.zeros(arena.nbytes // 32 + 1, np.uint8)
    n = len(program.code)
    executed, waited, lanes = (np.zeros(n, np.uint64) for _ in range(3))
    started, ended = np.zeros(blocks, np.uint64), np.zeros(blocks, np.uint64)
    spans = np.zeros(MAX_SPANS, _SPAN)
    code = np.ascontiguousarray(program.code)
    assert arena.ctypes.data % 128 == 0
    banks = {0: bank} | {k: np.frombuffer(data, np.uint8) for k, data in program.banks.items()}
    launch = _Launch(
        code.ctypes.data, (ctypes.c_void_p * BANKS)(*(banks[k].ctypes.data if k in banks else 0 for k in range(BANKS))),
        arena.ctypes.data, touched.ctypes.data, order.ctypes.data, arena.nbytes,
        (ctypes.c_uint32 * BANKS)(*(len(banks.get(k, ())) for k in range(BANKS))), n, program.registers, shared,
        threads, *grid, blocks, min(resident, blocks),
        max(16 * 1024, machine.CACHE_AND_SHARED_BYTES - resident * (shared + 128)),
    )  # fmt: skip
    report = _Report()
    arrays = {
        "executed": executed, "waited": waited, "lanes": lanes, "started": started, "ended": ended, "spans": spans,
    }  # fmt: skip
    for name, array in arrays.items():
        setattr(report, name, array.ctypes.data)
    rates = machine.MachineStruct.of(multiprocessor)
    if _library().simulate(ctypes.byref(launch), ctypes.byref(rates), ctypes.byref(report)):
        raise SimulationError(f"{program.name}: {explain(report.fault.decode(), program)}")
    return Run(
        cycles=report.cycles, blocks=blocks, resident=min(resident, blocks), started=started, ended=ended,
        issued=report.issued, busy=dict(zip(machine.PIPES, report.pipe_busy, strict=True)),
        atomic_instructions=report.atomic_instructions, atomic_wavefronts=report.atomic_wavefronts,
        read_bytes=32 * report.read_sectors, written_bytes=32 * report.written_sectors, executed=executed,
        waited=waited, lanes=lanes, sampled=spread,
        spans={(int(s["from"]), int(s["to"])): (int(s["count"]), int(s["cycles"])) for s in spans[: report.span_count]},
    )  # fmt: skip


def occupancy(program: Program, threads: int, dynamic_shared: int) -> int:
    """Blocks of a launch that a multiprocessor holds at a time."""
    # A program's shared bytes count the system's kilobyte, which is added there.
    shared = program.shared_bytes + dynamic_shared - machine.SHARED_RESERVE
    return machine.resident_blocks(threads, program.registers, shared)


PARAMETERS_AT = 0x210
"""Where a kernel's arguments begin in constant bank 0 on compute capability 9.0."""


def explain(fault: str, program: Program) -> str:
    """A fault with the text of the instruction that it names."""
    number = int(fault.rsplit(" ", 1)[1])
    return f"{fault}: {program.text[number]}" if 0 <= number < len(program.text) else fault
