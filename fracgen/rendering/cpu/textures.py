"""Stages of formulas whose objects are textures, laid over the background by their coverage."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fracgen.rendering.cpu.backdrop import backdrop_stage
from fracgen.rendering.cpu.blend import blend_stage
from fracgen.rendering.cpu.noise import noise_stage
from fracgen.rendering.cpu.stages import Space, Stages, Work
from fracgen.rendering.records import Samples


class Textures(NamedTuple):
    """The drawn objects of n samples."""

    textures: NDArray[np.uint8]
    """uint8 [n, views, max_objects, canvas^2, 4]: red, green and blue, times coverage, and coverage."""
    views: NDArray[np.float32]
    """float32 [n, views, max_objects, fields]: what the formula knows of an object before it draws it."""


class TextureStages(Stages):
    """The formula's stages draw the objects, noise and backdrop the background, blend lays one over the other."""

    view_fields = 0
    """Numbers of `Textures.views` for an object."""

    @abstractmethod
    def draw(self, samples: Samples, space: Space, first: int, last: int) -> Work:
        """What draws the objects of samples first .. last - 1: writes `space.scenes` and `objects` (by
        `rendering.cpu.scene.draw_scenes`) and `space.shapes.textures` of every object whose code is not -1."""

    def space(self, n: int) -> Space:
        """Work space for `n` samples."""
        objects = (n, self.parameters.views, self.parameters.max_objects)
        textures = np.empty((*objects, self.parameters.canvas**2, 4), np.uint8)
        return Space.of(
            self.parameters, n, Textures(textures, np.zeros((*objects, self.view_fields), np.float32))
        )  # fmt: skip

    def work(
        self, samples: Samples, space: Space, first: int, last: int, images: NDArray[np.uint8], masks: NDArray[np.uint8]
    ) -> Work:
        """See `Stages.work`."""
        parameters = self.parameters
        work = self.draw(samples, space, first, last)
        if parameters.noise:
            work["noise"] = lambda: noise_stage(parameters, samples, space, first, last)
        work["backdrop"] = lambda: backdrop_stage(parameters, space, first, last, images)
        return work | {"blend": lambda: blend_stage(parameters, space, first, last, images, masks)}
