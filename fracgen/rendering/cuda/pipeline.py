"""The kernels in order: which are launched, on what grid, with which arguments.

`KernelPipeline` is independent of the device: a `Backend` provides memory and launches; there is one for CUDA
(`rendering.cuda.renderer`) and one that runs the same sources on a CPU, in the tests.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.recipe import MAX_MAPS
from fracgen.rendering.cuda.layout import Layout
from fracgen.rendering.parameters import ORBITS, Parameters, header
from fracgen.rendering.records import OBJECT_FIELDS, SCENE_FIELDS

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

    def __init__(
        self, bank: CodeBank, parameters: Parameters, layout: Layout, backend: Backend, scratch_bytes: int
    ) -> None:
        self.parameters, self.layout, self.backend = parameters, layout, backend
        self.codes = (
            backend.upload(bank.maps.reshape(len(bank), MAX_MAPS * 6)), backend.upload(bank.sizes),
            backend.upload((~bank.contracts).astype(np.uint8)), backend.upload(bank.probabilities),
            np.uint32(bank.classes), np.uint32(bank.per_class),
        )  # fmt: skip
        self.functions: dict[tuple[str, OutputFormat], Any] = {}
        most = MAX_GRID_Y // parameters.views
        self.chunk = max(1, min(most, scratch_bytes // sum(self.scratch_sizes().values())))

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
            "density": objects * parameters.canvas**2,
            "noise": parameters.views * layout.noise_cells * 2 if parameters.noise else 0,
        }

    def header(self, form: OutputFormat) -> str:
        """`parameters.cuh` for this pipeline."""
        more = {"out_bytes": form.element_bytes, "out_channels_last": int(form.channels_last)}
        return header(self.parameters, **self.layout.definitions(), **more)

    def prepare(self, form: OutputFormat) -> None:
        """Compile what rendering in this format needs, so that a later `run` only launches."""
        for kernel in ("scout", "attractor", "noise", "compose"):
            self.function(kernel, form)

    def function(self, kernel: str, form: OutputFormat) -> Any:
        """A kernel, compiled on first use."""
        # Only `compose` depends on the format, so all others share one binary.
        key = (kernel, form if kernel == "compose" else OutputFormat())
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
        parameters, layout = self.parameters, self.layout
        parts = -(-count // self.chunk)
        step = -(-count // parts)  # equal parts: a short last one would leave most of the device idle
        space = {name: self.backend.scratch(name, n * step) for name, n in self.scratch_sizes().items()}
        strips = -(-parameters.size // layout.compose_rows)
        seeds = (np.uint32(key[0]), np.uint32(key[1]), np.uint32(epoch), np.uint32(stream))
        for first in range(0, count, step):
            n = min(step, count - first)
            images, objects = n * parameters.views, n * parameters.views * parameters.max_objects
            own = indices[first : first + n]
            records = (space["scenes"], space["objects"], space["tables"], space["starts"], space["windows"])
            self._launch("scout", form, (objects, 1), *self.codes, *seeds, own, *records)
            self._launch(
                "attractor", form, (objects, 1), *seeds, own, *records[1:], space["histogram"], space["density"]
            )  # fmt: skip
            if parameters.noise:
                self._launch("noise", form, (images, 1), *seeds, own, space["scenes"], space["noise"])
            self._launch(
                "compose", form, (strips, images), space["scenes"], space["objects"], space["density"],
                space["noise"], values, out[first : first + n], None if masks is None else masks[first : first + n],
                None if codes is None else codes[first : first + n],
            )  # fmt: skip

    def _launch(self, kernel: str, form: OutputFormat, grid: tuple[int, int], *arguments: Any) -> None:
        layout = self.layout
        self.backend.launch(
            self.function(kernel, form), grid, layout.threads(kernel), layout.dynamic_shared(kernel), *arguments
        )
