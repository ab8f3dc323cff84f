"""The stages of an image of attractors, in order, and what passes between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import Bank
from fracgen.formulas.ifs import MAX_MAPS
from fracgen.formulas.ifs.attractor import attractor_stage
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.ifs.compose import compose_stage
from fracgen.formulas.ifs.records import ORBITS, TABLE_ROWS, Attractors, Codes
from fracgen.formulas.ifs.scout import scout_stage
from fracgen.rendering.cpu.arithmetic import LANES
from fracgen.rendering.cpu.noise import noise_stage
from fracgen.rendering.cpu.stages import Space, Stages, Work
from fracgen.rendering.parameters import Parameters
from fracgen.rendering.records import Samples


class IfsStages(Stages):
    """Scout, attractor, noise, compose."""

    def __init__(self, bank: Bank, parameters: Parameters) -> None:
        super().__init__(bank, parameters)
        assert isinstance(bank, CodeBank)
        own = bank.own_probabilities
        self.codes = Codes(
            bank.maps.reshape(len(bank), MAX_MAPS, 6), bank.sizes,
            np.empty((0, MAX_MAPS), np.float32) if own is None else own, bank.classes, bank.per_class,
        )  # fmt: skip

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
