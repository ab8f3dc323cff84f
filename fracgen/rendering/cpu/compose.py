"""Compose the image: colour, background, placed attractors, blur. Integers only.

Colours come from palettes: an attractor's has a colour for each of its 255 densities, a background's
one for every 512th of the noise. An entry is red | green << 8 | blue << 16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import PALETTE, ObjectField, SceneField

_I, _U, _H, _B = np.int32, np.uint32, np.uint16, np.uint8
_GREY = _U(0x7F7F7F)


@inner
def _channel(hue: Any, saturation: Any, value: Any, phase: Any) -> Any:
    """One channel of HSV to RGB, all int32: hue in [0, 180) steps of 2 degrees, the others 0..255.

    `phase` is 150 for red, 90 for green, 30 for blue. The textbook's v (1 - s max(0, min(k, 4 - k, 1))),
    k in thirtieths of a sixth of the circle, as an exact fraction of 255 * 30, rounded down.
    """
    k = _I(hue + phase)
    k = _I(k - 180) if k >= 180 else k
    falling = _I(120 - k)
    k = falling if falling < k else k
    k = _I(0) if k < 0 else k
    k = _I(30) if k > 30 else k
    return _U(_U(value) * _U(_U(7650) - _U(_U(saturation) * _U(k)))) // _U(7650)


@inner
def _rgb(hue: Any, saturation: Any, value: Any) -> Any:
    """A palette's entry; hue is any int32 byte, which wraps at 256 and from 180 on once round the circle."""
    h = _I(hue & _I(255))
    h = _I(h - 180) if h >= 180 else h
    red, green = _channel(h, saturation, value, _I(150)), _channel(h, saturation, value, _I(90))
    return red | _U(green << _U(8)) | _U(_channel(h, saturation, value, _I(30)) << _U(16))


@inner
def _clamp(v: Any) -> Any:
    """An int32 into 0..255."""
    v = _I(0) if v < 0 else v
    return _I(255) if v > 255 else v


@inner
def object_palette(parameters: Any, obj: Any, palette: Any) -> None:
    """Colours of an attractor's densities, to palette uint32 [256]; entry 0, where no point fell, is black."""
    hue, saturation, value = obj[ObjectField.HUE], obj[ObjectField.SATURATION], obj[ObjectField.VALUE]
    for d in range(256):
        palette[d] = _GREY if parameters.grey else _rgb(_I(_I(d) + hue), saturation, value)
    palette[0] = 0


@inner
def background_palette(scene: Any, lowest: Any, highest: Any, palette: Any) -> None:
    """Colours of noise values whose upper bits are lowest .. highest, to palette uint32 [>= PALETTE]."""
    hue_scale, hue_shift = scene[SceneField.HUE_SCALE], scene[SceneField.HUE_SHIFT]
    saturation_scale, saturation_shift = scene[SceneField.SATURATION_SCALE], scene[SceneField.SATURATION_SHIFT]
    value_scale, value_shift = scene[SceneField.VALUE_SCALE], scene[SceneField.VALUE_SHIFT]
    for i in range(lowest, highest + 1):
        x = _I(_I(_I(i) * _I(8)) - _I(9212))  # the middle of the 512th, in 4096ths
        hue = _I(_I(_I(x * hue_scale) + hue_shift) >> _I(20))
        saturation = _clamp(_I(_I(_I(x * saturation_scale) + saturation_shift) >> _I(20)))
        value = _clamp(_I(_I(_I(x * value_scale) + value_shift) >> _I(20)))
        palette[i] = _rgb(hue, saturation, value)


@inner
def _lowest_and_highest(noise: Any, size: Any) -> Any:
    """Of the noise that an image shows."""
    lowest, highest = _H(65535), _H(0)
    for r in range(size):
        values = noise[r]
        for c in range(size):
            lowest, highest = min(lowest, values[c]), max(highest, values[c])
    return lowest, highest


