"""The chaos game in NumPy, slow and obvious: extent, window, histogram and densities of one attractor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fracgen.draws import Purpose
from fracgen.recipes.recipe import Recipe
from tests.reference.arithmetic import Draws, F, Floats, Whole, below, fma, uniform
from tests.reference.code import Code

SCOUTS, SCOUT_STEPS, BURN_IN = 64, 512, 128
ORBITS = 1024
SPACING = (SCOUT_STEPS - BURN_IN) // (ORBITS // SCOUTS)


@dataclass
class Layer:
    """The random fields of one attractor in one picture; see `rendering.parameters`."""

    hue: int
    saturation: int
    value: int
    stamp: int
    flips: int
    side: int
    left: int
    top: int


def place_of(recipe: Recipe, words: tuple[int, ...], corner: tuple[int, int]) -> tuple[int, int, int]:
    """Side, left and top of a placed object in a picture whose corner (top, left) lies there in the scene."""
    scene = recipe.scene or recipe.size
    side = max(1, int(F(uniform(words[1], *recipe.object_size) * F(scene))))
    return side, below(words[2], scene) - side // 2 - corner[1], below(words[3], scene) - side // 2 - corner[0]


def taps(at: int, step: int, cells: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Bilinear: the two cells around the centre of pixel `at` and their weights in 256ths; edges repeat."""
    position = max(0, at * step + step // 2 - 2**15)
    first = min(position >> 16, cells - 1)
    weight = position >> 8 & 255
    return (first, 256 - weight), (min(first + 1, cells - 1), weight)


def shows(recipe: Recipe, side: int, left: int, top: int) -> bool:
    """Whether any pixel of the picture lies in an object's square."""
    return bool(set(range(left, left + side)) & set(range(recipe.size))) and bool(
        set(range(top, top + side)) & set(range(recipe.size))
    )


def turned(stamp: int, flips: int) -> int:
    """A stamp under the flips of its attractor: mirrored along x (bit 2) and y (bit 4), then transposed (bit 1)."""
    cells = np.array([stamp >> k & 1 for k in range(9)]).reshape(3, 3)
    cells = cells[::-1] if flips & 2 else cells
    cells = cells[:, ::-1] if flips & 4 else cells
    cells = cells.T if flips & 1 else cells
    return int(cells.reshape(-1) @ 2 ** np.arange(9))


def draw_object(recipe: Recipe, draws: Draws, slot: int, view: int, corner: tuple[int, int]) -> Layer:
    """Flips, stamp (never the empty one; that of the first view in both), colour, size and place."""
    flips, stamp, saturation, value = draws.words(Purpose.OBJECT, 1, slot, view)
    hue, size, left, top = draws.words(Purpose.OBJECT, 2, slot, view)
    layer = Layer(
        hue=below(hue, 255),
        saturation=int(F(uniform(saturation, 0.3, 1.0) * F(255))),
        value=int(F(uniform(value, 0.5, 1.0) * F(255))),
        stamp=1 + below(stamp, 511) if recipe.stamp else 0b000010000,
        flips=int(flips) & 7 if recipe.flips else 0,
        side=recipe.size, left=0, top=0,
    )  # fmt: skip
    if recipe.views > 1:
        first = draws.words(Purpose.OBJECT, 1, slot, 0)[1]
        layer.stamp = turned(1 + below(first, 511) if recipe.stamp else 0b000010000, layer.flips)
    if recipe.objects is not None:
        layer.side, layer.left, layer.top = place_of(recipe, (hue, size, left, top), corner)
    return layer


def fixed_point(m: Floats | list[np.float32]) -> tuple[np.float32, np.float32]:
    """Cramer's rule on (I - A) x = b."""
    a, b, e, c, d, f = m
    p, q = F(F(1) - a), F(F(1) - d)
    det = fma(p, q, -F(b * c))
    if not abs(det) > F(1e-6):
        return F(0), F(0)
    return F(fma(q, e, F(b * f)) / det), F(fma(p, f, F(c * e)) / det)


def bits(draws: Draws, purpose: Purpose, step: int, orbits: int, slot: int, view: int) -> Whole:
    """The 16 bits with which each orbit chooses its map at a step: a call serves eight steps of one orbit."""
    words = draws.words(purpose, np.arange(orbits, dtype=np.uint64) + np.uint64(step // 8 * orbits), slot, view)
    word = words[step % 8 // 2].astype(np.int64)
    bits: Whole = word >> 16 * (step % 2) & 0xFFFF
    return bits


def move(maps: Code, choice: Whole, u: Whole, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """One step of every orbit."""
    chosen = choice[u >> 13, u & 8191]
    a, b, e, c, d, f = np.array(maps, np.float32)[chosen].T
    return fma(a, x, fma(b, y, e)), fma(c, x, fma(d, y, f))


def scout(maps: Code, choice: Whole, draws: Draws, slot: int, view: int) -> tuple[list[np.float32], Floats]:
    """64 orbits from the maps' fixed points. After 128 steps of burn-in every step counts for the extent,
    and every 24th leaves its points as starts.

    Returns:
        The extent (smallest x, smallest y, largest x, largest y), and starts [2, 1024].
    """
    x, y = np.array([fixed_point(maps[i % len(maps)]) for i in range(SCOUTS)], np.float32).T
    seen, starts = [], []
    for step in range(SCOUT_STEPS):
        x, y = move(maps, choice, bits(draws, Purpose.SCOUT, step, SCOUTS, slot, view), x, y)
        if step >= BURN_IN:
            seen.append((x, y))
            if (step - BURN_IN + 1) % SPACING == 0:
                starts.append((x, y))
    every = np.array(seen)
    extent = [*every.min(axis=(0, 2)), *every.max(axis=(0, 2))]
    return extent, np.concatenate(starts, axis=1)


def axis(
    low: np.float32, high: np.float32, shift: np.float32, scale: np.float32, cells: int, flip: bool
) -> tuple[np.float32, np.float32]:
    """The window on one axis, as scale and offset to grid lines: line 1 is pixel 0, or the last if flipped."""
    extent = F(high - low)
    span = F(extent * scale)
    if not span > 0:
        span = F(1)
    centre = fma(extent, shift, F(F(low + high) * F(0.5)))
    per_unit = F(F(cells - 1) / span)
    start = fma(span, F(-0.5), centre)
    offset = fma(-start, per_unit, F(-0.5))
    return (-per_unit, F(F(cells) - offset)) if flip else (per_unit, F(offset + F(1)))


def window(
    recipe: Recipe, extent: Sequence[np.float32], flips: int, draws: Draws, slot: int, view: int
) -> tuple[np.float32, ...]:
    """Centre moved by U(-shift, shift) extents, extent multiplied by U(scale), per axis."""
    w = draws.words(Purpose.OBJECT, 0, slot, view)
    shift, scale, cells = recipe.window_shift, recipe.window_scale, recipe.canvas
    along_x = axis(extent[0], extent[2], uniform(w[0], -shift, shift), uniform(w[2], *scale), cells, bool(flips & 2))
    along_y = axis(extent[1], extent[3], uniform(w[1], -shift, shift), uniform(w[3], *scale), cells, bool(flips & 4))
    return *along_x, *along_y


def histogram(
    recipe: Recipe, maps: Code, choice: Whole, starts: Floats, place: Sequence[np.float32], flips: int, draws: Draws,
    slot: int, view: int,
) -> Whole:  # fmt: skip
    """Points per cell, int64 [canvas + 2, canvas + 2]; the outermost cells are a halo of one pixel.

    Point i is step i // 1024 of orbit i % 1024. Orbit o + 512 has the random numbers of orbit o, but those of
    every four steps in the order 1, 3, 0, 2. x runs along rows (down), unless transposed.
    """
    side = recipe.canvas + 2
    counts = np.zeros((side, side), np.int64)
    x, y = starts
    for first in range(0, recipe.points, ORBITS):
        step = first // ORBITS
        other = step - step % 4 + (1, 3, 0, 2)[step % 4]
        u = [bits(draws, Purpose.ORBIT, k, ORBITS // 2, slot, view) for k in (step, other)]
        x, y = move(maps, choice, np.concatenate(u), x, y)
        along_x = np.rint(fma(x, place[0], place[1]))[: recipe.points - first]
        along_y = np.rint(fma(y, place[2], place[3]))[: recipe.points - first]
        inside = (along_x >= 0) & (along_x < side) & (along_y >= 0) & (along_y < side)
        cells = [along[inside].astype(np.int64) for along in (along_x, along_y)]
        np.add.at(counts, tuple(reversed(cells) if flips & 1 else cells), 1)
    return counts


def densities(counts: Whole, stamp: int) -> Whole:
    """Densities int64 [canvas, canvas] in 0..255: every point marks the cells (i, j) around it whose bit
    3 i + j of `stamp` is set, so a pixel gathers from the cells opposite.

    The largest count becomes 255 and others 255 count / largest, rounded up, by a product with the
    largest's rounded-down reciprocal in 2^-24.
    """
    canvas = len(counts) - 2
    total = np.zeros((canvas, canvas), np.int64)
    for i in range(3):
        for j in range(3):
            if stamp >> (3 * i + j) & 1:
                total += counts[i : i + canvas, j : j + canvas]
    largest = int(total.max())
    if largest == 0:
        return total
    return -(-total * (255 * 2**24 // largest) // 2**24)
