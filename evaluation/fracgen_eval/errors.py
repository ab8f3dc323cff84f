"""The error of this package: one line for the user with the value, the limit and the remedy."""

from __future__ import annotations


class EvaluationError(ValueError):
    """The data, the weights or the settings cannot be used; the message says why and what would help."""
