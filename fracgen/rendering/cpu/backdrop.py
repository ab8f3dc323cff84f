"""Backgrounds, of whichever formula: noise in the colors of its scene, black or white. Integers only.

Colors come from palettes: a background's has one for every 512th of the noise. An entry is
red | green << 8 | blue << 16. Twin: kernels/scene/backdrop.cu.
"""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import PALETTE, SceneField

_I, _U, _H, _B = np.int32, np.uint32, np.uint16, np.uint8


@inner
def _channel(hue, saturation, value, phase):
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
def rgb(hue, saturation, value):
    """A palette's entry; hue is any int32 byte, which wraps at 256 and from 180 on once round the circle."""
    h = _I(hue & _I(255))
    h = _I(h - 180) if h >= 180 else h
    red, green = _channel(h, saturation, value, _I(150)), _channel(h, saturation, value, _I(90))
    return red | _U(green << _U(8)) | _U(_channel(h, saturation, value, _I(30)) << _U(16))


@inner
def _clamp(v):
    """An int32 into 0..255."""
    v = _I(0) if v < 0 else v
    return _I(255) if v > 255 else v


@inner
def background_palette(scene, lowest, highest, palette):
    """Colours of noise values whose upper bits are lowest .. highest, to palette uint32 [>= PALETTE]."""
    hue_scale, hue_shift = scene[SceneField.HUE_SCALE], scene[SceneField.HUE_SHIFT]
    saturation_scale, saturation_shift = scene[SceneField.SATURATION_SCALE], scene[SceneField.SATURATION_SHIFT]
    value_scale, value_shift = scene[SceneField.VALUE_SCALE], scene[SceneField.VALUE_SHIFT]
    for i in range(lowest, highest + 1):
        x = _I(_I(_I(i) * _I(8)) - _I(9212))  # the middle of the 512th, in 4096ths
        hue = _I(_I(_I(x * hue_scale) + hue_shift) >> _I(20))
        saturation = _clamp(_I(_I(_I(x * saturation_scale) + saturation_shift) >> _I(20)))
        value = _clamp(_I(_I(_I(x * value_scale) + value_shift) >> _I(20)))
        palette[i] = rgb(hue, saturation, value)


@inner
def lowest_and_highest(noise, size):
    """Of the noise that an image shows."""
    lowest, highest = _H(65535), _H(0)
    for r in range(size):
        values = noise[r]
        for c in range(size):
            lowest, highest = min(lowest, values[c]), max(highest, values[c])
    return lowest, highest


@inner
def paint_row(palette, entries, row, red, green, blue):
    """One row of an image: the palette's colours of uint16 entries [size]; row: uint32 [size], work space."""
    for c in range(row.size):
        row[c] = palette[np.uint64(entries[c])]
    for c in range(row.size):
        red[c], green[c], blue[c] = _B(row[c]), _B(row[c] >> _U(8)), _B(row[c] >> _U(16))


@inner
def noise_palette(scene, noise, size, palette):
    """Colors of the noise that an image shows, to palette uint32 [>= PALETTE]."""
    lowest, highest = lowest_and_highest(noise, size)
    background_palette(scene, np.int64(lowest >> _H(2)), np.int64(highest >> _H(2)), palette)


@inner
def paint_backdrop(parameters, scene, noise, palette, entries, row, image):
    """The background of an image uint8 [3, size, size].

    palette: uint32 [>= PALETTE]; entries: uint16 [size]; row: uint32 [size], work space.
    """
    size = parameters.size
    if not parameters.noise:
        image[:] = _B(255 if parameters.white else 0)
        return
    noise_palette(scene, noise, size, palette)
    for r in range(size):
        values = noise[r]
        for c in range(size):
            entries[c] = values[c] >> _H(2)
        paint_row(palette, entries, row, image[0, r], image[1, r], image[2, r])


@stage
def backdrop_stage(parameters, space, first, last, images):
    """Backgrounds of samples first .. last - 1: reads `space.scenes` and `noise`, writes images uint8 [B, views, 3,
    size, size]."""
    size = parameters.size
    palette, entries, row = np.zeros(PALETTE, np.uint32), np.empty(size, np.uint16), np.empty(size, np.uint32)
    for b in range(first, last):
        for view in range(parameters.views):
            n = b - first
            scene, noise = space.scenes[n, view], space.noise[n, view]
            paint_backdrop(parameters, scene, noise, palette, entries, row, images[b, view])
