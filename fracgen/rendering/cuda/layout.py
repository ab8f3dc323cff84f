"""How the kernels are laid out on a device: block sizes, and what fits its shared memory.

A layout decides speed only; the bytes of an image never depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fracgen.rendering.parameters import Parameters

SHARED_MEMORY = {75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 103: 227, 120: 99, 121: 99}
"""Most shared memory a block may ask for, in KB, by compute capability (10 * major + minor)."""

SHARED_LATTICE = 64
"""Cells a side of the largest lattice that `noise` keeps in shared memory."""
BACKDROP_ROWS = 32
"""Of a strip of the image, a block of `backdrop`."""
BLEND_BYTES = 36 * 1024
"""What `blend` keeps of a strip of rows, at most."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Numbers the kernels are compiled with, and the shared memory they are launched with."""

    threads: Mapping[str, int]
    """Threads a block of each kernel."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """What the kernels need to know besides, as preprocessor definitions."""
    shared: Mapping[str, int] = field(default_factory=dict)
    """Dynamic shared memory of a kernel's launch, in bytes; none where it is not named."""

    @classmethod
    def of_scenes(cls, parameters: Parameters) -> Layout:
        """The layout of the kernels that formulas share."""
        rows = max(1, min(16, BLEND_BYTES // (3 * parameters.size) - 2))
        return cls(
            threads={"noise": 256, "backdrop": 192, "blend": 192, "order": 256},
            numbers={
                "noise_cells": noise_cells(parameters.levels), "backdrop_rows": BACKDROP_ROWS, "blend_rows": rows,
            },
        )  # fmt: skip

    def __or__(self, other: Layout) -> Layout:
        """Both; what the other says counts."""
        return Layout(
            threads={**self.threads, **other.threads}, numbers={**self.numbers, **other.numbers},
            shared={**self.shared, **other.shared},
        )  # fmt: skip

    def definitions(self) -> dict[str, int]:
        """All of it that kernels know, by name."""
        return {f"{kernel}_threads": count for kernel, count in self.threads.items()} | dict(self.numbers)


def noise_cells(levels: int) -> int:
    """Points (uint16) that `noise` leaves for the last doubling and works in, an image: see scene/lattice.cuh.

    The lattice before the last doubling and the diamonds of that, in rows with some room past their end,
    then whole lattices too large for shared memory, with their diamonds.
    """
    half = 1 << levels - 1
    pitch = (half + 23) // 8 * 8
    between = sum((2 * m + 1) * 2 * m for m in (1 << k for k in range(levels - 1)) if m > SHARED_LATTICE)
    return (2 * half + 1) * pitch + between
