"""The numbers of a scene, and of its objects whatever their formula."""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.draws import Purpose
from fracgen.order import codes_of
from fracgen.rendering.cpu.arithmetic import below, draw, exp, fma, sample_of, uniform, unit
from fracgen.rendering.cpu.jit import inner
from fracgen.rendering.parameters import Source
from fracgen.rendering.records import ObjectField, SceneField

_F, _I, _U = np.float32, np.int32, np.uint32
_SCENE, _OBJECT = _U(Purpose.SCENE), _U(Purpose.OBJECT)
_SCALE, _SHIFT = _F(255.0 * 2**8), _F(255.0 * 2**20)


own_code = inner(codes_of)


@inner
def choose_code(parameters, classes, per_class, index, slot, word):
    """The code that object `slot` of sample `index` is made from."""
    label = np.int64(index) % classes
    if parameters.source == Source.CLASS:
        return label * per_class + below(word, per_class)
    if parameters.source == Source.BANK and slot > 0:
        return below(word, classes * per_class)
    return own_code(np.int64(index), classes, per_class)


@inner
def draw_place(parameters, scene, w, out):
    """Side and place of an object, from three of four random words."""
    side, left, top = parameters.size, 0, 0
    if parameters.placed:
        side = max(1, np.int64(uniform(w[1], parameters.side_low, parameters.side_high) * _F(parameters.scene)))
        left = below(w[2], _U(parameters.scene)) - side // 2 - scene[SceneField.CROP_LEFT]
        top = below(w[3], _U(parameters.scene)) - side // 2 - scene[SceneField.CROP_TOP]
    out[ObjectField.SIDE], out[ObjectField.LEFT], out[ObjectField.TOP] = side, left, top


@inner
def in_view(parameters, obj):
    """Whether an object's square reaches into the image."""
    side, left, top, size = obj[ObjectField.SIDE], obj[ObjectField.LEFT], obj[ObjectField.TOP], parameters.size
    return left < size and left + side > 0 and top < size and top + side > 0


@inner
def draw_scene(parameters, view, sample, out):
    """The random fields of one scene."""
    w = draw(_U(0), _SCENE, _U(0), view, sample)
    choices = parameters.max_objects - parameters.min_objects + 1
    out[SceneField.OBJECTS] = parameters.min_objects + below(w[0], _U(choices))
    out[SceneField.BLUR] = 0
    if unit(w[1]) < parameters.blur_probability:
        sigma = uniform(w[2], parameters.blur_low, parameters.blur_high)
        g = exp(_F(-0.5) / (sigma * sigma))
        out[SceneField.BLUR] = _I(fma(_F(256.0), g / fma(g, _F(2.0), _F(1.0)), _F(0.5)))
    ratio = exp(-uniform(w[3], _F(0.4), _F(0.8)))  # amplitudes are 0.5 exp(decay (1 - level))
    amplitude = _F(32768.0)
    for level in range(parameters.levels):
        out[SceneField.AMPLITUDES + level] = _I(amplitude)
        amplitude = amplitude * ratio
    w = draw(_U(1), _SCENE, _U(0), view, sample)
    out[SceneField.HUE_SCALE] = _I(uniform(w[0], _F(0.25), _F(1.0)) * _SCALE)
    out[SceneField.HUE_SHIFT] = _I(unit(w[1]) * _SHIFT)
    out[SceneField.SATURATION_SCALE] = _I(uniform(w[2], _F(0.1), _F(0.3)) * _SCALE)
    out[SceneField.SATURATION_SHIFT] = _I(uniform(w[3], _F(0.4), _F(0.6)) * _SHIFT)
    w = draw(_U(2), _SCENE, _U(0), view, sample)
    out[SceneField.VALUE_SCALE] = _I(uniform(w[0], _F(0.3), _F(0.6)) * _SCALE)
    out[SceneField.VALUE_SHIFT] = _I(uniform(w[1], _F(0.4), _F(0.6)) * _SHIFT)
    spare = (parameters.scene if parameters.placed else parameters.canvas) - parameters.size
    out[SceneField.CROP_LEFT] = below(w[2], _U(spare + 1))
    out[SceneField.CROP_TOP] = below(w[3], _U(spare + 1))
    w = draw(_U(3), _SCENE, _U(0), view, sample)
    for k in range(4):
        out[SceneField.CORNERS + k] = _I((unit(w[k]) + _F(2.25)) * _F(2048.0))


@inner
def draw_scenes(parameters, classes, per_class, samples, space, first, last):
    """The scenes of samples first .. last - 1, and their objects' codes and places: writes `space.scenes` and
    `objects`. The code of an object that is not there or not in view is -1."""
    for b in range(last - first):
        sample = sample_of(samples, first + b)
        for view_number in range(parameters.views):
            view, scene = _U(view_number), space.scenes[b, view_number]
            draw_scene(parameters, view, sample, scene)
            for slot_number in range(parameters.max_objects):
                slot, obj = _U(slot_number), space.objects[b, view_number, slot_number]
                obj[ObjectField.CODE] = -1
                if slot_number >= scene[SceneField.OBJECTS]:
                    continue
                draw_place(parameters, scene, draw(_U(2), _OBJECT, slot, view, sample), obj)
                if in_view(parameters, obj):
                    word = draw(_U(3), _OBJECT, slot, _U(0), sample)[0]
                    obj[ObjectField.CODE] = choose_code(parameters, classes, per_class, sample.index, slot_number, word)
