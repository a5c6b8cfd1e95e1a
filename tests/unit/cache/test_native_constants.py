"""The numbers that neuro.cache shares with the native library are the same on both sides."""

from __future__ import annotations

from neuro import native
from neuro.cache import AUTHORIZED_OK, BODILESS, NEEDS_PYTHON, Outcome
from neuro.cache.key import KEY_BYTES_MAX
from neuro.cache.messages import TIME_MAX_S


def test_object_flags_and_bounds_are_those_of_the_slab() -> None:
    assert native.NEEDS_PYTHON == NEEDS_PYTHON
    assert native.AUTHORIZED_OK == AUTHORIZED_OK
    assert native.BODILESS == BODILESS
    assert native.KEY_BYTES_MAX == KEY_BYTES_MAX
    assert native.TIME_NEVER == TIME_MAX_S + 1


def test_outcomes_are_those_of_the_engine() -> None:
    for outcome in Outcome:
        assert getattr(native, f"OUTCOME_{outcome.name}") == outcome
