"""Invariants that hold in every build.

Owns `check`. It is for what can only be false through a bug of ours: never for input, which has
typed errors in `neuro.errors`. `assert` is not used for this because `python -O` removes it.
"""

from __future__ import annotations


class InvariantError(AssertionError):
    """An invariant is broken. Not a NeuroCacheError on purpose: nobody may catch it as expected."""


def check(condition: object, message: str) -> None:
    """Raises InvariantError with `message` unless the condition is true."""
    if not condition:
        raise InvariantError(message)
