"""The stages of a picture of iterated function systems, in order, and what passes between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.ifs.bank import CodeBank
from fracgen.recipes.recipe import MAX_MAPS
from fracgen.rendering.cpu.compose import compose_stage
from fracgen.rendering.cpu.ifs.attractor import attractor_stage
from fracgen.rendering.cpu.ifs.scout import scout_stage
from fracgen.rendering.cpu.noise import noise_stage
from fracgen.rendering.cpu.simd import LANES
from fracgen.rendering.cpu.stages import Stages, Work
from fracgen.rendering.parameters import ORBITS, Parameters
from fracgen.rendering.records import OBJECT_FIELDS, SCENE_FIELDS, TABLE_ROWS, Attractors, Codes, Samples, Space


class IfsStages(Stages):
    """Scout, attractor, noise, compose."""

    names = ("scout", "attractor", "noise", "compose")

    def __init__(self, bank: CodeBank, parameters: Parameters) -> None:
        self.parameters, self.codes = parameters, codes_of(bank)

    def space(self, n: int) -> Space:
        return make_space(self.parameters, n)

    def work(
        self, samples: Samples, space: Space, first: int, last: int, images: NDArray[np.uint8], masks: NDArray[np.uint8]
    ) -> Work:
        parameters = self.parameters
        return {
            "scout": lambda: scout_stage(parameters, self.codes, samples, space, first, last),
            "attractor": lambda: attractor_stage(parameters, samples, space, first, last),
            "noise": lambda: noise_stage(parameters, samples, space, first, last),
            "compose": lambda: compose_stage(parameters, space, first, last, images, masks),
        }


def codes_of(bank: CodeBank) -> Codes:
    """A bank as the stages read it."""
    own = bank.own_probabilities
    return Codes(
        maps=bank.maps.reshape(len(bank), MAX_MAPS, 6),
        sizes=bank.sizes,
        probabilities=np.empty((0, MAX_MAPS), np.float32) if own is None else own,
        classes=bank.classes,
        per_class=bank.per_class,
    )


def make_space(parameters: Parameters, n: int) -> Space:
    """What one thread needs to take `n` samples through the stages."""
    objects = (n, parameters.views, parameters.max_objects)
    return Space(
        scenes=np.zeros((n, parameters.views, SCENE_FIELDS), np.int32),
        objects=np.zeros((*objects, OBJECT_FIELDS), np.int32),
        noise=np.zeros((n, parameters.views, parameters.size, 1 << parameters.levels), np.uint16),
        shapes=Attractors(
            tables=np.zeros((*objects, TABLE_ROWS, LANES), np.float32),
            starts=np.empty((*objects, 2, ORBITS), np.float32),
            windows=np.empty((*objects, 4), np.float32),
            density=np.empty((*objects, parameters.canvas**2), np.uint8),
        ),
    )
