"""A `Backend` of the kernel pipeline whose launches run on the simulated multiprocessor.

The pipeline itself decides what is launched, on what grid and with which arguments, so this follows every change of the
renderer, and what comes out are the renderer's images, from the real binaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.machine_code.program import Program
from bench.machine_code.simulator import Run, simulate
from fracgen.draws import Stream, seed_key
from fracgen.formulas.banks import Bank
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.formulas import make_pipeline
from fracgen.rendering.cuda.layout import SHARED_MEMORY, Layout
from fracgen.rendering.cuda.nvrtc import compile_kernel
from fracgen.rendering.cuda.pipeline import OutputFormat
from fracgen.rendering.parameters import Parameters

MEMORY_BYTES = 1 << 28
ARCHITECTURE, CAPABILITY = "sm_90", 90
ROUNDS = 2

Array: TypeAlias = NDArray[np.generic]


class SimulatedBackend:
    """See `Backend` for the methods.

    Args:
        rounds: see `simulate`.
    """

    def __init__(self, rounds: int = ROUNDS) -> None:
        whole = np.zeros(MEMORY_BYTES + 128, np.uint8)
        self.memory = whole[-whole.ctypes.data % 128 :][:MEMORY_BYTES]
        self.rounds, self._used = rounds, 0
        self.runs: dict[str, list[tuple[Run, int]]] = {}
        """By kernel, each launch with its number of blocks."""

    def empty(self, nbytes: int) -> NDArray[np.uint8]:
        """Some of the memory, full of rubbish as on a device, uint8 [nbytes]."""
        start = self._used
        self._used += -(-max(nbytes, 16) // 256) * 256
        if self._used > MEMORY_BYTES:
            raise MemoryError(f"the simulated card's {MEMORY_BYTES >> 20} MiB are used up: take fewer or smaller images")
        own = self.memory[start : start + max(nbytes, 16)]
        own[:] = 0xCD
        return own

    def upload(self, array: Array) -> Array:
        own = self.empty(array.nbytes)[: array.nbytes].view(array.dtype).reshape(array.shape)
        own[...] = array
        return own

    def scratch(self, name: str, nbytes: int) -> NDArray[np.uint8]:
        return self.empty(nbytes)

    def load(self, kernel: str, header: str) -> Program:
        return Program.read(compile_kernel(kernel, header, ARCHITECTURE).read_bytes(), kernel)

    def launch(
        self, function: Program, grid: tuple[int, int], threads: int, shared: int, *arguments: Array | np.generic | None
    ) -> None:
        run = simulate(
            function, packed(arguments), self.memory, grid=grid, threads=threads, dynamic_shared=shared,
            rounds=self.rounds,
        )  # fmt: skip
        self.runs.setdefault(function.name, []).append((run, grid[0] * grid[1]))


def packed(arguments: Sequence[Array | np.generic | None]) -> bytes:
    """Arguments as a kernel finds them: each at a multiple of its size, arrays as addresses."""
    out = bytearray()
    for argument in arguments:
        address = 0 if argument is None else argument.ctypes.data if isinstance(argument, np.ndarray) else None
        value = np.uint64(address) if address is not None else argument
        assert isinstance(value, np.generic)
        out += b"\0" * (-len(out) % value.nbytes) + value.tobytes()
    return bytes(out)


@dataclass(frozen=True)
class Rendered:
    """Images from the binaries, compared.

    Args:
        images: how many.
        bytes: of all images.
        differences: bytes that differ from the CPU renderer's.
        cycles: by kernel, of one multiprocessor for an image.
        instructions: by kernel, of warps for an image.
    """

    images: int
    bytes: int
    differences: int
    cycles: dict[str, float] = field(default_factory=dict)
    instructions: dict[str, float] = field(default_factory=dict)


def render(bank: Bank, recipe: Recipe, index: Sequence[int]) -> Rendered:
    """Render samples with the real binaries and compare every byte with the CPU renderer's.

    Raises:
        SimulationError, UnknownInstructionError: a binary cannot be carried out.
        MemoryError: the images need more memory than is simulated.
    """
    backend, parameters, form = SimulatedBackend(), Parameters.of(recipe), OutputFormat()
    layout = Layout.choose(parameters, SHARED_MEMORY[CAPABILITY] * 1024)
    pipeline = make_pipeline(bank, parameters, layout, backend, MEMORY_BYTES)
    samples = np.array(index, np.uint32)
    expected = CpuRenderer(bank, recipe).render(samples)
    made = backend.empty(expected.images.nbytes)
    codes = backend.empty(len(samples) * parameters.max_objects * 4)
    pipeline.run(
        backend.upload(samples), len(samples), key=seed_key(0), epoch=0, stream=int(Stream.TRAIN),
        out=made.reshape(len(samples), -1), masks=None, codes=codes.reshape(len(samples), -1), values=None, form=form,
    )  # fmt: skip
    cycles, instructions = {}, {}
    for kernel, runs in backend.runs.items():
        cycles[kernel] = sum(run.cycles * blocks / run.blocks for run, blocks in runs) / len(samples)
        instructions[kernel] = sum(run.instructions * blocks / run.blocks for run, blocks in runs) / len(samples)
    differences = int((made != expected.images.reshape(-1)).sum())
    return Rendered(len(samples), expected.images.nbytes, differences, cycles, instructions)
