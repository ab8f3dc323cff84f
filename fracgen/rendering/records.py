"""What the stages hand to one another, by name: the fields of records, and the arrays of the CPU stages.

A *scene* is what one image (one view of a sample) is: how many objects, the crop, the background, the
blur. An *object* is one attractor in it: its code, colour, stamp, flips and place. Both are rows of int32;
Python and CUDA call their fields by the same names. Here these are named tuples: Numba before 0.68 takes no
member of an enumeration as an index.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class _ObjectFields(NamedTuple):
    """Columns of an object's record, int32 [OBJECT_FIELDS]; `OBJECT_HUE` and so on in CUDA."""

    HUE: int = 0
    """Offset of the hue, in [0, 255)."""
    SATURATION: int = 1
    """0..255."""
    VALUE: int = 2
    """0..255."""
    STAMP: int = 3
    """Bit 3 i + j is cell (i, j) of the 3x3 stamp."""
    FLIPS: int = 4
    """1 transposes, 2 flips rows, 4 flips columns."""
    SIDE: int = 5
    """Side in pixels, where objects are placed."""
    LEFT: int = 6
    """In pixels of the image, as is the next."""
    TOP: int = 7
    CODE: int = 8
    """Number of its code in the bank; -1 where the scene has fewer objects, or the image does not show this one."""


ObjectField = _ObjectFields()
OBJECT_FIELDS = 12
"""Numbers a record: a multiple of 16 bytes."""


class _SceneFields(NamedTuple):
    """Columns of a scene's record, int32 [SCENE_FIELDS]; `SCENE_OBJECTS` and so on in CUDA."""

    OBJECTS: int = 0
    """Number of objects."""
    CROP_LEFT: int = 1
    """In pixels of the canvas, or of the scene where objects are placed."""
    CROP_TOP: int = 2
    BLUR: int = 3
    """The 3x3 blur's outer weight in 256ths, 0 for none."""
    HUE_SCALE: int = 4
    """The background's colours: scales have 8 fractional bits, shifts 20."""
    HUE_SHIFT: int = 5
    SATURATION_SCALE: int = 6
    SATURATION_SHIFT: int = 7
    VALUE_SCALE: int = 8
    VALUE_SHIFT: int = 9
    CORNERS: int = 10
    """The first of the noise's four corners, in 2048ths from -2.25 on."""
    AMPLITUDES: int = 14
    """The first of the noise's amplitudes, one for each level: twice the largest displacement, in 32768ths."""


SceneField = _SceneFields()
SCENE_FIELDS = 24

PALETTE = 2816
"""Colours of a background: a noise value (`rendering.cpu.noise`) is 11,245 at most, and four share a colour."""
DENSITIES = 256
"""Colours of an object, one for each density."""

TABLE_ROWS = 7
"""A table is float32 [7, 8]: a, b, c, d, e, f of x' = a x + b y + e, y' = c x + d y + f for each of
eight maps, then the choice table of `rendering.cpu.ifs.code` as int32 bits."""


class Sample(NamedTuple):
    """What the random numbers of one sample depend on; `Sample` in CUDA. See `fracgen.draws`."""

    key0: np.uint32
    key1: np.uint32
    index: np.uint32  # type: ignore[assignment]  # tuples have a method of that name
    epoch: np.uint32
    stream: np.uint32


class Samples(NamedTuple):
    """The samples of a call of `render`."""

    key0: np.uint32
    key1: np.uint32
    indices: NDArray[np.uint32]
    """uint32 [B]."""
    epoch: np.uint32
    stream: np.uint32


class Space(NamedTuple):
    """What passes between the CPU stages for n samples; each array is written by one stage and read by later ones."""

    scenes: NDArray[np.int32]
    """int32 [n, views, SCENE_FIELDS]."""
    objects: NDArray[np.int32]
    """int32 [n, views, max_objects, OBJECT_FIELDS]."""
    noise: NDArray[np.uint16]
    """uint16 [n, views, size, 2^levels]."""
    shapes: Any
    """What the formula's own stages hand on: `Attractors`, or `rendering.variations.Solids`."""


class Attractors(NamedTuple):
    """The attractors of n samples."""

    tables: NDArray[np.float32]
    """float32 [n, views, max_objects, TABLE_ROWS, lanes]."""
    starts: NDArray[np.float32]
    """float32 [n, views, max_objects, 2, ORBITS]: points on the attractor; drawing uses them up."""
    windows: NDArray[np.float32]
    """float32 [n, views, max_objects, 4]: scale and offset to grid cells, x then y."""
    density: NDArray[np.uint8]
    """uint8 [n, views, max_objects, canvas^2]."""


class Codes(NamedTuple):
    """A bank as the stages read it: K codes; `Bank` in CUDA."""

    maps: NDArray[np.float32]
    """float32 [K, 8, 6]: a, b, e, c, d, f of each map."""
    sizes: NDArray[np.uint8]
    """uint8 [K]."""
    probabilities: NDArray[np.float32]
    """float32 [K, 8] of choosing a map, or [0, 8]: |det A| then; a null pointer in CUDA."""
    classes: int
    per_class: int
