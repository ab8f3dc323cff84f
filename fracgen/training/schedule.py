"""The one-cycle learning rate (Smith and Topin, 2017): up for a while, down for the rest, along half cosines."""

from __future__ import annotations

import math

FIRST = 1 / 25
"""First rate, as a share of the peak; this and the next are the usual choice (torch's OneCycleLR)."""
LAST = FIRST / 1e4


def one_cycle(step: int, steps: int, warm_up: float) -> float:
    """The learning rate of a step as a share of its peak: a pure function, so nothing needs to be restored.

    Args:
        step: 0 to steps - 1; later steps get the last rate.
        steps: of the whole run.
        warm_up: share of the steps in which the rate rises.
    """
    top = warm_up * steps - 1
    if step < top:
        return _between(FIRST, 1.0, step / top)
    top = max(top, 0.0)
    return _between(1.0, LAST, min(1.0, (step - top) / max(1.0, steps - 1 - top)))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
