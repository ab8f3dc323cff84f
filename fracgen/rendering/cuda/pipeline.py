"""The kernels in order: which are launched, on what grid, with which arguments.

A `KernelPipeline` is independent of the device: a `Backend` provides memory and launches; there is one for CUDA
(`rendering.cuda.renderer`) and one that runs the same sources on a CPU, in the tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import Bank
from fracgen.rendering.cuda.layout import Layout
from fracgen.rendering.parameters import Parameters, header
from fracgen.rendering.records import OBJECT_FIELDS, PALETTE, SCENE_FIELDS

MAX_GRID_Y = 65_535
"""CUDA's limit on a grid's second dimension, which counts images."""

DeviceArray: TypeAlias = Any
"""An array on the backend's device: a torch tensor, or a NumPy array of a simulated device."""
Function: TypeAlias = Any
"""A compiled kernel, as the backend's `load` gives it and its `launch` takes it."""
Argument: TypeAlias = "DeviceArray | np.generic | None"


class Backend(Protocol):
    """The operations a device provides."""

    def upload(self, array: NDArray[np.generic]) -> DeviceArray:
        """A copy of an array on the device."""

    def scratch(self, name: str, nbytes: int) -> DeviceArray:
        """At least that many bytes on the device, with no promise about their contents."""

    def load(self, kernel: str, header: str) -> Function:
        """A kernel, compiled; `launch` takes it."""

    def launch(
        self, function: Function, grid: tuple[int, int], threads: int, shared: int, *arguments: Argument
    ) -> None:
        """Run a kernel. Arguments are the device's arrays, None for a null pointer, or NumPy scalars."""


class OutputFormat(NamedTuple):
    """How images are stored: bytes an element (1, 2 or 4) and the order of the axes."""

    element_bytes: int = 1
    channels_last: bool = False


class Part(NamedTuple):
    """What kernels make in one go: `n` samples."""

    n: int
    samples: tuple[Argument, ...]
    """What random numbers depend on: key 0, key 1, epoch, stream, indices."""
    space: Mapping[str, DeviceArray]
    """Of `scratch_sizes`."""
    values: DeviceArray
    """[3, 256] of the format's element size: the output value of each byte of each channel; unused for 1 byte."""
    outputs: tuple[DeviceArray, ...]
    """Images, masks or None, codes or None, of these samples."""
    form: OutputFormat