@inner
def _paint_row(palette: Any, entries: Any, row: Any, red: Any, green: Any, blue: Any) -> None:
    """One row of an image: the palette's colours of uint16 entries [size]; row: uint32 [size], work space."""
    for c in range(row.size):
        row[c] = palette[np.uint64(entries[c])]
    for c in range(row.size):
        red[c], green[c], blue[c] = _B(row[c]), _B(row[c] >> _U(8)), _B(row[c] >> _U(16))


@inner
def paint(
    parameters: Any, scene: Any, obj: Any, noise: Any, density: Any, palette: Any, entries: Any, row: Any, mask: Any,
    image: Any,
) -> None:  # fmt: skip
    """The background, and over it the attractor where there is only one, cropped from its canvas."""
    size = parameters.size
    if parameters.noise:
        lowest, highest = _lowest_and_highest(noise, size)
        background_palette(scene, np.int64(lowest >> _H(2)), np.int64(highest >> _H(2)), palette)
    if not parameters.placed:
        object_palette(parameters, obj, palette[PALETTE:])
    entries[:] = PALETTE  # black
    for r in range(size):
        values, shown = noise[r], mask[r]
        if parameters.noise:
            for c in range(size):
                entries[c] = values[c] >> _H(2)
        if parameters.placed:
            shown[:] = 0
        else:
            first = (r + scene[SceneField.CROP_TOP]) * parameters.canvas + scene[SceneField.CROP_LEFT]
            dense = density[first : first + size]
            for c in range(size):
                d = _H(dense[c])
                entries[c] = _H(_H(PALETTE) + d) if d > 0 or not parameters.noise else entries[c]
                shown[c] = _B(dense[c] > 0)
        _paint_row(palette, entries, row, image[0, r], image[1, r], image[2, r])


@inner
def _tap(place: Any, step: Any, cells: Any) -> Any:
    """Bilinear taps of pixel `place`: two cells and the second's weight in 256ths."""
    position = max(0, place * step + (step >> 1) - 32768)
    first = min(position >> 16, cells - 1)
    return first, min(first + 1, cells - 1), _U((position >> 8) & 255)


@inner
def _between(a: Any, b: Any, c: Any, d: Any, right: Any, down: Any) -> Any:
    """One channel, the lowest byte, of four colours, interpolated: a, b above and c, d below."""
    mask = _U(255)
    above = _U(_U((a & mask) * _U(_U(256) - right)) + _U((b & mask) * right))
    below = _U(_U((c & mask) * _U(_U(256) - right)) + _U((d & mask) * right))
    return _U(_U(_U(above * _U(_U(256) - down)) + _U(below * down)) + _U(32768)) >> _U(16)


@inner
def place(parameters: Any, obj: Any, density: Any, palette: Any, taps: Any, mask: Any, image: Any) -> None:
    """Resize one attractor (bilinear, black around it) and overwrite where it is not black.

    palette: uint32 [256], the attractor's; taps: int32 [3, size], work space.
    """
    canvas, side = parameters.canvas, obj[ObjectField.SIDE]
    step = (canvas << 16) // side
    first, last = max(0, obj[ObjectField.LEFT]), min(parameters.size, obj[ObjectField.LEFT] + side)
    firsts, seconds, weights = taps[0], taps[1], taps[2]
    for c in range(first, last):
        c0, c1, right = _tap(c - obj[ObjectField.LEFT], step, canvas)
        firsts[c], seconds[c], weights[c] = c0, c1, right
    for r in range(max(0, obj[ObjectField.TOP]), min(parameters.size, obj[ObjectField.TOP] + side)):
        r0, r1, down = _tap(r - obj[ObjectField.TOP], step, canvas)
        above, below = density[r0 * canvas : (r0 + 1) * canvas], density[r1 * canvas : (r1 + 1) * canvas]
        red, green, blue, shown = image[0, r], image[1, r], image[2, r], mask[r]
        for c in range(first, last):
            c0, c1 = np.uint64(firsts[c]), np.uint64(seconds[c])
            d00, d01, d10, d11 = above[c0], above[c1], below[c0], below[c1]
            if d00 | d01 | d10 | d11 == 0:
                continue
            p00, p01 = palette[np.uint64(d00)], palette[np.uint64(d01)]
            p10, p11 = palette[np.uint64(d10)], palette[np.uint64(d11)]
            right = _U(weights[c])
            x = _between(p00, p01, p10, p11, right, down)
            y = _between(p00 >> _U(8), p01 >> _U(8), p10 >> _U(8), p11 >> _U(8), right, down)
            z = _between(p00 >> _U(16), p01 >> _U(16), p10 >> _U(16), p11 >> _U(16), right, down)
            if x | y | z != 0:
                red[c], green[c], blue[c], shown[c] = _B(x), _B(y), _B(z), _B(1)


