"""Run the CUDA kernels' own sources on a CPU: a `Backend` for `KernelPipeline`."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from fracgen.draws import Stream, seed_key
from fracgen.formulas.files import Bank
from fracgen.formulas.formula import formula
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.presets import PRESETS
from fracgen.recipes.recipe import Recipe
from fracgen.rendering.base import Rendered, checked_index
from fracgen.rendering.cuda.pipeline import OutputFormat
from fracgen.rendering.cuda.sources import kernel_folder, kernels, read_by
from fracgen.rendering.parameters import Parameters

if TYPE_CHECKING:
    from fracgen.rendering.base import Index

HERE = Path(__file__).parent
WITH_KERNELS = [name for name, preset in PRESETS.items() if formula(preset.recipe.formula).has_kernels]
"""Presets that a GPU can render."""
FLAGS = [
    "-std=c++17", "-O1", "-fPIC", "-mfma", "-ffp-contract=off", "-fno-strict-aliasing",
    "-fno-extern-tls-init", "-w",
]  # fmt: skip


class HostBackend:
    """Compiles each kernel with g++ into a library of its own and runs it on fibers.

    Args:
        folder: where libraries are built and kept; one for sources that stay as they are.
        order: the order threads run in: 0 forward, 1 backward, 2 shuffled.
        sanitize: build with the undefined behaviour sanitizer, which aborts the process.
        edited: kernel name -> another text for its file, to plant a fault.
    """

    def __init__(
        self, folder: Path, order: int = 0, sanitize: bool = False, edited: dict[str, str] | None = None
    ) -> None:
        self.folder, self.order, self.sanitize, self.edited = folder, order, sanitize, edited or {}
        self.shared: dict[str, int] = {}
        """Dynamic shared memory of each kernel's launches, which is compiled in here."""

    def upload(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.ascontiguousarray(array)

    def scratch(self, name: str, nbytes: int) -> NDArray[np.generic]:
        return np.full(max(16, nbytes), 0xCD, np.uint8)  # rubbish, as on a device

    def load(self, kernel: str, header: str) -> ctypes.CDLL:
        loaded = ctypes.CDLL(str(self.build(kernel, header)))
        loaded.launch.restype = ctypes.c_char_p
        return loaded

    def build(self, kernel: str, header: str) -> Path:
        """The library of a kernel, compiled if no test has needed it yet."""
        header, shared, edited = read_by(kernel, header), self.shared.get(kernel), self.edited.get(kernel)
        key = f"{header}{shared}{self.sanitize}{edited}"
        folder = self.folder / f"{kernel}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "parameters.cuh").write_text(header)
        source = kernel_folder() / kernels()[kernel]
        if edited:
            source = folder / f"{kernel}.cu"
            source.write_text(edited)
        defines = [f"-DKERNEL={kernel}", f'-DKERNEL_FILE="{source}"']
        if shared:
            defines.append(f"-DDYNAMIC_SHARED={shared}")
        if self.sanitize:
            defines += ["-fsanitize=undefined", "-fno-sanitize-recover=undefined", "-g"]
        places = [f"-I{folder}", f"-I{kernel_folder()}", str(HERE / "kernel.cpp"), str(self._runner())]
        return self._compiled(["-shared", *defines, *places], folder / "kernel.so")

    def _runner(self) -> Path:
        """The part that is the same for all kernels."""
        return self._compiled(["-c", str(HERE / "runner.cpp")], self.folder / "runner.o")

    @staticmethod
    def _compiled(arguments: list[str], output: Path) -> Path:
        """What g++ makes, once a session: its processes share the folder."""
        with FileLock(output.with_suffix(".lock")):
            if not output.is_file():
                part = output.with_suffix(".part")
                subprocess.run(["g++", *FLAGS, f"-I{HERE}", *arguments, "-o", str(part)], check=True)
                part.replace(output)
        return output

    def launch(
        self, function: object, grid: tuple[int, int], threads: int, shared: int, *arguments: object
    ) -> None:
        assert isinstance(function, ctypes.CDLL)
        assert len(arguments) == function.parameters(), "the launch passes another number of arguments"
        boxes = [_box(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(boxes))(*[ctypes.addressof(box) for box in boxes])
        fault = function.launch(*map(ctypes.c_uint, (*grid, threads)), ctypes.c_int(self.order), pointers)
        assert fault is None, fault.decode()


def _box(argument: object) -> ctypes.c_void_p | ctypes.c_uint32 | ctypes.c_uint64:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, np.ndarray):
        assert argument.flags.c_contiguous
        return ctypes.c_void_p(argument.ctypes.data)
    assert isinstance(argument, (np.uint32, np.uint64))
    return ctypes.c_uint32(int(argument)) if isinstance(argument, np.uint32) else ctypes.c_uint64(int(argument))


class HostRenderer:
    """The CUDA renderer's twin on `HostBackend`; `render` is that of the renderer protocol."""

    def __init__(
        self, bank: Bank, recipe: Recipe, backend: HostBackend, shared_memory: int = 227 * 1024, **threads: int
    ) -> None:
        self.bank, self.recipe, self.parameters = bank, recipe, Parameters.of(recipe)
        make = formula(bank.formula).pipeline
        self.pipeline = make(bank, self.parameters, backend, shared_memory, 1 << 22, threads)
        backend.shared = dict(self.pipeline.layout.shared)

    def render(
        self, index: Index, *, seed: int = 0, epoch: int = 0, stream: int = Stream.TRAIN, masks: bool = False,
        form: OutputFormat | None = None, values: NDArray[np.generic] | None = None,
    ) -> Rendered:  # fmt: skip
        form = form or OutputFormat()
        indices = checked_index(index)
        batch, size, views = len(indices), self.parameters.size, self.parameters.views
        axes = (size, size, 3) if form.channels_last else (3, size, size)
        dtype = {1: np.uint8, 2: np.uint16, 4: np.uint32}[form.element_bytes]
        out = np.full((batch, views, *axes), 0xCD, dtype)
        shown = np.full((batch, views, size, size), 0xCD, np.uint8) if masks else None
        codes = np.full((batch, self.parameters.max_objects), -2, np.int32)
        self.pipeline.run(
            indices, batch, key=seed_key(seed), epoch=epoch, stream=int(stream), out=out, masks=shown, codes=codes,
            values=values, form=form,
        )  # fmt: skip
        return Rendered(out, codes, shown)


def dots() -> CodeBank:
    """Codes that fill a counter: one dot, two dots of singular maps, and two dots beside six fainter
    ones, where it shows at which point drawing stopped."""
    maps = np.zeros((3, 8, 2, 3), np.float32)
    maps[0, :2] = [[[0.001, 0, 0.3], [0, 0.001, 0.3]], [[1e-5, 0, 0.9], [0, 1e-5, 0.1]]]
    maps[1, :2] = [[[0, 0, 0.3], [0, 0, 0.3]], [[0, 0, 0.9], [0, 0, 0.1]]]
    for i in range(8):
        scale = 0.01 if i < 2 else 0.002
        maps[2, i] = [[scale, 0, np.cos(i)], [0, scale, np.sin(i)]]
    return CodeBank(maps, np.array([2, 2, 8], np.uint8), 3)
