"""Draw a Mandelbulb variation: rays marched to its surface, shaded, and marched on to the lamp."""

# mypy: ignore-errors
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fracgen.formulas.mandelbulb.constants import (
    AMBIENT,
    DIFFUSE,
    GRADIENT_STEP,
    LIT,
    PIXEL_CONE,
    TILE,
    TILE_CONE,
    VIEW_FIELDS,
    WIDER,
    ViewField,
)
from fracgen.formulas.mandelbulb.lanes import RAYS
from fracgen.formulas.mandelbulb.orbit import AT, DISTANCE, MARCH_ROWS, P_DR, P_R2, P_X, POINT_ROWS, estimate, told
from fracgen.formulas.mandelbulb.rays import (
    Samples,
    aim,
    cone_way,
    inverse_root,
    lamp_way,
    march_all,
    march_samples,
    middle,
    reach_of,
    shadow,
    share,
    to_lamp,
)  # fmt: skip
from fracgen.formulas.mandelbulb.view import view_stage
from fracgen.rendering.cpu.arithmetic import fma
from fracgen.rendering.cpu.jit import inner, stage
from fracgen.rendering.cpu.stages import TextureStages
from fracgen.rendering.records import ObjectField

_F = np.float32
_COLOURS = int(ViewField.COLOURS)
_GONE = _F(-1.0)
BATCH = 4096
"""Pixels taken through marching, shading and shadow together: few idle lanes, and all of them in cache."""
LEVELS = 1023
"""Shares of the three colours are kept in so many steps."""


class Space(NamedTuple):
    """Work space of `draw`."""

    source: np.ndarray
    """float32 [8, BATCH], rays: origin, direction, place to begin, place to stop."""
    number: np.ndarray
    """int64 [BATCH], of tiles or pixels."""
    found: np.ndarray
    """float32 [BATCH], places of hits, or -1."""
    samples: Samples
    light: np.ndarray
    """float32 [BATCH], light of the lamp by orientation, the mean of a pixel's rows."""
    lamp: np.ndarray
    """float32 [BATCH], light of the lamp where a pixel sees it."""
    lines: np.ndarray
    """int64 [2, RAYS]: columns and rows of `samples` that are shaded together."""
    owner: np.ndarray
    """int64 [BATCH]: column of `samples` that a ray to the lamp is of."""
    rays: np.ndarray
    """float32 [MARCH_ROWS, RAYS]."""
    lanes: np.ndarray
    """float32 [POINT_ROWS, RAYS]."""
    gradient: np.ndarray
    """float32 [3, RAYS]."""
    starts: np.ndarray
    """float32 [tiles], where rays of a tile may begin, or -1."""


@inner
def _tiles(parameters):
    """Tiles along a side of a canvas."""
    return (parameters.canvas + TILE - 1) // TILE


