"""Detection by kind and strength of the defects that `fracgen eval data defects` drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fracgen_eval.datasets.base import GOOD
from fracgen_eval.datasets.defects import NOTE, kind_and_strength


@dataclass(frozen=True)
class Strengths:
    """A table: how many pictures with defects were flagged, by kind and strength."""

    columns: tuple[str, ...]
    """Strengths, rising."""
    rows: tuple[tuple[str, tuple[str, ...], str], ...]
    """Kind, `3 of 4` for each strength, and the least strength from which on half of them are flagged."""
    good: str
    """`1 of 20` good pictures flagged."""

    @classmethod
    def of(cls, judged: Sequence[tuple[Path, bool | None]]) -> Strengths | None:
        """From pictures and decisions; None where they are not of such a dataset, or not decided on."""
        counts: dict[tuple[str, float], list[bool]] = {}
        for path, flagged in judged:
            folder = path.resolve().parent
            if flagged is None or not (folder.parents[1] / NOTE).is_file():
                return None
            counts.setdefault(kind_and_strength(folder.name), []).append(flagged)
        good = counts.pop((GOOD, 0.0), [])
        if not counts:
            return None
        strengths = sorted({strength for _, strength in counts})
        rows = []
        for kind in sorted({kind for kind, _ in counts}):
            found = [counts.get((kind, strength), []) for strength in strengths]
            missed = [n for n, flags in enumerate(found) if 2 * sum(flags) < len(flags)]
            first = strengths[missed[-1] + 1 :] if missed else strengths
            rows.append((kind, tuple(map(_of, found)), f"{first[0]:g}" if first else "none of these"))
        return cls(tuple(f"{s:g}" for s in strengths), tuple(rows), _of(good))


def _of(flags: Sequence[bool]) -> str:
    return f"{sum(flags)} of {len(flags)}" if flags else "none"