class KernelPipeline(ABC):
    """Renders batches through a backend.

    Args:
        bank, parameters: what to render.
        backend: the device.
        shared_memory: most bytes a block may ask for on the device.
        scratch_bytes: most memory for what passes between kernels; a larger batch goes in parts.
        threads: other block sizes than the usual, by kernel.
    """

    kernels: tuple[str, ...]
    """In the order in which they run; the last one stores the images."""
    constants: Mapping[str, float] = {}
    """What the formula's kernels know by the same names."""

    def __init__(
        self, bank: Bank, parameters: Parameters, backend: Backend, shared_memory: int, scratch_bytes: int,
        threads: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.parameters, self.backend = parameters, backend
        self.layout = Layout.of_scenes(parameters) | self.lay_out(shared_memory) | Layout(threads=threads or {})
        self.codes = tuple(map(self._upload, bank.codes()))
        self.functions: dict[tuple[str, OutputFormat], Function] = {}
        most = MAX_GRID_Y // parameters.views
        self.chunk = max(1, min(most, scratch_bytes // sum(self.scratch_sizes().values())))

    @abstractmethod
    def lay_out(self, shared_memory: int) -> Layout:
        """The layout of the formula's own kernels."""

    @abstractmethod
    def render_part(self, part: Part) -> None:
        """Launch the kernels for a part of a batch."""

    def _upload(self, part: NDArray[np.generic] | int) -> Argument:
        """A part of a bank's codes as kernels read it."""
        if isinstance(part, int):
            return np.uint32(part)
        return self.backend.upload(part) if part.size else None

    def scratch_sizes(self) -> dict[str, int]:
        """Bytes that pass between kernels, per sample."""
        parameters, noise = self.parameters, self.parameters.noise
        return {
            "scenes": parameters.views * SCENE_FIELDS * 4,
            "objects": self.objects(1) * OBJECT_FIELDS * 4,
            "noise": parameters.views * self.layout.numbers["noise_cells"] * 2 if noise else 0,
            "backgrounds": parameters.views * PALETTE * 4 if noise else 0,
        }

    def objects(self, n: int) -> int:
        """Number of objects, drawn or not, of `n` samples."""
        return n * self.parameters.views * self.parameters.max_objects

    def header(self, form: OutputFormat) -> str:
        """`parameters.cuh` for this pipeline."""
        more = {"out_bytes": form.element_bytes, "out_channels_last": int(form.channels_last)}
        return header(self.parameters, {**self.constants, **self.layout.definitions(), **more})

    def prepare(self, form: OutputFormat) -> None:
        """Compile what rendering in this format needs, so that a later `run` only launches."""
        for kernel in self.kernels:
            if self.parameters.noise or kernel not in ("noise", "backdrop"):
                self.function(kernel, form)

    def function(self, kernel: str, form: OutputFormat) -> Function:
        """A kernel, compiled on first use."""
        # Only the last kernel depends on the format, so all others share one binary.
        key = (kernel, form if kernel == self.kernels[-1] else OutputFormat())
        if key not in self.functions:
            self.functions[key] = self.backend.load(kernel, self.header(key[1]))
        return self.functions[key]

    def run(
        self, indices: DeviceArray, count: int, *, key: tuple[int, int], epoch: int, stream: int, out: DeviceArray,
        masks: DeviceArray, codes: DeviceArray, values: DeviceArray, form: OutputFormat,
    ) -> None:  # fmt: skip
        """Render `count` samples.

        Args:
            indices: uint32 [count] on the device; slices of it and of the outputs are taken.
            out: [count, views, 3, size, size] or [count, views, size, size, 3], of the format's element size.
            masks: uint8 [count, views, size, size] or None.
            codes: int32 [count, max_objects] of the first view, or None.
            values: see `Part`.
        """
        if count == 0:
            return
        parts = -(-count // self.chunk)
        step = -(-count // parts)  # equal parts: a short last one would leave most of the device idle
        space = {name: self.backend.scratch(name, n * step) for name, n in self.scratch_sizes().items()}
        seeds = (np.uint32(key[0]), np.uint32(key[1]), np.uint32(epoch), np.uint32(stream))
        for first in range(0, count, step):
            n = min(step, count - first)
            outputs = tuple(None if array is None else array[first : first + n] for array in (out, masks, codes))
            self.render_part(Part(n, (*seeds, indices[first : first + n]), space, values, outputs, form))

    def launch(self, kernel: str, part: Part, grid: tuple[int, int], *arguments: Argument) -> None:
        """Launch a kernel."""
        layout = self.layout
        function = self.function(kernel, part.form)
        self.backend.launch(function, grid, layout.threads[kernel], layout.shared.get(kernel, 0), *arguments)

    def make_noise(self, part: Part) -> None:
        """Launch `noise`, where the background is noise."""
        if self.parameters.noise:
            space = part.space
            grid = (part.n * self.parameters.views, 1)
            self.launch("noise", part, grid, *part.samples, space["scenes"], space["noise"], space["backgrounds"])


class TexturePipeline(KernelPipeline):
    """A pipeline of textures, laid over the background by their coverage; twin of `rendering.cpu.stages`.

    Noise and backdrop make the background, blend lays objects over it.
    """

    view_fields = 0
    """Floats of an object that the formula knows before it draws it."""

    @abstractmethod
    def draw(self, part: Part) -> None:
        """Launch what draws the objects: writes `scenes`, `objects`, and `textures` u32 [J, canvas, canvas] of every
        object whose code is not -1."""

    def scratch_sizes(self) -> dict[str, int]:
        """See `KernelPipeline.scratch_sizes`."""
        parameters = self.parameters
        return super().scratch_sizes() | {
            "views": self.objects(1) * self.view_fields * 4,
            "textures": self.objects(1) * parameters.canvas**2 * 4,
            "backdrops": parameters.views * 3 * parameters.size**2 if parameters.noise else 0,
        }

    def render_part(self, part: Part) -> None:
        """See `KernelPipeline.render_part`."""
        parameters, space, numbers = self.parameters, part.space, self.layout.numbers
        self.draw(part)
        self.make_noise(part)
        images = part.n * parameters.views
        if parameters.noise:
            self.launch(
                "backdrop", part, (-(-parameters.size // numbers["backdrop_rows"]), images), *part.samples,
                space["scenes"], space["noise"], space["backgrounds"], space["backdrops"],
            )  # fmt: skip
        self.launch(
            "blend", part, (-(-parameters.size // numbers["blend_rows"]), images), space["scenes"], space["objects"],
            space["textures"], space["backdrops"] if parameters.noise else None, part.values, *part.outputs,
        )  # fmt: skip
