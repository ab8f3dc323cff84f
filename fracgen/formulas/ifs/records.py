"""The numbers of attractors that both renderers share, and what their CPU stages hand on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ORBITS = 1024
"""Orbits that draw an attractor. Point i is step i // ORBITS of orbit i % ORBITS."""
ROUND_STEPS = 56
"""Steps between looks at the histogram: where the next round (57,344 points, or those that are left) could carry a
16-bit counter over, because some cell and the round hold more than 65,535 points, counters are emptied into others."""
PAIR_ORDER = (1, 3, 0, 2)
"""Orbits o and o + ORBITS / 2 share their random numbers, so that a look-up of a map serves two points: of every
four maps that the first takes in order, the other takes this one next. No two maps follow each other in both."""

SCOUTS = 64
"""Orbits that find the extent and hand their points to the drawing orbits as starts."""
SCOUT_STEPS = 512
SCOUT_BURN_IN = 128
SCOUT_STRIDE = (SCOUT_STEPS - SCOUT_BURN_IN) * SCOUTS // ORBITS
"""Every 24th step after the burn-in, all 64 points become starts: 16 * 64 = ORBITS."""

JITTER_TRIES = 4
TABLE_ROWS = 7
"""A table is float32 [7, 8]: a, b, c, d, e, f of x' = a x + b y + e, y' = c x + d y + f for each of
eight maps, then the choice table of `formulas.ifs.code` as int32 bits."""
DENSITIES = 256
"""Colours of an object, one for each density."""

CONSTANTS = {
    "ORBITS": ORBITS, "ROUND_STEPS": ROUND_STEPS, "SCOUTS": SCOUTS, "SCOUT_STEPS": SCOUT_STEPS,
    "SCOUT_BURN_IN": SCOUT_BURN_IN, "SCOUT_STRIDE": SCOUT_STRIDE, "JITTER_TRIES": JITTER_TRIES, "DENSITIES": DENSITIES,
}  # fmt: skip
"""What the kernels know by the same names."""


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
