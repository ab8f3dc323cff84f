"""The stage that draws Julia sets."""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.draws import Purpose
from fracgen.rendering.cpu.arithmetic import draw, sample_of, unit
from fracgen.rendering.cpu.jit import stage
from fracgen.rendering.cpu.scene import draw_scenes
from fracgen.rendering.cpu.stages import TextureStages
from fracgen.rendering.records import ObjectField

_F, _U = np.float32, np.uint32
_OBJECT = _U(Purpose.OBJECT)
STEPS = 64


@stage
def julia_stage(parameters, constants, samples, space, first, last):
    """Textures of samples first .. last - 1: the slower a point escapes, the brighter and the less transparent."""
    draw_scenes(parameters, len(constants), 1, samples, space, first, last)
    side = parameters.canvas
    for b in range(last - first):
        sample = sample_of(samples, first + b)
        for view in range(parameters.views):
            for slot in range(parameters.max_objects):
                code = space.objects[b, view, slot, ObjectField.CODE]
                if code < 0:
                    continue
                color = draw(_U(4), _OBJECT, _U(slot), _U(view), sample)
                texture = space.shapes.textures[b, view, slot]
                for pixel in range(side * side):
                    x = _F(pixel % side) * _F(3.2 / side) - _F(1.6)
                    y = _F(pixel // side) * _F(3.2 / side) - _F(1.6)
                    step = 0
                    while step < STEPS and x * x + y * y < _F(4.0):
                        x, y = x * x - y * y + constants[code, 0], _F(2.0) * x * y + constants[code, 1]
                        step += 1
                    coverage = min(255, step * 8)
                    for k in range(3):
                        texture[pixel, k] = np.uint8(_F(coverage) * unit(color[k]))
                    texture[pixel, 3] = np.uint8(coverage)


class JuliaStages(TextureStages):
    """Draw, then noise, backdrop and blend."""

    def draw(self, samples, space, first, last):
        """See `TextureStages.draw`."""
        constants, parameters = self.bank.constants, self.parameters
        return {"julia": lambda: julia_stage(parameters, constants, samples, space, first, last)}
