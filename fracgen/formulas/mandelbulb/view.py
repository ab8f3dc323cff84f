"""Everything that must be known before rays are marched: scenes, objects' codes and places, cameras, colours."""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.draws import Purpose
from fracgen.formulas.mandelbulb.constants import ViewField
from fracgen.rendering.cpu.arithmetic import draw, fma, sample_of, sin_cos, unit
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.cpu.scene import draw_scenes
from fracgen.rendering.records import ObjectField

_F, _U = np.float32, np.uint32
_VIEW = _U(Purpose.VIEW)
_EIGHTH = _F(np.pi / 4)
_FORWARD, _UP, _SIDE, _COLOURS = (int(field) for field in ViewField)


@inner
def turn(word):
    """Cosine and sine of a uniform angle: those of an eighth of it, doubled three times."""
    sine, cosine = sin_cos(fma(unit(word), _EIGHTH, _F(-0.5) * _EIGHTH))
    for _ in range(3):
        sine, cosine = (sine + sine) * cosine, fma(cosine, cosine, -(sine * sine))
    return cosine, sine


@inner
def draw_view(slot, view, sample, out):
    """A camera at a random latitude and longitude, and three colours, uniform on the cube."""
    w = draw(_U(0), _VIEW, slot, view, sample)
    cosine, sine = turn(w[0])
    cosine_long, sine_long = turn(w[1])
    out[_FORWARD], out[_FORWARD + 1], out[_FORWARD + 2] = sine_long * cosine, -(cosine_long * cosine), -sine
    out[_UP], out[_UP + 1], out[_UP + 2] = sine_long * sine, -(cosine_long * sine), cosine
    out[_SIDE], out[_SIDE + 1], out[_SIDE + 2] = -cosine_long, -sine_long, _F(0.0)
    for k in range(3):
        w = draw(_U(1 + k), _VIEW, slot, view, sample)
        first = _COLOURS + 3 * k
        out[first], out[first + 1], out[first + 2] = unit(w[0]), unit(w[1]), unit(w[2])


@stage
def view_stage(parameters, codes, samples, space, first, last):
    """All that must be known before rays are marched, for samples first .. last - 1: writes `space.scenes`,
    `objects` and `shapes.views`.

    Args:
        parameters: `Parameters`.
        codes: `VariationCodes`.
        samples: `Samples`.
        space: `Space` for at least last - first samples.
    """
    draw_scenes(parameters, codes.classes, codes.per_class, samples, space, first, last)
    for b in range(last - first):
        sample = sample_of(samples, first + b)
        for view in range(parameters.views):
            for slot in range(parameters.max_objects):
                if space.objects[b, view, slot, ObjectField.CODE] >= 0:
                    draw_view(_U(slot), _U(view), sample, space.shapes.views[b, view, slot])
