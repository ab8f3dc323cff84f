"""The stages of a picture of Mandelbulb variations, in order, and what passes between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.rendering.cpu.compose import compose_stage
from fracgen.rendering.cpu.mandelbulb.blend import blend_stage
from fracgen.rendering.cpu.mandelbulb.surface import surface_stage
from fracgen.rendering.cpu.mandelbulb.view import view_stage
from fracgen.rendering.cpu.noise import noise_stage
from fracgen.rendering.cpu.stages import Stages, Work
from fracgen.rendering.parameters import Parameters
from fracgen.rendering.records import OBJECT_FIELDS, SCENE_FIELDS, TABLE_ROWS, Attractors, Samples, Space
from fracgen.rendering.variations import VIEW_FIELDS, Solids, VariationCodes


class MandelbulbStages(Stages):
    """View and surface draw the objects, noise and backdrop the background, blend lays one over the other."""

    names = ("view", "surface", "noise", "backdrop", "blend")

    def __init__(self, bank: VariationBank, parameters: Parameters) -> None:
        self.parameters, self.codes = parameters, codes_of(bank)
        # A backdrop is a composed picture of placed objects of which there are none.
        self.bare = parameters._replace(placed=1, max_objects=1)

    def space(self, n: int) -> Space:
        return make_space(self.parameters, n)

    def work(
        self, samples: Samples, space: Space, first: int, last: int, images: NDArray[np.uint8],
        masks: NDArray[np.uint8],
    ) -> Work:  # fmt: skip
        parameters, codes = self.parameters, self.codes
        work: Work = {
            "view": lambda: view_stage(parameters, codes, samples, space, first, last),
            "surface": lambda: surface_stage(parameters, codes, space, first, last),
            "blend": lambda: blend_stage(parameters, space, first, last, images, masks),
        }
        if parameters.noise:
            backdrop = make_backdrop(parameters, space)
            work |= {
                "noise": lambda: noise_stage(parameters, samples, backdrop, first, last),
                "backdrop": lambda: compose_stage(self.bare, backdrop, first, last, images, masks[:0]),
            }
        return work


def codes_of(bank: VariationBank) -> VariationCodes:
    """A bank as the stages read it."""
    powers, rules = bank.powers.astype(np.int32), bank.rules.astype(np.int32)
    return VariationCodes(powers, rules, bank.radii, bank.classes, bank.per_class)


def make_space(parameters: Parameters, n: int) -> Space:
    """What one thread needs to take `n` samples through the stages."""
    objects = (n, parameters.views, parameters.max_objects)
    noise = (parameters.size, 1 << parameters.levels) if parameters.noise else (0, 0)
    return Space(
        scenes=np.zeros((n, parameters.views, SCENE_FIELDS), np.int32),
        objects=np.zeros((*objects, OBJECT_FIELDS), np.int32),
        noise=np.zeros((n, parameters.views, *noise), np.uint16),
        shapes=Solids(
            views=np.zeros((*objects, VIEW_FIELDS), np.float32),
            textures=np.empty((*objects, parameters.canvas**2, 4), np.uint8),
            backdrops=np.zeros((n, parameters.views, SCENE_FIELDS), np.int32),
        ),
    )


def make_backdrop(parameters: Parameters, space: Space) -> Space:
    """The background of a space: its pictures without objects."""
    n = len(space.scenes)
    objects = (n, parameters.views, 1)
    return Space(
        scenes=space.shapes.backdrops,
        objects=np.full((*objects, OBJECT_FIELDS), -1, np.int32),
        noise=space.noise,
        shapes=Attractors(
            tables=np.zeros((*objects, TABLE_ROWS, 0), np.float32), starts=np.zeros((*objects, 2, 0), np.float32),
            windows=np.zeros((*objects, 4), np.float32), density=np.zeros((*objects, 0), np.uint8),
        ),
    )  # fmt: skip
