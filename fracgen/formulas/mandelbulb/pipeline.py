"""The kernels that draw Mandelbulb variations; `rendering.cuda.pipeline` has those that follow."""

from __future__ import annotations

import numpy as np

from fracgen.formulas.mandelbulb.constants import CONSTANTS, TILE, VIEW_FIELDS
from fracgen.rendering.cuda.layout import Layout
from fracgen.rendering.cuda.pipeline import Part, TexturePipeline

VIEW_THREADS = 64
REGION_WIDTH, REGION_HEIGHT, REGION_LINES = 64, 16, 3072
"""Of the pixels that a block of `surface` draws, the height at most: many, so that few lanes are left without work at
the end; what is known of the rows of their rays lies in shared memory."""


class MandelbulbPipeline(TexturePipeline):
    """View and surface draw the objects."""

    kernels = ("view", "surface", "noise", "backdrop", "blend")
    constants = CONSTANTS
    view_fields = VIEW_FIELDS

    def lay_out(self, shared_memory: int) -> Layout:
        """See `KernelPipeline.lay_out`."""
        lines = REGION_LINES // (REGION_WIDTH * self.parameters.samples) // TILE * TILE
        return Layout(
            threads={"view": VIEW_THREADS, "surface": 128},
            numbers={"surface_blocks": 6, "region_width": REGION_WIDTH, "region_height": min(REGION_HEIGHT, lines)},
        )

    def draw(self, part: Part) -> None:
        """See `TexturePipeline.draw`."""
        powers, rules, radii, classes, per_class = self.codes
        space, objects, canvas = part.space, self.objects(part.n), self.parameters.canvas
        self.launch(
            "view", part, (-(-objects // VIEW_THREADS), 1), classes, per_class, *part.samples, np.uint32(objects),
            space["scenes"], space["objects"], space["views"],
        )  # fmt: skip
        regions = -(-canvas // REGION_WIDTH) * -(-canvas // self.layout.numbers["region_height"])
        self.launch(
            "surface", part, (objects, regions), powers, rules, radii, space["objects"], space["views"],
            space["textures"],
        )  # fmt: skip
