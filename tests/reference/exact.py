"""The whole renderer in NumPy, slow and obvious, from the specification in the docstrings of
`fracgen.draws`, `fracgen.order` and `fracgen.rendering`: the same draws, so the same bytes.

It shares no code with the renderer but `philox4x32`, which is itself held against its authors'
known answers. `render_one` is the entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fracgen.draws import Purpose
from fracgen.formulas.files import Bank
from fracgen.formulas.ifs.bank import CodeBank
from fracgen.formulas.mandelbulb.bank import VariationBank
from fracgen.recipes.recipe import Recipe
from tests.reference import attractor, code, rays
from tests.reference.arithmetic import Draws, F, Whole, below, exp, fma, uniform, unit

Words = dict[int, tuple[Whole, ...]]
Rendered = tuple[Whole, Whole, Whole]


@dataclass
class Picture:
    """The random fields of one picture; see `rendering.parameters`."""

    objects: int
    crop_left: int
    crop_top: int
    blur: int
    hue: tuple[int, int]
    """Scale and shift of the background's hue; so for the next two."""
    saturation: tuple[int, int]
    value: tuple[int, int]
    corners: list[int]
    amplitudes: list[int]


def draw_picture(recipe: Recipe, draws: Draws, view: int) -> Picture:
    """Number of attractors, blur, the noise's decay, the background's colour map, crop, corners."""

    def scaled(word: int, low: float, high: float, bits: int) -> int:
        return int(F(uniform(word, low, high) * F(255 * 2**bits)))

    first, second, third, corners = (draws.words(Purpose.SCENE, k, 0, view) for k in range(4))
    fewest, most = recipe.objects or (1, 1)
    blur = 0
    if unit(first[1]) < F(recipe.blur_probability):
        sigma = uniform(first[2], *recipe.blur_sigma)
        g = exp(F(F(-0.5) / F(sigma * sigma)))
        blur = int(fma(F(256), F(g / fma(g, F(2), F(1))), F(0.5)))
    ratio, amplitude, amplitudes = exp(-uniform(first[3], 0.4, 0.8)), F(32768), []
    for _ in range(levels(recipe.size)):
        amplitudes.append(int(amplitude))
        amplitude = F(amplitude * ratio)
    spare = (recipe.canvas if recipe.objects is None else recipe.scene or recipe.size) - recipe.size
    return Picture(
        objects=fewest + below(first[0], most - fewest + 1),
        crop_left=below(third[2], spare + 1), crop_top=below(third[3], spare + 1), blur=blur,
        hue=(scaled(second[0], 0.25, 1.0, 8), int(F(unit(second[1]) * F(255 * 2**20)))),
        saturation=(scaled(second[2], 0.1, 0.3, 8), scaled(second[3], 0.4, 0.6, 20)),
        value=(scaled(third[0], 0.3, 0.6, 8), scaled(third[1], 0.4, 0.6, 20)),
        corners=[int(F(F(unit(w) + F(2.25)) * F(STEPS))) for w in corners],
        amplitudes=amplitudes,
    )  # fmt: skip


def levels(size: int) -> int:
    """The smallest n with 2^n >= size."""
    n = 0
    while 2**n < size:
        n += 1
    return n


DIAMOND, HORIZONTAL, VERTICAL = range(3)
STEPS = 2048
"""Noise values are counted in 2048ths, from -2.25 on."""


