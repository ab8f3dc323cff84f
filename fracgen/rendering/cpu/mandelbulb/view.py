"""Everything that must be known before rays are marched: scenes, objects' codes and places, cameras, colours."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen.draws import Purpose
from fracgen.rendering.cpu.arithmetic import draw, sample_of, sin_cos, unit
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.cpu.scene import choose_code, draw_place, draw_scene, in_view
from fracgen.rendering.cpu.simd import fma
from fracgen.rendering.records import ObjectField, SceneField
from fracgen.rendering.variations import ViewField

_F, _U = np.float32, np.uint32
_OBJECT, _VIEW = _U(Purpose.OBJECT), _U(Purpose.VIEW)
_EIGHTH = _F(np.pi / 4)
_FORWARD, _UP, _SIDE, _COLOURS = (int(field) for field in ViewField)


@inner
def turn(word: Any) -> Any:
    """Cosine and sine of a uniform angle: those of an eighth of it, doubled three times."""
    sine, cosine = sin_cos(fma(unit(word), _EIGHTH, _F(-0.5) * _EIGHTH))
    for _ in range(3):
        sine, cosine = (sine + sine) * cosine, fma(cosine, cosine, -(sine * sine))
    return cosine, sine


@inner
def draw_view(slot: Any, view: Any, sample: Any, out: Any) -> None:
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
def view_stage(parameters: Any, codes: Any, samples: Any, space: Any, first: Any, last: Any) -> None:
    """All that must be known before rays are marched, for samples first .. last - 1: writes `space.scenes`,
    `backdrops`, `objects` and `views`.

    Args:
        parameters: `Parameters`.
        codes: `VariationCodes`.
        samples: `Samples`.
        space: `Space` for at least last - first samples.
    """
    for b in range(last - first):
        sample = sample_of(samples, first + b)
        for view_number in range(parameters.views):
            view, scene = _U(view_number), space.scenes[b, view_number]
            backdrop = space.shapes.backdrops[b, view_number]
            draw_scene(parameters, view, sample, scene)
            backdrop[:] = scene
            backdrop[SceneField.OBJECTS] = backdrop[SceneField.BLUR] = 0
            for slot_number in range(parameters.max_objects):
                slot, obj = _U(slot_number), space.objects[b, view_number, slot_number]
                obj[ObjectField.CODE] = -1
                if slot_number >= scene[SceneField.OBJECTS]:
                    continue
                draw_place(parameters, scene, draw(_U(2), _OBJECT, slot, view, sample), obj)
                if not in_view(parameters, obj):
                    continue
                word = draw(_U(3), _OBJECT, slot, _U(0), sample)[0]
                obj[ObjectField.CODE] = choose_code(parameters, codes, sample.index, slot_number, word)
                draw_view(slot, view, sample, space.shapes.views[b, view_number, slot_number])
