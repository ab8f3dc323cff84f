"""A `Backend` of the kernel pipeline whose launches run on the simulated multiprocessor.

The pipeline itself decides what is launched, on what grid and with which arguments, so this follows every change of the
renderer, and what comes out are the renderer's images, from the real binaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.machine_code.program import Program
from bench.machine_code.simulator import Run, simulate
from fracgen.benchmarking.record import Results, Summary
from fracgen.draws import Stream, seed_key
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import formula
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.cpu.renderer import CpuRenderer
from fracgen.rendering.cuda.layout import SHARED_MEMORY
from fracgen.rendering.cuda.nvrtc import compile_kernel
from fracgen.rendering.cuda.pipeline import OutputFormat
from fracgen.rendering.parameters import Parameters

MEMORY_BYTES = 1 << 28
ARCHITECTURE, SHARED_BYTES = "sm_90", SHARED_MEMORY[90] * 1024

Array: TypeAlias = NDArray[np.generic]


class SimulatedBackend:
    """See `Backend` for the methods.

    Args:
        rounds: see `simulate`.
    """

    def __init__(self, rounds: int = 2) -> None:
        whole = np.zeros(MEMORY_BYTES + 128, np.uint8)
        self.memory = whole[-whole.ctypes.data % 128 :][:MEMORY_BYTES]
        self.rounds, self._used = rounds, 0
        self.runs: list[tuple[str, Run]] = []
        self.buffers: dict[str, NDArray[np.uint8]] = {}

    def empty(self, nbytes: int) -> NDArray[np.uint8]:
        """Some of the memory, full of rubbish as on a device, uint8 [nbytes]."""
        start = self._used
        self._used += -(-max(nbytes, 16) // 256) * 256
        if self._used > MEMORY_BYTES:
            raise MemoryError(f"the simulated {MEMORY_BYTES >> 20} MiB are used up: take fewer or smaller images")
        self.memory[start : self._used] = 0xCD
        return self.memory[start : start + max(nbytes, 16)]

    def upload(self, array: Array) -> Array:
        own = self.empty(array.nbytes)[: array.nbytes].view(array.dtype).reshape(array.shape)
        own[...] = array
        return own

    def scratch(self, name: str, nbytes: int) -> NDArray[np.uint8]:
        self.buffers[name] = self.empty(nbytes)
        return self.buffers[name]

    def load(self, kernel: str, header: str) -> Program:
        return Program.read(compile_kernel(kernel, header, ARCHITECTURE).read_bytes(), kernel)

    def launch(
        self, function: Program, grid: tuple[int, int], threads: int, shared: int, *arguments: Array | np.generic | None
    ) -> None:
        packed = bytearray()
        for argument in arguments:  # each at a multiple of its size, arrays as addresses
            address = argument.ctypes.data if isinstance(argument, np.ndarray) else 0
            value = argument if isinstance(argument, np.generic) else np.uint64(address)
            packed += b"\0" * (-len(packed) % value.nbytes) + value.tobytes()
        done = simulate(
            function, bytes(packed), self.memory, grid=grid, threads=threads, dynamic_shared=shared, rounds=self.rounds
        )
        self.runs.append((function.name, done))


def run(
    bank: Bank, recipe: Recipe, index: Sequence[int], *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN
) -> tuple[SimulatedBackend, NDArray[np.uint8]]:
    """Render samples with the binaries: the card as they leave it, and the images as bytes [B, ...].

    Raises:
        SimulationError, UnknownInstructionError: a binary cannot be carried out.
        MemoryError: the images need more memory than is simulated.
    """
    backend, parameters, n = SimulatedBackend(), Parameters.of(recipe), len(index)
    pipeline = formula(bank.formula).pipeline(bank, parameters, backend, SHARED_BYTES, MEMORY_BYTES)
    images = backend.empty(n * parameters.views * 3 * parameters.size**2).reshape(n, -1)
    codes = backend.empty(n * parameters.max_objects * 4)[: n * parameters.max_objects * 4].reshape(n, -1)
    pipeline.run(
        backend.upload(np.array(index, np.uint32)), n, key=seed_key(seed), epoch=epoch, stream=int(stream), out=images,
        masks=None, codes=codes, values=None, form=OutputFormat(),
    )  # fmt: skip
    return backend, images


def measure(name: str, bank: Bank, recipe: Recipe, images: int) -> Results:
    """Bytes unlike the CPU renderer's, and cycles of one multiprocessor an image by kernel, of the first samples."""
    backend, made = run(bank, recipe, range(images))
    wrong = int((made.reshape(-1) != CpuRenderer(bank, recipe).render(range(images)).numpy().images.reshape(-1)).sum())
    results = {f"`{name}` bytes unlike the CPU renderer's": Summary.of("differences", [wrong])}
    cycles: dict[str, float] = {}
    for kernel, own in backend.runs:
        cycles[kernel] = cycles.get(kernel, 0.0) + own.cycles * own.grid_blocks / own.blocks / images
    results |= {f"`{name}` {kernel}": Summary.of("cycles/image", [count]) for kernel, count in cycles.items()}
    return results | {f"`{name}`": Summary.of("cycles/image", [sum(cycles.values())])}
