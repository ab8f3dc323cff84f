"""How the kernels are laid out on a device: block sizes, and what fits its shared memory.

A layout decides speed only; the bytes of an image never depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fracgen.rendering.parameters import ORBITS, SCOUTS, Parameters

SHARED_MEMORY = {75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 103: 227, 120: 99, 121: 99}
"""Most shared memory a block may ask for, in KB, by compute capability (10 * major + minor)."""

STATIC_RESERVE = 1024
"""Bytes kept for the kernels' own static arrays (tables, records) beside a histogram or lattice."""
STRIP_BYTES = 44 * 1024
"""What `compose` keeps of a strip of rows, plain and blurred, at most: static arrays end at 48 KB."""

TILE_WIDTH, TILE_HEIGHT = 16, 8
"""Pixels of a block of `surface`, a multiple of a warp's 8 x 4: few, so that a slow ray keeps few others waiting."""
VIEW_THREADS = 64
BLEND_THREADS = 192
BLEND_BYTES = 36 * 1024
"""What `blend` keeps of a strip of rows, at most."""


@dataclass(frozen=True)
class Layout:
    """Numbers the kernels are compiled with, and the shared memory they are launched with (bytes)."""

    attractor_threads: int
    histogram_global: bool
    histogram_bytes: int
    noise_threads: int
    lattice_global: bool
    lattice_bytes: int
    compose_threads: int
    compose_rows: int
    noise_stride: int
    noise_cells: int
    blend_rows: int
    """Of a strip of the picture."""

    @classmethod
    def choose(cls, parameters: Parameters, shared_memory: int, **threads: int) -> Layout:
        """The layout for a recipe's parameters on a device.

        Args:
            parameters: what to render.
            shared_memory: most bytes a block may ask for on the device.
            threads: other block sizes than the usual: attractor_threads (a power of two from 32 to
                1,024), noise_threads, compose_threads.
        """
        budget = shared_memory - STATIC_RESERVE
        row_cells = (parameters.canvas + 3) // 2 * 2  # with the halo, in whole words
        histogram_bytes = ((parameters.canvas + 2) * row_cells + 7) // 8 * 16
        lattice_side = (1 << parameters.levels) + 1
        lattice_bytes = (lattice_side**2 * 2 + 15) // 16 * 16
        lattice_global = lattice_bytes > budget
        stride = lattice_side if lattice_global else parameters.size
        return cls(
            attractor_threads=threads.get("attractor_threads", min(1024, ORBITS)),
            histogram_global=histogram_bytes > budget,
            histogram_bytes=histogram_bytes,
            noise_threads=threads.get("noise_threads", 512),
            lattice_global=lattice_global,
            lattice_bytes=lattice_bytes,
            compose_threads=threads.get("compose_threads", 192),
            compose_rows=max(1, min(16, (STRIP_BYTES // (3 * (parameters.size + 3)) - 2) // 2)),
            noise_stride=stride,
            blend_rows=max(1, min(16, BLEND_BYTES // (3 * parameters.size) - 2)),
            noise_cells=lattice_side**2 if lattice_global else parameters.size**2,
        )

    def definitions(self) -> dict[str, int]:
        """What the kernels need to know, as preprocessor definitions."""
        names = (
            "attractor_threads histogram_global noise_threads lattice_global compose_threads compose_rows "
            "noise_stride noise_cells blend_rows"
        )
        own = {name: int(getattr(self, name)) for name in names.split()}
        return own | {
            "view_threads": VIEW_THREADS, "tile_width": TILE_WIDTH, "tile_height": TILE_HEIGHT,
            "blend_threads": BLEND_THREADS,
        }  # fmt: skip

    def dynamic_shared(self, kernel: str) -> int:
        """Dynamic shared memory of a kernel's launch, in bytes."""
        if kernel == "attractor":
            return 0 if self.histogram_global else self.histogram_bytes
        if kernel == "noise":
            return 0 if self.lattice_global else self.lattice_bytes
        return 0

    def threads(self, kernel: str) -> int:
        """Threads a block of a kernel."""
        return {
            "scout": SCOUTS, "attractor": self.attractor_threads, "noise": self.noise_threads,
            "compose": self.compose_threads, "order": 256, "view": VIEW_THREADS, "surface": TILE_WIDTH * TILE_HEIGHT,
            "blend": BLEND_THREADS,
        }[kernel]  # fmt: skip
