"""What the stages hand to one another, by name: the fields of records, and the arrays of the CPU stages.

A *scene* is what one image (one view of a sample) is: how many objects, the crop, the background, the
blur. An *object* is one attractor in it: its code, colour, stamp, flips and place. Both are rows of int32;
Python and CUDA call their fields by the same names. Here these are named tuples: Numba before 0.68 takes no
member of an enumeration as an index.
"""

from __future__ import annotations

from typing import NamedTuple

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
