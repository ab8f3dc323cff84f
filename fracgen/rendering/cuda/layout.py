"""How the kernels are laid out on a device: block sizes, and what fits its shared memory.

A layout decides speed only; the bytes of an image never depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fracgen.rendering.parameters import ORBITS, SCOUTS, Parameters
from fracgen.rendering.variations import TILE

SHARED_MEMORY = {75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 103: 227, 120: 99, 121: 99}
"""Most shared memory a block may ask for, in KB, by compute capability (10 * major + minor)."""

SPILL = 1 << 15
"""Points that `attractor` takes out of a 16-bit counter when it becomes full, and notes in four bytes."""
STATIC_RESERVE = 1024
"""Bytes kept for the kernels' own static arrays (tables, records) beside a histogram."""
STRIP_BYTES = 30 * 1024
"""What `compose` keeps of a strip of rows, at most: with the palettes, static arrays end at 48 KB."""
STRIP_ROWS = 32
SHARED_LATTICE = 64
"""Cells a side of the largest lattice that `noise` keeps in shared memory."""


def noise_cells(levels: int) -> int:
    """Points (uint16) that `noise` leaves for `compose` and works in, an image: see scene/lattice.cuh.

    The lattice before the last doubling and the diamonds of that, in rows with some room past their end,
    then whole lattices too large for shared memory, with their diamonds.
    """
    half = 1 << levels - 1
    pitch = (half + 23) // 8 * 8
    between = sum((2 * m + 1) * 2 * m for m in (1 << k for k in range(levels - 1)) if m > SHARED_LATTICE)
    return (2 * half + 1) * pitch + between


SURFACE_THREADS, SURFACE_BLOCKS = 128, 6
"""Of a block of `surface`, and its blocks a multiprocessor."""
REGION_WIDTH, REGION_HEIGHT, REGION_LINES = 64, 16, 3072
"""Of the pixels that a block of `surface` draws, the height at most: many, so that few lanes are left without work at
the end; what is known of the rows of their rays lies in shared memory."""
VIEW_THREADS = 64
BLEND_THREADS = 192
BLEND_BYTES = 36 * 1024
"""What `blend` keeps of a strip of rows, at most."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Numbers the kernels are compiled with, and the shared memory they are launched with (bytes)."""

    attractor_threads: int
    histogram_global: bool
    histogram_bytes: int
    noise_threads: int
    compose_threads: int
    compose_rows: int
    noise_cells: int
    blend_rows: int
    """Of a strip of the picture."""
    region_height: int
    """Pixels, a multiple of a tile's side."""

    @classmethod
    def choose(cls, parameters: Parameters, shared_memory: int, **threads: int) -> Layout:
        """The layout for a recipe's parameters on a device.

        Args:
            parameters: what to render.
            shared_memory: most bytes a block may ask for on the device.
            threads: other block sizes than the usual: attractor_threads (a power of two from 32 to
                512), noise_threads, compose_threads.
        """
        budget = shared_memory - STATIC_RESERVE - parameters.points // SPILL * 4
        row_cells = (parameters.canvas + 3) // 2 * 2  # with the halo, in whole words
        histogram_bytes = ((parameters.canvas + 2) * row_cells + 7) // 8 * 16 + 128  # a word for each lane of a warp
        strip_row = 3 * 16 * -(-parameters.size // 16)
        rows = min(STRIP_ROWS, STRIP_BYTES // strip_row - 2)
        return cls(
            attractor_threads=threads.get("attractor_threads", ORBITS // 2),
            histogram_global=histogram_bytes > budget,
            histogram_bytes=histogram_bytes,
            noise_threads=threads.get("noise_threads", 256),
            compose_threads=threads.get("compose_threads", 192),
            compose_rows=1 << rows.bit_length() - 1,
            blend_rows=max(1, min(16, BLEND_BYTES // (3 * parameters.size) - 2)),
            noise_cells=noise_cells(parameters.levels),
            region_height=min(REGION_HEIGHT, REGION_LINES // (REGION_WIDTH * parameters.samples) // TILE * TILE),
        )

    def definitions(self) -> dict[str, int]:
        """What the kernels need to know, as preprocessor definitions."""
        names = (
            "attractor_threads histogram_global histogram_words noise_threads compose_threads compose_rows noise_cells "
            "blend_rows region_height"
        )
        own = {name: int(getattr(self, name)) for name in names.split()}
        return own | {
            "view_threads": VIEW_THREADS, "surface_threads": SURFACE_THREADS, "surface_blocks": SURFACE_BLOCKS,
            "region_width": REGION_WIDTH, "blend_threads": BLEND_THREADS, "spill": SPILL,
        }  # fmt: skip

    @property
    def histogram_words(self) -> int:
        """The histogram in 32-bit words."""
        return self.histogram_bytes // 4

    def dynamic_shared(self, kernel: str) -> int:
        """Dynamic shared memory of a kernel's launch, in bytes."""
        return self.histogram_bytes if kernel == "attractor" and not self.histogram_global else 0

    def threads(self, kernel: str) -> int:
        """Threads a block of a kernel."""
        return {
            "scout": SCOUTS, "attractor": self.attractor_threads, "noise": self.noise_threads,
            "compose": self.compose_threads, "order": 256, "view": VIEW_THREADS, "surface": SURFACE_THREADS,
            "blend": BLEND_THREADS,
        }[kernel]  # fmt: skip