@inner
def march_tiles(parameters, view, radius, power, rule, space):
    """Where the rays of each tile may begin, to `space.starts`: a cone that holds them goes as far as it has room."""
    side = _tiles(parameters)
    spread = _F(TILE_CONE) * (_F(parameters.samples) * parameters.ray_step)
    wide = fma(spread, _F(WIDER), radius)
    space.starts[:] = _GONE
    count = 0
    for tile in range(side * side):
        column = middle(parameters, tile % side * TILE, TILE)
        row = middle(parameters, tile // side * TILE, TILE)
        if aim(parameters, view, wide, column, row, space.source, count):
            space.number[count] = tile
            count += 1
        if count == BATCH or (tile == side * side - 1 and count > 0):
            march_all(space.source, count, power, rule, cone_way(spread, _F(1.0)), space.rays, space.found)
            for k in range(count):
                space.starts[space.number[k]] = space.found[k]
            count = 0


@inner
def differentiate(lanes, power, rule, gradient):
    """Differences of the distance from that at points, along each axis, to gradient [3, RAYS].

    A difference of this width spans several bands of orbits that escape after equally many steps. The
    exact gradient of one band points elsewhere, and the published pictures show the former.
    """
    here = np.empty(RAYS, np.float32)
    kept = np.empty(RAYS, np.float32)
    told(lanes)
    here[:] = lanes[DISTANCE]
    for axis in range(3):
        row = P_X + axis
        kept[:] = lanes[row]
        lanes[row] += _F(GRADIENT_STEP)
        estimate(lanes, power, rule)
        gradient[axis] = lanes[DISTANCE] - here
        lanes[row] = kept


@inner
def first_row(samples: Samples, slot):
    """The first row of a pixel's rays with a hit."""
    row = 0
    while samples.shown[row, slot] == 0:
        row += 1
    return row


@inner
def orient(lanes, gradient, lane):
    """Share of the lamp's light by the surface's orientation. The distance falls outwards in the band of a
    hit, mostly: the published sign, which lights what faces the lamp."""
    x, y, z = gradient[0, lane], gradient[1, lane], gradient[2, lane]
    lx, ly, lz = to_lamp(lanes, lane)
    part = -fma(lx, x, fma(ly, y, lz * z))
    square = fma(x, x, fma(y, y, z * z)) * fma(lx, lx, fma(ly, ly, lz * lz))
    return part * inverse_root(square) if part > _F(0.0) and square > _F(0.0) else _F(0.0)


@inner
def _shade_lines(n, power, rule, space):
    """Add the light of the first n of `space.lines` to that of their pixels."""
    samples, lines, lanes = space.samples, space.lines, space.lanes
    for i in range(n):
        slot, row = lines[0, i], lines[1, i]
        for k in range(3):
            lanes[P_X + k, i] = samples.points[row, k, slot]
        lanes[P_R2, i], lanes[P_DR, i] = samples.ends[row, 0, slot], samples.ends[row, 1, slot]
    differentiate(lanes, power, rule, space.gradient)
    for i in range(n):
        space.light[lines[0, i]] += orient(lanes, space.gradient, i)


@inner
def shade(count, power, rule, space):
    """Light by orientation of pixels 0 .. count - 1 of `space.samples`: that of the first hit of each row."""
    shown = space.samples.shown
    rows, n = len(shown), 0
    for slot in range(count):
        space.light[slot] = _F(0.0)
        for row in range(rows):
            if shown[row, slot]:
                space.lines[0, n], space.lines[1, n] = slot, row
                n += 1
                if n == RAYS:
                    _shade_lines(n, power, rule, space)
                    n = 0
    if n > 0:
        _shade_lines(n, power, rule, space)
    for slot in range(count):
        of = _F(0.0)
        for row in range(rows):
            of += _F(shown[row, slot])
        if of > _F(0.0):
            space.light[slot] /= of


@inner
def illuminate(count, radius, power, rule, space):
    """Light of the lamp on pixels 0 .. count - 1; their cones are no more needed."""
    samples = space.samples
    rays = 0
    for slot in range(count):
        space.lamp[slot] = _F(0.0)
        if samples.hits[slot] > 0:
            shadow(samples.points[first_row(samples, slot)], slot, radius, space.source, rays)
            space.owner[rays] = slot
            rays += 1
    march_all(space.source, rays, power, rule, lamp_way(power), space.rays, space.found)
    for ray in range(rays):
        if space.found[ray] < _F(0.0):
            space.lamp[space.owner[ray]] = _F(LIT)


@inner
def _level(total, factor):
    return _F(np.int32(fma(total, factor, _F(0.5))))


@inner
def paint(each, view, samples: Samples, slot, bright, lamp, texel):
    """The colour of a pixel from the mean shares of its rays that hit, times coverage, and that."""
    hits = _F(samples.hits[slot])
    factor = _F(LEVELS) / hits
    one, two, three = (
        _level(samples.traps[0, slot], factor), _level(samples.traps[1, slot], factor),
        _level(samples.traps[2, slot], factor),
    )  # fmt: skip
    for k in range(3):
        mixed = fma(view[_COLOURS + k], one, fma(view[_COLOURS + 3 + k], two, view[_COLOURS + 6 + k] * three))
        light = share(fma(mixed * (_F(1.0) / _F(LEVELS)), bright, lamp))
        texel[k] = np.uint8(np.int32(fma(light, hits * (_F(255.0) / _F(each)), _F(0.5))))
    texel[3] = np.uint8((samples.hits[slot] * 255 + each // 2) // each)


@inner
def finish(
    parameters, view, radius, power, rule, count, space, texture
):
    """March the cones of a batch of pixels, their rays and those to the lamp, and paint what shows."""
    samples, each = space.samples, parameters.samples * parameters.samples
    spread = _F(PIXEL_CONE) * (_F(parameters.samples) * parameters.ray_step)
    march_all(space.source, count, power, rule, cone_way(spread, reach_of(power)), space.rays, space.found)
    march_samples(
        parameters, view, space.source, space.number, space.found, count, power, rule, space.rays, samples
    )  # fmt: skip
    shade(count, power, rule, space)
    illuminate(count, radius, power, rule, space)
    for slot in range(count):
        if samples.hits[slot] > 0:
            point = samples.points[first_row(samples, slot)]
            x, y, z = point[0, slot], point[1, slot], point[2, slot]
            bright = fma(space.light[slot], _F(DIFFUSE), _F(AMBIENT)) * fma(x, x, fma(y, y, z * z))
            paint(each, view, samples, slot, bright, space.lamp[slot], texture[space.number[slot]])


@inner
def make_space(parameters):
    """Work space for objects of a recipe."""
    side, s = _tiles(parameters), parameters.samples
    samples = Samples(
        np.empty(BATCH, np.int32), np.empty((s, BATCH), np.int32), np.empty((s, 3, BATCH), np.float32),
        np.empty((s, 2, BATCH), np.float32), np.empty((3, BATCH), np.float32),
    )  # fmt: skip
    return Space(
        np.empty((8, BATCH), np.float32), np.empty(BATCH, np.int64), np.empty(BATCH, np.float32), samples,
        np.empty(BATCH, np.float32), np.empty(BATCH, np.float32), np.empty((2, RAYS), np.int64),
        np.empty(BATCH, np.int64), np.empty((MARCH_ROWS, RAYS), np.float32), np.ones((POINT_ROWS, RAYS), np.float32),
        np.empty((3, RAYS), np.float32), np.empty(side * side, np.float32),
    )  # fmt: skip


@inner
def draw(parameters, view, radius, power, rule, space, texture):
    """A variation on a canvas.

    Args:
        parameters: `Parameters`.
        view: float32 [VIEW_FIELDS], see `parameters`.
        radius: float32, of the bounding sphere.
        power, rule: int32.
        space: of `make_space`.
        texture: uint8 [canvas^2, 4], written: red, green, blue (times coverage) and coverage.
    """
    canvas, tiles = parameters.canvas, _tiles(parameters)
    march_tiles(parameters, view, radius, power, rule, space)
    texture[:] = np.uint8(0)
    spread = _F(PIXEL_CONE) * (_F(parameters.samples) * parameters.ray_step)
    wide = fma(spread, _F(WIDER), radius)
    count = 0
    for pixel in range(canvas * canvas):
        row, column = pixel // canvas, pixel % canvas
        start = space.starts[row // TILE * tiles + column // TILE]
        if start >= _F(0.0) and aim(
            parameters, view, wide, middle(parameters, column, 1), middle(parameters, row, 1), space.source, count
        ):  # fmt: skip
            if space.source[AT, count] < start:
                space.source[AT, count] = start
            space.number[count] = pixel
            count += 1
        if count == BATCH or (pixel == canvas * canvas - 1 and count > 0):
            finish(parameters, view, radius, power, rule, count, space, texture)
            count = 0


@stage
def surface_stage(parameters, codes, space, first, last):
    """Draw every object of samples first .. last - 1: reads `space.objects` and `views`, writes `textures`.

    Args:
        parameters: `Parameters`.
        codes: `VariationCodes`.
        space: `Space` of the records, as `view_stage` left it.
    """
    work = make_space(parameters)
    for b in range(last - first):
        for view in range(parameters.views):
            for slot in range(parameters.max_objects):
                code = space.objects[b, view, slot, ObjectField.CODE]
                if code >= 0:
                    draw(
                        parameters, space.shapes.views[b, view, slot], codes.radii[code], codes.powers[code],
                        codes.rules[code], work, space.shapes.textures[b, view, slot],
                    )  # fmt: skip


class MandelbulbStages(TextureStages):
    """View and surface draw the objects; `rendering.cpu.stages` has the stages that follow."""

    view_fields = VIEW_FIELDS

    def draw(self, samples, space, first, last):
        """See `TextureStages.draw`."""
        return {
            "view": lambda: view_stage(self.parameters, self.codes, samples, space, first, last),
            "surface": lambda: surface_stage(self.parameters, self.codes, space, first, last),
        }
