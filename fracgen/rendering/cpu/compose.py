"""Compose the image: colour, background, placed attractors, blur. Integers only."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import ObjectField, SceneField

_I, _W, _S, _H = np.int32, np.uint32, np.int16, np.uint16
_GREY = np.uint8(127)

@inner
def channel(hue: Any, saturation: Any, value: Any, phase: Any) -> Any:
    """One channel of HSV to RGB, all uint16: hue in [0, 180) steps of 2 degrees, the others 0..255.

    `phase` is 150 for red, 90 for green, 30 for blue; the triangle wave of the textbook formula
    v (1 - s max(0, min(k, 4 - k, 1))) is taken in thirtieths. Everything stays within 16 bits, of
    which a SIMD unit handles twice as many as of 32.
    """
    k = _H(hue + phase)
    k = _H(k - _H(180)) if k >= _H(180) else k
    t = _S(k)
    falling = _S(_S(120) - t)
    t = falling if falling < t else t
    t = _S(0) if t < _S(0) else t
    t = _S(30) if t > _S(30) else t
    full = _H(saturation * _H(t))  # times 2185 / 2^16, rounded, divides by 30
    dark = _H(_high(full, _H(2185)) + _H(_H(full * _H(2185)) >> _H(15)))
    return np.uint8(_high(_H(_H(value * _H(_H(255) - dark)) + _H(128)), _H(257)))


@inner
def _high(a: Any, b: Any) -> Any:
    """The upper 16 bits of a product of two uint16."""
    return _H((_W(a) * _W(b)) >> _W(16))


@inner
def clamp(v: Any) -> Any:
    """An int32 into 0..255."""
    v = _I(0) if v < 0 else v
    return _I(255) if v > 255 else v


@inner
def wrap(hue: Any) -> Any:
    """A hue byte, any int32, into [0, 180) steps of 2 degrees, as an 8-bit hue wraps."""
    h = _I(hue & _I(255))
    return _I(h - 180) if h >= 180 else h


@inner
def colour_row(
    parameters: Any, scene: Any, obj: Any, noise: Any, density: Any, hsv: Any, red: Any, green: Any, blue: Any
) -> None:
    """One row of an image: the attractor's colour where it is dense, else the background's."""
    hue_scale, hue_shift = scene[SceneField.HUE_SCALE], scene[SceneField.HUE_SHIFT]
    saturation_scale, saturation_shift = scene[SceneField.SATURATION_SCALE], scene[SceneField.SATURATION_SHIFT]
    value_scale, value_shift = scene[SceneField.VALUE_SCALE], scene[SceneField.VALUE_SHIFT]
    own_hue, own_saturation, own_value = obj[ObjectField.HUE], obj[ObjectField.SATURATION], obj[ObjectField.VALUE]
    if parameters.grey:
        own_saturation, own_value = _I(0), _I(_GREY)
    backed = parameters.noise
    hues, saturations, values = hsv[0], hsv[1], hsv[2]  # uint16 [size]
    for c in range(parameters.size):
        x, d = _I(noise[c]), _I(density[c])
        hue = _I(_I(_I(x * hue_scale) + hue_shift) >> _I(20))
        saturation = clamp(_I(_I(_I(x * saturation_scale) + saturation_shift) >> _I(20)))
        value = clamp(_I(_I(_I(x * value_scale) + value_shift) >> _I(20))) if backed else _I(0)
        hues[c] = _H(wrap(_I(d + own_hue) if d > 0 else hue))
        saturations[c] = _H(own_saturation if d > 0 else saturation)
        values[c] = _H(own_value if d > 0 else value)
    for c in range(parameters.size):
        h, s, v = hues[c], saturations[c], values[c]
        red[c], green[c], blue[c] = channel(h, s, v, _H(150)), channel(h, s, v, _H(90)), channel(h, s, v, _H(30))


@inner
def paint(
    parameters: Any, scene: Any, obj: Any, noise: Any, density: Any, empty: Any, hsv: Any, mask: Any, image: Any
) -> None:
    """The background, and over it the attractor where there is only one, cropped from its canvas."""
    for r in range(parameters.size):
        row = empty
        if not parameters.placed:
            first = (r + scene[SceneField.CROP_TOP]) * parameters.canvas + scene[SceneField.CROP_LEFT]
            row = density[first : first + parameters.size]
        colour_row(parameters, scene, obj, noise[r], row, hsv, image[0, r], image[1, r], image[2, r])
        for c in range(parameters.size):
            mask[r, c] = np.uint8(row[c] > 0)


@inner
def _texel(parameters: Any, obj: Any, density: Any, phase: Any) -> Any:
    d = _I(density)
    if d == 0:
        return _I(0)
    if parameters.grey:
        return _I(_GREY)
    hue = _H(wrap(_I(d + obj[ObjectField.HUE])))
    return _I(channel(hue, _H(obj[ObjectField.SATURATION]), _H(obj[ObjectField.VALUE]), phase))


@inner
def _tap(place: Any, step: Any, cells: Any) -> Any:
    """Bilinear taps of pixel `place`: two cells and the second's weight in 256ths."""
    position = max(0, place * step + (step >> 1) - 32768)
    first = min(position >> 16, cells - 1)
    return first, min(first + 1, cells - 1), _I((position >> 8) & 255)


