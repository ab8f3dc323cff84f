"""Blend drawn solids over a background, each by its coverage, and blur the picture. Integers only."""

from __future__ import annotations

from typing import Any

import numpy as np

from fracgen.rendering.cpu.compose import _tap, blur, mask_of
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.records import ObjectField, SceneField

_I, _U = np.int32, np.uint32
SHOWN = 128
"""Coverage from which on an object is what a pixel shows."""


@inner
def over(texel: Any, coverage: Any, below: Any) -> Any:
    """A byte of a colour that is multiplied by its coverage, over a byte of what lies below."""
    return np.uint8(texel + (((_I(255) - coverage) * _I(below) + _I(128)) * _I(257) >> _I(16)))


@inner
def lay(texture: Any, parameters: Any, scene: Any, mask: Any, image: Any) -> None:
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
def place(texture: Any, parameters: Any, obj: Any, mask: Any, image: Any) -> None:
    """Resize an object (bilinear) and lay it over the picture at its place."""
    canvas, side = parameters.canvas, obj[ObjectField.SIDE]
    top, left = obj[ObjectField.TOP], obj[ObjectField.LEFT]
    step = (canvas << 16) // side
    texel = np.empty(4, np.int32)
    for r in range(max(0, top), min(parameters.size, top + side)):
        r0, r1, down = _tap(r - top, step, canvas)
        for c in range(max(0, left), min(parameters.size, left + side)):
            c0, c1, right = _tap(c - left, step, canvas)
            for k in range(4):
                above = texture[r0 * canvas + c0, k] * (256 - right) + texture[r0 * canvas + c1, k] * right
                under = texture[r1 * canvas + c0, k] * (256 - right) + texture[r1 * canvas + c1, k] * right
                texel[k] = (above * (256 - down) + under * down + 32768) >> 16
            for k in range(3):
                image[k, r, c] = over(texel[k], texel[3], image[k, r, c])
            mask[r, c] |= np.uint8(texel[3] >= SHOWN)


@stage
def blend_stage(parameters: Any, space: Any, first: Any, last: Any, images: Any, masks: Any) -> None:
    """Finish the pictures of samples first .. last - 1 from what the stages before left in `space`.

    Args:
        images: uint8 [B, views, 3, size, size], rows first .. last - 1 changed: their background in where it
            is noise, pictures out.
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
            if not parameters.noise:
                image[:] = np.uint8(255 if parameters.white else 0)
            if parameters.placed:
                shown[:] = np.uint8(0)
                for slot in range(scene[SceneField.OBJECTS]):
                    place(textures[n, view, slot], parameters, objects[n, view, slot], shown, image)
            else:
                lay(textures[n, view, 0], parameters, scene, shown, image)
            if scene[SceneField.BLUR] > 0:
                blur(image, scene[SceneField.BLUR], work)
