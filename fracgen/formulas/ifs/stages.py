"""The stages of an image of attractors, in order, and what passes between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.ifs.attractor import attractor_stage
from fracgen.formulas.ifs.compose import compose_stage
from fracgen.formulas.ifs.records import ORBITS, TABLE_ROWS
from fracgen.formulas.ifs.scout import scout_stage
from fracgen.rendering.cpu.arithmetic import LANES
from fracgen.rendering.cpu.noise import noise_stage
from fracgen.rendering.cpu.stages import Space, Stages, Work
from fracgen.rendering.records import Samples


class Attractors(NamedTuple):
    """The attractors of n samples."""

    tables: NDArray[np.float32]
    """float32 [n, views, max_objects, TABLE_ROWS, lanes]."""
    starts: NDArray[np.float32]
    """float32 [n, views, max_objects, 2, ORBITS]: points on the attractor; drawing uses them up."""
    windows: NDArray[np.float32]
    """float32 [n, views, max_objects, 4]: scale and offset to grid cells, x then y."""
    density: NDArray[np.uint8]
    """uint8 [n, views, max_objects, canvas^2]."""


class IfsStages(Stages):
    """Scout, attractor, noise, compose."""

    def space(self, n: int) -> Space:
        """Work space for `n` samples."""
        parameters = self.parameters
        objects = (n, parameters.views, parameters.max_objects)
        return Space.of(parameters, n, Attractors(
            tables=np.zeros((*objects, TABLE_ROWS, LANES), np.float32),
            starts=np.empty((*objects, 2, ORBITS), np.float32),
            windows=np.empty((*objects, 4), np.float32),
            density=np.empty((*objects, parameters.canvas**2), np.uint8),
        ))  # fmt: skip

    def work(
        self, samples: Samples, space: Space, first: int, last: int, images: NDArray[np.uint8], masks: NDArray[np.uint8]
    ) -> Work:
        """See `Stages.work`."""
        parameters = self.parameters
        work: Work = {
            "scout": lambda: scout_stage(parameters, self.codes, samples, space, first, last),
            "attractor": lambda: attractor_stage(parameters, samples, space, first, last),
        }
        if parameters.noise:
            work["noise"] = lambda: noise_stage(parameters, samples, space, first, last)
        return work | {"compose": lambda: compose_stage(parameters, space, first, last, images, masks)}
