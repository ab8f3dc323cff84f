"""The kernels in order: which are launched, on what grid, with which arguments.

`KernelPipeline` is independent of the device: a `Backend` provides memory and launches; there is one for CUDA
(`rendering.cuda.renderer`) and one that runs the same sources on a CPU, in the tests.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from fracgen.formulas.banks import Bank
from fracgen.recipes.recipe import MAX_MAPS
from fracgen.rendering.cuda.layout import Layout
from fracgen.rendering.parameters import ORBITS, Parameters, header
from fracgen.rendering.records import DENSITIES, OBJECT_FIELDS, PALETTE, SCENE_FIELDS

MAX_GRID_Y = 65_535
"""CUDA's limit on a grid's second dimension, which counts images."""
TABLE_BYTES = 256
"""`Table` in chaos.cuh: eight maps of eight 32-bit numbers."""


class Backend(Protocol):
    """The operations a device provides."""

    def upload(self, array: np.ndarray[Any, Any]) -> Any:
        """A copy of an array on the device."""

    def scratch(self, name: str, nbytes: int) -> Any:
        """At least that many bytes on the device, with no promise about their contents."""

    def load(self, kernel: str, header: str) -> Any:
        """A kernel, compiled; `launch` takes it."""

    def launch(self, function: Any, grid: tuple[int, int], threads: int, shared: int, *arguments: Any) -> None:
        """Run a kernel. Arguments are the device's arrays, None for a null pointer, or NumPy scalars."""


class OutputFormat(NamedTuple):
    """How images are stored: bytes an element (1, 2 or 4) and the order of the axes."""

    element_bytes: int = 1
    channels_last: bool = False


class KernelPipeline:
    """Renders batches through a backend.

    Args:
        bank, parameters: what to render.
        layout: chosen for the device.
        backend: the device.
        scratch_bytes: most memory for what passes between kernels; a larger batch goes in parts.
    """

    kernels: tuple[str, ...] = ("scout", "attractor", "noise", "compose")
    """In the order in which they run; the last one stores the images."""

    def __init__(
        self, bank: Bank, parameters: Parameters, layout: Layout, backend: Backend, scratch_bytes: int
    ) -> None:
        self.parameters, self.layout, self.backend = parameters, layout, backend
        self.codes = self.upload(bank)
        self.functions: dict[tuple[str, OutputFormat], Any] = {}
        most = MAX_GRID_Y // parameters.views
        self.chunk = max(1, min(most, scratch_bytes // sum(self.scratch_sizes().values())))

    def upload(self, bank: Any) -> tuple[Any, ...]:
        """A bank as the kernels read it."""
        upload, own = self.backend.upload, bank.own_probabilities
        return (
            upload(bank.maps.reshape(len(bank), MAX_MAPS * 6)), upload(bank.sizes),
            None if own is None else upload(own),
            np.uint32(bank.classes), np.uint32(bank.per_class),
        )  # fmt: skip

    def scratch_sizes(self) -> dict[str, int]:
        """Bytes that pass between kernels, per sample."""
        parameters, layout = self.parameters, self.layout
        objects = parameters.views * parameters.max_objects
        return {
            "scenes": parameters.views * SCENE_FIELDS * 4,
            "objects": objects * OBJECT_FIELDS * 4,
            "tables": objects * TABLE_BYTES,
            "starts": objects * 2 * ORBITS * 4,
            "windows": objects * 4 * 4,
            "histogram": objects * layout.histogram_bytes if layout.histogram_global else 0,
            "palettes": objects * DENSITIES * 4,
            "density": objects * parameters.canvas**2,
            "noise": parameters.views * layout.noise_cells * 2 if parameters.noise else 0,
            "backgrounds": parameters.views * PALETTE * 4 if parameters.noise else 0,
        }

    def header(self, form: OutputFormat) -> str:
        """`parameters.cuh` for this pipeline."""
        more = {"out_bytes": form.element_bytes, "out_channels_last": int(form.channels_last)}
        return header(self.parameters, **self.layout.definitions(), **more)

    def prepare(self, form: OutputFormat) -> None:
        """Compile what rendering in this format needs, so that a later `run` only launches."""
        for kernel in self.kernels:
            self.function(kernel, form)

    def function(self, kernel: str, form: OutputFormat) -> Any:
        """A kernel, compiled on first use."""
        # Only the last kernel depends on the format, so all others share one binary.
        key = (kernel, form if kernel == self.kernels[-1] else OutputFormat())
        if key not in self.functions:
            self.functions[key] = self.backend.load(kernel, self.header(key[1]))
        return self.functions[key]

    def run(
        self, indices: Any, count: int, *, key: tuple[int, int], epoch: int, stream: int, out: Any, masks: Any,
        codes: Any, values: Any, form: OutputFormat,
    ) -> None:  # fmt: skip
        """Render `count` samples.

        Args:
            indices: uint32 [count] on the device; slices of it and of the outputs are taken.
            out: [count, views, 3, size, size] or [count, views, size, size, 3], of the format's element size.
            masks: uint8 [count, views, size, size] or None.
            codes: int32 [count, max_objects] of the first view, or None.
            values: [3, 256] of the format's element size: the output value of each byte of each
                channel; unused for 1 byte.
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
            self.render_part((*seeds, indices[first : first + n]), n, space, values, outputs, form)

    def render_part(
        self, samples: tuple[Any, ...], n: int, space: dict[str, Any], values: Any, outputs: tuple[Any, ...],
        form: OutputFormat,
    ) -> None:  # fmt: skip
        """Launch the kernels for `n` samples.

        Args:
            samples: what random numbers depend on: key 0, key 1, epoch, stream, indices.
            space: of `scratch_sizes`.
            values: see `run`.
            outputs: images, masks or None, codes or None, of these samples.
            form: how images are stored.
        """
        parameters, layout = self.parameters, self.layout
        strips = -(-parameters.size // layout.compose_rows)
        images, objects = n * parameters.views, n * parameters.views * parameters.max_objects
        records = (space["scenes"], space["objects"], space["tables"], space["starts"], space["windows"])
        self._launch("scout", form, (objects, 1), *self.codes, *samples, *records, space["palettes"])
        self._launch("attractor", form, (objects, 1), *samples, *records[1:], space["histogram"], space["density"])
        if parameters.noise:
            self._launch("noise", form, (images, 1), *samples, space["scenes"], space["noise"], space["backgrounds"])
        self._launch(
            "compose", form, (strips, images), *samples, space["scenes"], space["objects"], space["density"],
            space["noise"], space["backgrounds"], space["palettes"], values, *outputs,
        )  # fmt: skip

    def _launch(self, kernel: str, form: OutputFormat, grid: tuple[int, int], *arguments: Any) -> None:
        self.backend.launch(
            self.function(kernel, form), grid, self.threads(kernel), self.layout.dynamic_shared(kernel), *arguments
        )

    def threads(self, kernel: str) -> int:
        """Threads a block of a kernel."""
        return self.layout.threads(kernel)
