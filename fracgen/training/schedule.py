"""Learning rates as a share of their peak: pure functions of the step, so nothing needs to be restored.

One-cycle is Smith and Topin's (2017): a half cosine up, then a half cosine down.
"""

from __future__ import annotations

import math

FIRST = 1 / 25
"""First rate, as a share of the peak; this and the next are the usual choice (torch's OneCycleLR)."""
LAST = FIRST / 1e4
COOL_DOWN = 0.2
"""Share of the steps in which a trapezoid comes down."""


def rate(schedule: str, step: int, steps: int, warm_up: float) -> float:
    """The learning rate of a step as a share of its peak.

    Args:
        schedule: one-cycle, cosine or trapezoid.
        step: 0 to steps - 1; later steps get the last rate.
        steps: of the whole run.
        warm_up: share of the steps in which the rate rises.
    """
    if schedule == "one-cycle":
        return one_cycle(step, steps, warm_up)
    rising = warm_up * steps
    if step + 1 < rising:
        return (step + 1) / rising
    if schedule == "cosine":
        return _between(1.0, 0.0, min(1.0, max(0.0, step - rising) / max(1.0, steps - rising)))
    return min(1.0, max(0.0, steps - step) / max(1.0, COOL_DOWN * steps))


def one_cycle(step: int, steps: int, warm_up: float) -> float:
    """The one-cycle rate, with the arguments of `rate`."""
    top = warm_up * steps - 1
    if step < top:
        return _between(FIRST, 1.0, step / top)
    top = max(top, 0.0)
    return _between(1.0, LAST, min(1.0, (step - top) / max(1.0, steps - 1 - top)))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