@inner
def _weigh(a: Any, b: Any, c: Any, outer: Any, inner: Any) -> Any:
    """uint32 outer * (a + c) + inner * b; its upper 16 bits, rounded, are a byte."""
    return _U(_U(_U(_U(_U(a) + _U(c)) * outer) + _U(_U(b) * inner)) + _U(32768)) >> _U(16)


@inner
def blur(image: Any, outer: Any, work: Any) -> None:
    """3x3 Gaussian in place, columns then rows, rounded to bytes once; borders reflect without repeating the edge.

    `outer` is the weight of a neighbour in 256ths, so that a blurred column fits 16 bits with all of its
    fraction. work: uint16 [size, size], work space.
    """
    size = image.shape[1]
    outer16, inner16 = _H(outer), _H(256 - 2 * outer)
    outer32, inner32 = _U(outer16), _U(inner16)
    for k in range(3):
        plane = image[k]
        for r in range(size):
            above, here, below = plane[abs(r - 1)], plane[r], plane[r + 1 if r + 1 < size else size - 2]
            target = work[r]
            for c in range(size):
                sides = _H(_H(_H(above[c]) + _H(below[c])) * outer16)
                target[c] = _H(sides + _H(_H(here[c]) * inner16))
        for r in range(size):
            source, row = work[r], plane[r]
            left, middle, right, target = source[: size - 2], source[1 : size - 1], source[2:], row[1 : size - 1]
            for c in range(size - 2):
                target[c] = _B(_weigh(left[c], middle[c], right[c], outer32, inner32))
            row[0] = _B(_weigh(source[1], source[0], source[1], outer32, inner32))
            row[size - 1] = _B(_weigh(source[size - 2], source[size - 1], source[size - 2], outer32, inner32))


@inner
def mask_of(masks: Any, b: Any, view: Any, spare: Any) -> Any:
    """The mask of an image, uint8 [size, size]: `spare` where nobody asked for any (masks: [0, ...])."""
    return masks[b, view] if masks.shape[0] > 0 else spare


@stage
def compose_stage(parameters: Any, space: Any, first: Any, last: Any, images: Any, masks: Any) -> None:
    """Compose samples first .. last - 1 from what the stages before left in `space`.

    Args:
        images: uint8 [B, views, 3, size, size], rows first .. last - 1 written.
        masks: uint8 [B, views, size, size], 1 where an attractor shows; or [0, ...] for none.
    """
    size, scenes, objects, noise = parameters.size, space.scenes, space.objects, space.noise
    density = space.shapes.density
    entries, row, taps = np.empty(size, np.uint16), np.empty(size, np.uint32), np.empty((3, size), np.int32)
    palette = np.zeros(PALETTE + 256, np.uint32)  # a background's, then an attractor's
    work, spare = np.empty((size, size), np.uint16), np.empty((size, size), np.uint8)
    for b in range(first, last):
        for view in range(parameters.views):
            n = b - first
            scene, image = scenes[n, view], images[b, view]
            shown = mask_of(masks, b, view, spare)
            paint(
                parameters, scene, objects[n, view, 0], noise[n, view], density[n, view, 0], palette, entries, row,
                shown, image,
            )  # fmt: skip
            if parameters.placed:
                for slot in range(scene[SceneField.OBJECTS]):
                    obj, own = objects[n, view, slot], palette[PALETTE:]
                    if obj[ObjectField.CODE] < 0:
                        continue
                    object_palette(parameters, obj, own)
                    place(parameters, obj, density[n, view, slot], own, taps, shown, image)
            if scene[SceneField.BLUR] > 0:
                blur(image, scene[SceneField.BLUR], work)
