"""Compose an image of attractors: color, background, placed attractors, blur. Integers only.

An attractor's palette has a color for each of its 255 densities; see `rendering.cpu.backdrop` for the background's.
"""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.rendering.cpu.backdrop import noise_palette, paint_backdrop, paint_row, rgb
from fracgen.rendering.cpu.blend import blur, mask_of, tap
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import PALETTE, ObjectField, SceneField

_I, _U, _H, _B = np.int32, np.uint32, np.uint16, np.uint8
_GRAY = _U(0x7F7F7F)


@inner
def object_palette(parameters, obj, palette):
    """Colours of an attractor's densities, to palette uint32 [256]; entry 0, where no point fell, is black."""
    hue, saturation, value = obj[ObjectField.HUE], obj[ObjectField.SATURATION], obj[ObjectField.VALUE]
    for d in range(256):
        palette[d] = _GRAY if parameters.gray else rgb(_I(_I(d) + hue), saturation, value)
    palette[0] = 0


@inner
def paint(
    parameters, scene, obj, noise, density, palette, entries, row, mask,
    image,
):  # fmt: skip
    """The background and over it the only attractor, cropped from its canvas: `paint_backdrop` and the attractor in
    one pass."""
    size = parameters.size
    if parameters.noise:
        noise_palette(scene, noise, size, palette)
    object_palette(parameters, obj, palette[PALETTE:])
    palette[PALETTE] = _U(0xFFFFFF if parameters.white else 0)  # where no point fell and there is no noise
    for r in range(size):
        shown = mask[r]
        first = (r + scene[SceneField.CROP_TOP]) * parameters.canvas + scene[SceneField.CROP_LEFT]
        dense = density[first : first + size]
        for c in range(size):
            entries[c] = _H(_H(PALETTE) + _H(dense[c]))
            shown[c] = _B(dense[c] > 0)
        if parameters.noise:
            values = noise[r]
            for c in range(size):  # both are read before one is chosen: a branch would be taken for every pixel
                drawn, behind = entries[c], _H(values[c] >> _H(2))
                entries[c] = drawn if drawn > _H(PALETTE) else behind
        paint_row(palette, entries, row, image[0, r], image[1, r], image[2, r])


@inner
def _between(a, b, c, d, right, down):
    """One channel, the lowest byte, of four colours, interpolated: a, b above and c, d below."""
    mask = _U(255)
    above = _U(_U((a & mask) * _U(_U(256) - right)) + _U((b & mask) * right))
    below = _U(_U((c & mask) * _U(_U(256) - right)) + _U((d & mask) * right))
    return _U(_U(_U(above * _U(_U(256) - down)) + _U(below * down)) + _U(32768)) >> _U(16)


@inner
def place(parameters, obj, density, palette, taps, mask, image):
    """Resize one attractor (bilinear, black around it) and overwrite where it is not black.

    palette: uint32 [256], the attractor's; taps: int32 [3, size], work space.
    """
    canvas, side = parameters.canvas, obj[ObjectField.SIDE]
    step = (canvas << 16) // side
    first, last = max(0, obj[ObjectField.LEFT]), min(parameters.size, obj[ObjectField.LEFT] + side)
    firsts, seconds, weights = taps[0], taps[1], taps[2]
    for c in range(first, last):
        c0, c1, right = tap(c - obj[ObjectField.LEFT], step, canvas)
        firsts[c], seconds[c], weights[c] = c0, c1, right
    for r in range(max(0, obj[ObjectField.TOP]), min(parameters.size, obj[ObjectField.TOP] + side)):
        r0, r1, down = tap(r - obj[ObjectField.TOP], step, canvas)
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


@stage
def compose_stage(parameters, space, first, last, images, masks):
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
            if not parameters.placed:
                paint(
                    parameters, scene, objects[n, view, 0], noise[n, view], density[n, view, 0], palette, entries, row,
                    shown, image,
                )  # fmt: skip
            else:
                paint_backdrop(parameters, scene, noise[n, view], palette, entries, row, image)
                shown[:] = 0
                for slot in range(scene[SceneField.OBJECTS]):
                    obj, own = objects[n, view, slot], palette[PALETTE:]
                    if obj[ObjectField.CODE] < 0:
                        continue
                    object_palette(parameters, obj, own)
                    place(parameters, obj, density[n, view, slot], own, taps, shown, image)
            if scene[SceneField.BLUR] > 0:
                blur(image, scene[SceneField.BLUR], work)
