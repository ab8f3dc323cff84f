"""Lay drawn objects over a background, each by its coverage, and blur the image. Integers only.

An object is a texture uint8 [canvas^2, 4]: red, green and blue times coverage, and coverage. Twin:
kernels/scene/blend.cu.
"""

# mypy: ignore-errors
from __future__ import annotations

import numpy as np

from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import ObjectField, SceneField

_I, _U, _H, _B = np.int32, np.uint32, np.uint16, np.uint8
SHOWN = 128
"""Coverage from which on an object is what a pixel shows."""


@inner
def tap(place, step, cells):
    """Bilinear taps of pixel `place`: two cells and the second's weight in 256ths."""
    position = max(0, place * step + (step >> 1) - 32768)
    first = min(position >> 16, cells - 1)
    return first, min(first + 1, cells - 1), _U((position >> 8) & 255)


@inner
def _weigh(a, b, c, outer, inner):
    """uint32 outer * (a + c) + inner * b; its upper 16 bits, rounded, are a byte."""
    return _U(_U(_U(_U(_U(a) + _U(c)) * outer) + _U(_U(b) * inner)) + _U(32768)) >> _U(16)


@inner
def blur(image, outer, work):
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
def mask_of(masks, b, view, spare):
    """The mask of an image, uint8 [size, size]: `spare` where nobody asked for any (masks: [0, ...])."""
    return masks[b, view] if masks.shape[0] > 0 else spare


@inner
def over(texel, coverage, below):
    """A byte of a colour that is multiplied by its coverage, over a byte of what lies below."""
    return np.uint8(texel + (((_I(255) - coverage) * _I(below) + _I(128)) * _I(257) >> _I(16)))


@inner
def lay(texture, parameters, scene, mask, image):
    """Lay the one object of a picture over it, cropped from its canvas."""
    for r in range(parameters.size):
        first = (r + scene[SceneField.CROP_TOP]) * parameters.canvas + scene[SceneField.CROP_LEFT]
        for c in range(parameters.size):
            texel = texture[first + c]
            coverage = _I(texel[3])
            for k in range(3):
                image[k, r, c] = over(_I(texel[k]), coverage, image[k, r, c])
            mask[r, c] = np.uint8(coverage >= SHOWN)


@inner
def place(texture, parameters, obj, mask, image):
    """Resize an object (bilinear) and lay it over the picture at its place."""
    canvas, side = parameters.canvas, obj[ObjectField.SIDE]
    top, left = obj[ObjectField.TOP], obj[ObjectField.LEFT]
    step = (canvas << 16) // side
    texel = np.empty(4, np.int32)
    for r in range(max(0, top), min(parameters.size, top + side)):
        r0, r1, down = tap(r - top, step, canvas)
        for c in range(max(0, left), min(parameters.size, left + side)):
            c0, c1, right = tap(c - left, step, canvas)
            for k in range(4):
                above = texture[r0 * canvas + c0, k] * (256 - right) + texture[r0 * canvas + c1, k] * right
                under = texture[r1 * canvas + c0, k] * (256 - right) + texture[r1 * canvas + c1, k] * right
                texel[k] = (above * (256 - down) + under * down + 32768) >> 16
            for k in range(3):
                image[k, r, c] = over(texel[k], texel[3], image[k, r, c])
            mask[r, c] |= np.uint8(texel[3] >= SHOWN)


@stage
def blend_stage(parameters, space, first, last, images, masks):
    """Finish the images of samples first .. last - 1: reads `space.scenes`, `objects` and `shapes.textures`.

    Args:
        images: uint8 [B, views, 3, size, size], rows first .. last - 1 changed from backgrounds to images.
        masks: uint8 [B, views, size, size], 1 where an object shows; or [0, ...] for none.
    """
    scenes, objects, textures = space.scenes, space.objects, space.shapes.textures
    size = parameters.size
    work, spare = np.empty((size, size), np.uint16), np.empty((size, size), np.uint8)
    for b in range(first, last):
        for view in range(parameters.views):
            n = b - first
            scene, image = scenes[n, view], images[b, view]
            shown = mask_of(masks, b, view, spare)
            if parameters.placed:
                shown[:] = np.uint8(0)
                for slot in range(scene[SceneField.OBJECTS]):
                    place(textures[n, view, slot], parameters, objects[n, view, slot], shown, image)
            else:
                lay(textures[n, view, 0], parameters, scene, shown, image)
            if scene[SceneField.BLUR] > 0:
                blur(image, scene[SceneField.BLUR], work)
