"""A reporter of a grid that shows nothing."""

from __future__ import annotations

from fracgen_eval.grid.cell import Cell
from fracgen_eval.grid.result import CellResult


class Silent:
    """Remembers how the cells ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def started(self, cell: Cell) -> None:
        """Nothing to do."""

    def ended(self, cell: Cell, result: CellResult | None) -> None:
        """One more."""
        self.ends.append("elsewhere" if result is None else result.status)
