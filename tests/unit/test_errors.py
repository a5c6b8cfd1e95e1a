"""The tree of errors: codes, facts, and the drawing of it."""

from __future__ import annotations

import inspect
import re

import pytest

from neuro import errors
from neuro.checks import InvariantError, check
from neuro.clock import ManualClock, SystemClock

TYPES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.NeuroCacheError)
]


def test_every_code_is_unique() -> None:
    codes = [error.code for error in TYPES]
    assert len(set(codes)) == len(codes)


def test_the_drawing_names_every_type_with_its_code_and_facts() -> None:
    drawn = {
        match[1]: (match[2], match[3].strip())
        for match in re.finditer(r"[├└]── (\w+) +(\w+)(.*)", errors.__doc__ or "")
    }
    defined = {
        error.__name__: (error.code, ", ".join(error.__annotations__))
        for error in TYPES
        if error is not errors.NeuroCacheError
    }
    assert drawn == defined


def test_facts_become_attributes_and_unknown_ones_are_refused() -> None:
    error = errors.ObjectTooLarge("too much", requested_bytes=5, bytes_max=4)
    assert (error.requested_bytes, error.bytes_max, str(error)) == (5, 4, "too much")
    assert errors.ObjectTooLarge().requested_bytes == 0
    with pytest.raises(TypeError):
        errors.ObjectTooLarge("x", colour="red")


def test_a_check_raises_what_nobody_expects() -> None:
    check(True, "fine")
    with pytest.raises(InvariantError, match="broken"):
        check(False, "broken")
    assert not issubclass(InvariantError, errors.NeuroCacheError)


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(wall_ms=5_999)
    clock.advance_ms(1)
    assert (clock.monotonic_ms(), clock.wall_s(), clock.wall_ms()) == (1, 6, 6_000)
    clock.jump_wall_ms(1_000)
    assert (clock.monotonic_ms(), clock.wall_s()) == (1, 1)
    with pytest.raises(ValueError, match="back"):
        clock.advance_ms(-1)
    assert SystemClock().wall_ms() // 1000 - SystemClock().wall_s() in (-1, 0)
