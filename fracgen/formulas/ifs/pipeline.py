"""The kernels of attractors, in order."""

from __future__ import annotations

from fracgen.formulas.ifs.records import CONSTANTS, DENSITIES, ORBITS, SCOUTS
from fracgen.rendering.cuda.layout import Layout
from fracgen.rendering.cuda.pipeline import KernelPipeline, Part

TABLE_BYTES = 256
"""`Table` in chaos.cuh: eight maps of eight 32-bit numbers."""
SPILL = 1 << 15
"""Points that `attractor` takes out of a 16-bit counter when it becomes full, and notes in four bytes."""
STATIC_RESERVE = 1024
"""Bytes kept for the kernels' own static arrays (tables, records) beside a histogram."""
STRIP_BYTES = 30 * 1024
"""What `compose` keeps of a strip of rows, at most: with the palettes, static arrays end at 48 KB."""
STRIP_ROWS = 32


class IfsPipeline(KernelPipeline):
    """Scout, attractor, noise, compose."""

    kernels = ("scout", "attractor", "noise", "compose")
    constants = CONSTANTS

    def lay_out(self, shared_memory: int) -> Layout:
        """See `KernelPipeline.lay_out`."""
        parameters = self.parameters
        budget = shared_memory - STATIC_RESERVE - parameters.points // SPILL * 4
        row_cells = (parameters.canvas + 3) // 2 * 2  # with the halo, in whole words
        nbytes = ((parameters.canvas + 2) * row_cells + 7) // 8 * 16 + 128  # a word for each lane of a warp
        strip_row = 3 * 16 * -(-parameters.size // 16)
        rows = min(STRIP_ROWS, STRIP_BYTES // strip_row - 2)
        return Layout(
            threads={"scout": SCOUTS, "attractor": ORBITS // 2, "compose": 192},
            numbers={
                "histogram_global": int(nbytes > budget), "histogram_words": nbytes // 4, "spill": SPILL,
                "compose_rows": 1 << rows.bit_length() - 1,
            },
            shared={"attractor": nbytes} if nbytes <= budget else {},
        )  # fmt: skip

    def scratch_sizes(self) -> dict[str, int]:
        """See `KernelPipeline.scratch_sizes`."""
        objects, numbers = self.objects(1), self.layout.numbers
        return super().scratch_sizes() | {
            "tables": objects * TABLE_BYTES,
            "starts": objects * 2 * ORBITS * 4,
            "windows": objects * 4 * 4,
            "histogram": objects * numbers["histogram_words"] * 4 if numbers["histogram_global"] else 0,
            "palettes": objects * DENSITIES * 4,
            "density": objects * self.parameters.canvas**2,
        }

    def render_part(self, part: Part) -> None:
        """See `KernelPipeline.render_part`."""
        space, parameters = part.space, self.parameters
        objects = (self.objects(part.n), 1)
        records = (space["scenes"], space["objects"], space["tables"], space["starts"], space["windows"])
        self.launch("scout", part, objects, *self.codes, *part.samples, *records, space["palettes"])
        self.launch("attractor", part, objects, *part.samples, *records[1:], space["histogram"], space["density"])
        self.make_noise(part)
        strips = -(-parameters.size // self.layout.numbers["compose_rows"])
        self.launch(
            "compose", part, (strips, part.n * parameters.views), *part.samples, space["scenes"], space["objects"],
            space["density"], space["noise"], space["backgrounds"], space["palettes"], part.values, *part.outputs,
        )  # fmt: skip
