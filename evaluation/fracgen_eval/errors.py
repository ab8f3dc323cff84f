"""The error of this package, one line with the value, the limit and the remedy; and the commonest check."""

from __future__ import annotations

from collections.abc import Collection

from fracgen.support.decode import shown


class EvaluationError(ValueError):
    """The data, the weights or the settings cannot be used; the message says why and what would help."""


def one_of(name: str, names: Collection[str], what: str) -> str:
    """The name itself, provided that it is one of `names`.

    Args:
        name: what the user wrote.
        names: what can be chosen.
        what: what is chosen, for the message.

    Raises:
        EvaluationError: it is none of them; the message lists them all.

    >>> one_of("padim", ("padim", "patchcore"), "method")
    'padim'
    >>> one_of("padin", ("padim", "patchcore"), "method")
    Traceback (most recent call last):
    fracgen_eval.errors.EvaluationError: unknown method 'padin': use one of padim, patchcore
    """
    if name not in names:
        raise EvaluationError(f"unknown {what} {shown(name)}: use one of {', '.join(names)}")
    return name
