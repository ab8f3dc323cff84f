"""A `Backend` of the kernel pipeline that runs launches on the simulated multiprocessor.

The pipeline itself decides what is launched, on what grid and with which arguments, so the model follows
every change of the renderer, and what comes out are the renderer's pictures, from the real binaries.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.model import disassembly, machine
from bench.model.cache import folder
from bench.model.disassembly import Program, disassemble
from bench.model.machine import Multiprocessor
from bench.model.simulator import Run, occupancy, simulate

ARENA_BYTES = 1 << 28
ARCHITECTURE = "sm_90"


@dataclass(frozen=True)
class Launch:
    """A launch that was simulated."""

    kernel: str
    program: Program
    grid: tuple[int, int]
    threads: int
    shared_bytes: int
    run: Run


class SimulatedBackend:
    """See `KernelPipeline` for the methods.

    Args:
        compile_kernel: name, header and architecture to the path of a binary.
        multiprocessor: what to simulate.
        rounds: every launch goes through its grid again until each place for a block was filled this often,
            and ends with a full round.
        share: instead, the images of a batch that one multiprocessor gets, of which a launch's grid
            is taken to be `images`.
        launches: skip all later ones.
        budget: warp instructions of a launch, about; where its blocks would take more, some of them stand for
            all, and memory that the others would have written holds rubbish. 0: all blocks run.
    """

    def __init__(
        self, compile_kernel: Callable[[str, str, str], Any], multiprocessor: Multiprocessor, rounds: float = 1.0,
        share: float | None = None, launches: int = 99, budget: float = 0,
    ) -> None:  # fmt: skip
        self.compile_kernel, self.multiprocessor = compile_kernel, multiprocessor
        self.rounds, self.share, self.most = rounds, share, launches
        self.images, self.budget = 0, budget
        memory = np.zeros(ARENA_BYTES + 128, np.uint8)
        self.arena = memory[-memory.ctypes.data % 128 :][:ARENA_BYTES]
        self._used = 0
        self.memory_of: dict[tuple[str, int], Any] = {}
        self.launches: list[Launch] = []

    def empty(self, nbytes: int) -> np.ndarray[Any, Any]:
        """Some of the arena, uint8, 256 bytes apart from the rest."""
        start = self._used
        self._used += -(-max(nbytes, 16) // 256) * 256
        if self._used > ARENA_BYTES:
            raise MemoryError(f"the model's {ARENA_BYTES >> 20} MiB of device memory are used up: take fewer images")
        return self.arena[start : start + max(nbytes, 16)]

    def upload(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        own = self.empty(array.nbytes)
        own[: array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return own[: array.nbytes].view(array.dtype).reshape(array.shape)

    def scratch(self, name: str, nbytes: int) -> np.ndarray[Any, Any]:
        if (name, nbytes) not in self.memory_of:
            self.memory_of[name, nbytes] = self.empty(nbytes)
            self.memory_of[name, nbytes][:] = 0xCD  # rubbish, as on a device
        return self.memory_of[name, nbytes]

    def load(self, kernel: str, header: str) -> Program:
        return program(self.compile_kernel(kernel, header, ARCHITECTURE).read_bytes(), kernel)

    def launch(self, function: Any, grid: tuple[int, int], threads: int, shared: int, *arguments: Any) -> None:
        if len(self.launches) == self.most:
            return
        resident = occupancy(function, threads, shared)
        total = grid[0] * grid[1]
        if self.share is not None:
            blocks = math.ceil(total / self.images * self.share)
        else:
            blocks = max(total, math.ceil(max(total / resident, self.rounds)) * resident if self.rounds else total)

        def run_blocks(count: int, spread: bool) -> Run:
            bank = parameters(arguments)
            return simulate(
                function, bank, self.arena, self.multiprocessor, grid=grid, threads=threads, dynamic_shared=shared,
                blocks=count, spread=spread,
            )  # fmt: skip

        fewer = blocks
        if blocks > 4 * resident and self.budget and self.share is None:  # a few tell whether all would take too long
            each = run_blocks(resident, True).issued / resident
            fewer = min(blocks, max(2, math.ceil(self.budget / each / resident)) * resident)
        run = run_blocks(fewer, fewer < blocks)
        self.launches.append(Launch(function.name, function, grid, threads, shared, run))


def program(binary: bytes, kernel: str) -> Program:
    """The disassembled binary, from the cache if it was seen before."""
    ours = b"".join(Path(module.__file__).read_bytes() for module in (disassembly, machine))
    path = folder() / f"{kernel}-{hashlib.sha256(binary + ours).hexdigest()[:24]}.npz"
    if path.is_file():
        with np.load(path) as kept:
            registers, shared = kept["numbers"].tolist()
            lines = tuple(kept["lines"].tolist())
            banks = {k: kept[f"bank{k}"].tobytes() for k in range(9) if f"bank{k}" in kept}
            return Program(
                kernel, kept["code"], tuple(kept["text"].tolist()), lines, registers=registers, shared_bytes=shared,
                banks=banks,
            )  # fmt: skip
    made = disassemble(binary, kernel)
    part = path.with_suffix(f".{os.getpid()}.npz")
    numbers = [made.registers, made.shared_bytes]
    banks = {f"bank{k}": np.frombuffer(data, np.uint8) for k, data in made.banks.items()}
    np.savez(part, **banks, code=made.code, text=np.array(made.text), lines=np.array(made.lines), numbers=numbers)
    part.replace(path)
    return made


def parameters(arguments: tuple[Any, ...]) -> bytes:
    """Arguments as a kernel finds them: each at a multiple of its size, arrays as addresses."""
    out = bytearray()
    for argument in arguments:
        if argument is None:
            value = np.uint64(0)
        elif isinstance(argument, np.ndarray):
            value = np.uint64(argument.ctypes.data)
        else:
            value = argument
        out += b"\0" * (-len(out) % value.nbytes) + value.tobytes()
    return bytes(out)