def noise(picture: Picture, draws: Draws, view: int) -> Whole:
    """Diamond-square noise, int64 [2^n + 1, 2^n + 1], point by point."""
    a = np.array(picture.corners, np.int64).reshape(2, 2)
    for level, amplitude in enumerate(picture.amplitudes):
        m = len(a) - 1
        # Point j of row i takes 16 bits: part j % 8 (low half of a word first) of call i * calls + j // 8.
        calls = m // 8 + 1
        words = {
            kind: draws.words(Purpose.NOISE, np.arange((m + 1) * calls, dtype=np.uint64), 4 * level + kind, view)
            for kind in range(3)
        }

        def displaced(
            near: Sequence[int], kind: int, i: int, j: int, words: Words = words, calls: int = calls,
            scale: int = amplitude,
        ) -> int:  # fmt: skip
            """The mean of four neighbours plus U(-1, 1) of half the scale, in 16ths of a step."""
            call, part = i * calls + j // 8, j % 8
            half = int(words[kind][part // 2][call]) >> 16 * (part % 2) & 0xFFFF
            # A mean of four whole numbers, halves rounded up, is 1/8 too large.
            shift = (half * scale - scale * 2**15 + 2**19 - 2**17) >> 20
            return ((sum(int(n) for n in near) + 2) >> 2) + shift

        new = np.zeros((2 * m + 1, 2 * m + 1), np.int64)
        new[::2, ::2] = a
        for i in range(m):
            for j in range(m):
                near = (a[i, j], a[i, j + 1], a[i + 1, j], a[i + 1, j + 1])
                new[2 * i + 1, 2 * j + 1] = displaced(near, DIAMOND, i, j)
        centre = new[1::2, 1::2].copy()
        for i in range(m + 1):
            for j in range(m):
                near = (centre[i - 1, j], centre[i % m, j], a[i, j], a[i, j + 1])
                new[2 * i, 2 * j + 1] = displaced(near, HORIZONTAL, i, j)
        for i in range(m):
            for j in range(m + 1):
                near = (centre[i, j - 1], centre[i, j % m], a[i, j], a[i + 1, j])
                new[2 * i + 1, 2 * j] = displaced(near, VERTICAL, i, j)
        a = new
    return a


def rgb(hue: int, saturation: int, value: int) -> tuple[int, int, int]:
    """HSV to RGB by the textbook's f(n) = v (1 - s max(0, min(k, 4 - k, 1))), k = (n + hue / 60 degrees) mod 6
    with n = 5, 3, 1; hue in [0, 180) steps of 2 degrees, k in thirtieths; rounded down to bytes."""
    result = []
    for n in (5, 3, 1):
        k = (30 * n + hue) % 180
        triangle = max(0, min(k, 120 - k, 30))
        result.append(value * (255 * 30 - saturation * triangle) // (255 * 30))
    return tuple(result)  # type: ignore[return-value]


def wrap(hue: int) -> int:
    """A hue byte: modulo 256, then from 180 on once round."""
    hue %= 256
    return hue - 180 if hue >= 180 else hue


def foreground(recipe: Recipe, layer: attractor.Layer, density: int) -> tuple[int, int, int]:
    """Colour of a pixel of an attractor; black where no point fell."""
    if density == 0:
        return 0, 0, 0
    if recipe.color == "gray":
        return 127, 127, 127
    return rgb(wrap(density + layer.hue), layer.saturation, layer.value)


def background(picture: Picture, x: int) -> tuple[int, int, int]:
    """Colour of a noise value, of which its upper bits count: 512ths, in 4096ths about 0 with the middle taken."""
    middle = 8 * (int(x) >> 2) + 4 - 9216
    hue, saturation, value = (
        (middle * scale + shift) >> 20 for scale, shift in (picture.hue, picture.saturation, picture.value)
    )
    return rgb(wrap(hue), min(max(saturation, 0), 255), min(max(value, 0), 255))


def place(recipe: Recipe, layer: attractor.Layer, density: Whole, image: Whole, mask: Whole) -> None:
    """Resize a coloured attractor to its side, black around it, and overwrite where it is not black."""
    step = (recipe.canvas << 16) // layer.side
    for r in range(max(0, layer.top), min(recipe.size, layer.top + layer.side)):
        for c in range(max(0, layer.left), min(recipe.size, layer.left + layer.side)):
            total = np.zeros(3, np.int64)
            for i, wi in attractor.taps(r - layer.top, step, recipe.canvas):
                for j, wj in attractor.taps(c - layer.left, step, recipe.canvas):
                    total += wi * wj * np.array(foreground(recipe, layer, int(density[i, j])))
            colour = (total + 2**15) >> 16
            if colour.any():
                image[:, r, c], mask[r, c] = colour, 1


def blur(image: Whole, outer: int) -> Whole:
    """(outer, 256 - 2 outer, outer) / 256 along columns, then along rows; rounded once; reflect-101 borders."""
    for axis in (1, 2):
        pad = [(1, 1) if k == axis else (0, 0) for k in range(3)]
        before, here, after = (
            np.take(np.pad(image, pad, "reflect"), np.arange(k, k + image.shape[axis]), axis) for k in range(3)
        )
        image = (before + after) * outer + here * (256 - 2 * outer)
    return (image + 2**15) >> 16


def backdrop(recipe: Recipe, picture: Picture, draws: Draws, view: int) -> Whole:
    """The background, int64 [3, size, size]."""
    size = recipe.size
    image = np.full((3, size, size), 255 if recipe.background == "white" else 0, np.int64)
    if recipe.background == "noise":
        field = noise(picture, draws, view)
        for r in range(size):
            for c in range(size):
                image[:, r, c] = background(picture, field[r, c])
    return image


def render_solids(recipe: Recipe, bank: VariationBank, draws: Draws, view: int) -> Rendered:
    """`render_view` of Mandelbulb variations: each laid over what lies below by its coverage."""
    size, picture = recipe.size, draw_picture(recipe, draws, view)
    image, mask = backdrop(recipe, picture, draws, view), np.zeros((size, size), np.int64)
    codes = np.full(recipe.max_objects, -1)
    for slot in range(picture.objects):
        if recipe.objects is not None:
            corner = picture.crop_top, picture.crop_left
            box = rays.box(recipe, draws, slot, view, corner)
            if attractor.shows(recipe, *box):
                codes[slot], drawn = rays.draw(recipe, bank, draws, slot, view)
                rays.place(recipe, *box, drawn, image, mask)
            continue
        codes[slot], drawn = rays.draw(recipe, bank, draws, slot, view)
        for r in range(size):
            for c in range(size):
                texel = drawn[r + picture.crop_top, c + picture.crop_left]
                image[:, r, c], mask[r, c] = rays.over(texel, image[:, r, c]), texel[3] >= 128
    if picture.blur:
        image = blur(image, picture.blur)
    return image.astype(np.uint8), codes, mask.astype(np.uint8)


def render_view(recipe: Recipe, bank: CodeBank, draws: Draws, view: int) -> Rendered:
    """One picture: uint8 [3, size, size], its codes [max_objects] and its mask [size, size]."""
    size = recipe.size
    picture = draw_picture(recipe, draws, view)
    layers, density, own = [], [], code.brings_probabilities(bank)
    codes = np.full(recipe.max_objects, -1)
    for slot in range(picture.objects):
        layer = attractor.draw_object(recipe, draws, slot, view, (picture.crop_top, picture.crop_left))
        if not attractor.shows(recipe, layer.side, layer.left, layer.top):
            continue
        k = codes[slot] = code.choose(recipe, bank, draws, slot)
        maps = code.jitter(recipe, bank.maps[k, : bank.sizes[k]].reshape(-1, 6), draws, slot)
        choice = code.choice(code.shares(code.weights(maps, bank.probabilities[k] if own else None)))
        extent, starts = attractor.scout(maps, choice, draws, slot, view)
        place_on = attractor.window(recipe, extent, layer.flips, draws, slot, view)
        counts = attractor.histogram(recipe, maps, choice, starts, place_on, layer.flips, draws, slot, view)
        layers.append(layer)
        density.append(attractor.densities(counts, layer.stamp))

    image, mask = backdrop(recipe, picture, draws, view), np.zeros((size, size), np.int64)
    for layer, dense in zip(layers, density, strict=True):
        if recipe.objects is not None:
            place(recipe, layer, dense, image, mask)
            continue
        for r in range(size):
            for c in range(size):
                d = int(dense[r + picture.crop_top, c + picture.crop_left])
                if d > 0:
                    image[:, r, c], mask[r, c] = foreground(recipe, layer, d), 1
    if picture.blur:
        image = blur(image, picture.blur)
    return image.astype(np.uint8), codes, mask.astype(np.uint8)


def render_one(
    recipe: Recipe, bank: Bank, index: int, *, seed: int = 0, epoch: int = 0, stream: int = 0
) -> Rendered:
    """One sample: images uint8 [views, 3, size, size], codes of its first view, masks [views, size, size]."""
    draws = Draws(seed, epoch, index, stream)
    if isinstance(bank, VariationBank):
        views = [render_solids(recipe, bank, draws, view) for view in range(recipe.views)]
    else:
        assert isinstance(bank, CodeBank)
        views = [render_view(recipe, bank, draws, view) for view in range(recipe.views)]
    return np.stack([v[0] for v in views]), views[0][1], np.stack([v[2] for v in views])
