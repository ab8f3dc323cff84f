"""What a formula is to the CPU renderer: stages that take samples to images, and the space between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fracgen.formulas.files import Bank
from fracgen.rendering.cpu.backdrop import backdrop_stage
from fracgen.rendering.cpu.blend import blend_stage
from fracgen.rendering.cpu.noise import noise_stage
from fracgen.rendering.parameters import Parameters
from fracgen.rendering.records import OBJECT_FIELDS, SCENE_FIELDS, Samples


class Space(NamedTuple):
    """What passes between the CPU stages for n samples; each array is written by one stage and read by later ones."""

    scenes: NDArray[np.int32]
    """int32 [n, views, SCENE_FIELDS]."""
    objects: NDArray[np.int32]
    """int32 [n, views, max_objects, OBJECT_FIELDS]."""
    noise: NDArray[np.uint16]
    """uint16 [n, views, size, 2^levels]; [n, views, 0, 0] without noise."""
    shapes: tuple[object, ...]
    """What the formula's own stages hand on, a named tuple."""

    @classmethod
    def of(cls, parameters: Parameters, n: int, shapes: tuple[object, ...]) -> Space:
        """Room for `n` samples."""
        views = (n, parameters.views)
        noise = (parameters.size, 1 << parameters.levels) if parameters.noise else (0, 0)
        return cls(
            np.zeros((*views, SCENE_FIELDS), np.int32),
            np.zeros((*views, parameters.max_objects, OBJECT_FIELDS), np.int32),
            np.zeros((*views, *noise), np.uint16), shapes,
        )  # fmt: skip


Work: TypeAlias = dict[str, Callable[[], None]]
"""What each stage does with some samples, by the stage's name, in the order in which they run."""


class Stages(ABC):
    """A formula's stages on the CPU, for one bank and one recipe."""

    def __init__(self, bank: Bank, parameters: Parameters) -> None:
        self.bank, self.parameters, self.codes = bank, parameters, bank.codes()

    @abstractmethod
    def space(self, n: int) -> Space:
        """Work space for `n` samples."""

    @abstractmethod
    def work(
        self, samples: Samples, space: Space, first: int, last: int, images: NDArray[np.uint8], masks: NDArray[np.uint8]
    ) -> Work:
        """What makes samples first .. last - 1.

        Args:
            samples: of the whole call.
            space: with room for these samples.
            images: uint8 [B, views, 3, size, size], rows first .. last - 1 written.
            masks: uint8 [B, views, size, size], the same rows written, or [0, ...] for none.
        """


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
