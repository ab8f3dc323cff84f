"""What the stages hand to one another: the fields of records, by name, in Python and CUDA alike.

A *scene* is what one image (one view of a sample) is: how many objects, the crop, the background, the
blur. An *object* is one attractor in it: its code, colour, stamp, flips and place. Both are rows of int32.
"""

from __future__ import annotations

from enum import IntEnum


class ObjectField(IntEnum):
    """Columns of an object's record, int32 [OBJECT_FIELDS]; `OBJECT_HUE` and so on in CUDA."""

    HUE = 0
    """Offset of the hue, in [0, 255)."""
    SATURATION = 1
    """0..255."""
    VALUE = 2
    """0..255."""
    STAMP = 3
    """Bit 3 i + j is cell (i, j) of the 3x3 stamp."""
    FLIPS = 4
    """1 transposes, 2 flips rows, 4 flips columns."""
    SIDE = 5
    """Side in pixels, where objects are placed."""
    LEFT = 6
    TOP = 7
    CODE = 8
    """Number of its code in the bank; -1 where the scene has fewer objects."""


OBJECT_FIELDS = 12
"""Numbers a record: a multiple of 16 bytes."""


class SceneField(IntEnum):
    """Columns of a scene's record, int32 [SCENE_FIELDS]; `SCENE_OBJECTS` and so on in CUDA."""

    OBJECTS = 0
    """Number of objects."""
    CROP_LEFT = 1
    """In pixels of the canvas."""
    CROP_TOP = 2
    BLUR = 3
    """The 3x3 blur's outer weight in 256ths, 0 for none."""
    HUE_SCALE = 4
    """The background's colours: scales have 8 fractional bits, shifts 20."""
    HUE_SHIFT = 5
    SATURATION_SCALE = 6
    SATURATION_SHIFT = 7
    VALUE_SCALE = 8
    VALUE_SHIFT = 9
    CORNERS = 10
    """The first of the noise's four corners, with 12 fractional bits."""
    AMPLITUDES = 14
    """The first of the noise's amplitudes, one for each level, with 16 fractional bits."""


SCENE_FIELDS = 24

TABLE_ROWS = 7
"""A table is float32 [7, 8]: a, b, c, d, e, f of x' = a x + b y + e, y' = c x + d y + f for each of
eight maps, then the choice table of `rendering.cpu.ifs.code` as int32 bits."""
