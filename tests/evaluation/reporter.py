"""A reporter of a grid that shows nothing."""

from __future__ import annotations

from typing import Any


class Silent:
    """Remembers how the cells ended."""

    def __init__(self) -> None:
        self.ends: list[str] = []

    def started(self, cell: Any) -> None:
        """Nothing to do."""

    def ended(self, cell: Any, status: Any) -> None:
        """One more."""
        self.ends.append(status)
