"""A mean over seeds, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds."""

    mean: float
    variance: float | None
    """Of the mean; None for one seed."""
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Of one value a seed."""
        n, mean = len(values), sum(values) / len(values)
        spread = None if n < 2 else sum((value - mean) ** 2 for value in values) / (n - 1) / n
        return cls(mean, spread, n)

    @property
    def half(self) -> float | None:
        """Half of the 95 % interval of Student's t; None for one seed."""
        return None if self.variance is None else student(self.seeds - 1) * math.sqrt(self.variance)

    def __str__(self) -> str:
        half = self.half
        if half is None:
            return f"{self.mean:.1f} (1 seed, no interval)"
        return f"{self.mean:.1f} ± {half:.1f} ({self.seeds} seeds)"


def difference(one: Estimate, other: Estimate) -> str:
    """one - other, with Welch's interval, and whether it excludes 0."""
    gap = one.mean - other.mean
    if one.variance is None or other.variance is None:
        return f"{gap:+.1f} (no interval)"
    total = one.variance + other.variance
    if total == 0:
        return f"{gap:+.1f} ± 0.0"
    freedom = total**2 / sum(e.variance**2 / (e.seeds - 1) for e in (one, other) if e.variance is not None)
    half = student(freedom) * math.sqrt(total)
    return f"{gap:+.1f} ± {half:.1f}" + ("" if abs(gap) > half else ", may be 0")


def student(freedom: float) -> float:
    """The 97.5 % point of Student's t."""
    from scipy.stats import t

    return float(t.ppf(0.975, freedom))