@inner
def place(parameters: Any, obj: Any, density: Any, mask: Any, image: Any) -> None:
    """Resize one attractor (bilinear, black around it) and overwrite where it is not black."""
    canvas, side = parameters.canvas, obj[ObjectField.SIDE]
    step = (canvas << 16) // side
    for r in range(max(0, obj[ObjectField.TOP]), min(parameters.size, obj[ObjectField.TOP] + side)):
        r0, r1, fr = _tap(r - obj[ObjectField.TOP], step, canvas)
        for c in range(max(0, obj[ObjectField.LEFT]), min(parameters.size, obj[ObjectField.LEFT] + side)):
            c0, c1, fc = _tap(c - obj[ObjectField.LEFT], step, canvas)
            d00, d01 = density[r0 * canvas + c0], density[r0 * canvas + c1]
            d10, d11 = density[r1 * canvas + c0], density[r1 * canvas + c1]
            if d00 | d01 | d10 | d11 == 0:
                continue
            rgb = (np.uint8(0), np.uint8(0), np.uint8(0))
            for k in range(3):
                phase = _H(150 - 60 * k)
                t0, t1 = _texel(parameters, obj, d00, phase), _texel(parameters, obj, d01, phase)
                b0, b1 = _texel(parameters, obj, d10, phase), _texel(parameters, obj, d11, phase)
                top = t0 * (256 - fc) + t1 * fc
                bottom = b0 * (256 - fc) + b1 * fc
                v = np.uint8((top * (256 - fr) + bottom * fr + 32768) >> 16)
                rgb = (v, rgb[1], rgb[2]) if k == 0 else (rgb[0], v, rgb[2]) if k == 1 else (rgb[0], rgb[1], v)
            if rgb[0] | rgb[1] | rgb[2] != 0:
                image[0, r, c], image[1, r, c], image[2, r, c] = rgb
                mask[r, c] = np.uint8(1)


@inner
def _weigh(a: Any, b: Any, c: Any, outer: Any, inner: Any) -> Any:
    """In 16 bits, so that a vector holds twice as many: weights sum to 256, hence all to 65,408 at most."""
    sides = _H(_H(_H(a) + _H(c)) * outer)
    return np.uint8(_H(_H(sides + _H(_H(b) * inner)) + _H(128)) >> _H(8))


@inner
def blur(image: Any, outer: Any, work: Any) -> None:
    """3x3 Gaussian in place, rows then columns, each rounded to bytes; borders reflect without
    repeating the edge. `outer` is the weight of a neighbour in 256ths; `work` is uint8 [size, size]."""
    size = image.shape[1]
    outer, inner = _H(outer), _H(256 - 2 * outer)
    for k in range(3):
        plane = image[k]
        for r in range(size):
            source, target = plane[r], work[r]
            left, middle, right = source[: size - 2], source[1 : size - 1], source[2:]
            aim = target[1 : size - 1]
            for c in range(size - 2):
                aim[c] = _weigh(left[c], middle[c], right[c], outer, inner)
            target[0] = _weigh(source[1], source[0], source[1], outer, inner)
            target[size - 1] = _weigh(source[size - 2], source[size - 1], source[size - 2], outer, inner)
        for r in range(size):
            above, here = work[abs(r - 1)], work[r]
            below_ = work[r + 1 if r + 1 < size else size - 2]
            target = plane[r]
            for c in range(size):
                target[c] = _weigh(above[c], here[c], below_[c], outer, inner)


@stage
def compose_stage(parameters: Any, space: Any, first: Any, last: Any, images: Any, masks: Any) -> None:
    """Compose samples first .. last - 1 from what the stages before left in `space`.

    Args:
        images: uint8 [B, views, 3, size, size], rows first .. last - 1 written.
        masks: uint8 [B, views, size, size], 1 where an attractor shows; or [0, ...] for none.
    """
    size, scenes, objects, density, noise = parameters.size, space.scenes, space.objects, space.density, space.noise
    empty, hsv = np.zeros(size, np.uint8), np.empty((3, size), np.uint16)
    blurred, shown = np.empty((size, size), np.uint8), np.empty((size, size), np.uint8)
    for b in range(first, last):
        for view in range(parameters.views):
            n = b - first
            scene, image = scenes[n, view], images[b, view]
            if masks.shape[0] > 0:
                shown = masks[b, view]
            paint(parameters, scene, objects[n, view, 0], noise[n, view], density[n, view, 0], empty, hsv, shown, image)
            if parameters.placed:
                for slot in range(scene[SceneField.OBJECTS]):
                    place(parameters, objects[n, view, slot], density[n, view, slot], shown, image)
            if scene[SceneField.BLUR] > 0:
                blur(image, scene[SceneField.BLUR], blurred)
