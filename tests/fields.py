"""Values by name for functions that a table of cases calls: each function checks what it gets."""

from __future__ import annotations

from typing import Any, TypeAlias

Fields: TypeAlias = dict[str, Any]
