"""Time, as something that is passed in.

Owns the Clock protocol and its two implementations. Cores take integers of monotonic milliseconds
and, where an RFC needs a date, wall seconds; they never read a clock themselves.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back; the zero point means nothing."""
        ...

    def wall_s(self) -> int:
        """Whole Unix seconds, rounded down; may jump."""
        ...

    def wall_ms(self) -> int:
        """Unix milliseconds, rounded down; may jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def monotonic_ms(self) -> int:
        """Milliseconds of CLOCK_MONOTONIC."""
        return time.monotonic_ns() // 1_000_000

    def wall_s(self) -> int:
        """Unix seconds."""
        return time.time_ns() // 1_000_000_000

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that moves when told to; for tests and simulation."""

    __slots__ = ("_monotonic_ms", "_wall_ms")

    def __init__(self, *, monotonic_ms: int = 0, wall_ms: int = 1_700_000_000_000) -> None:
        self._monotonic_ms = monotonic_ms
        self._wall_ms = wall_ms

    def monotonic_ms(self) -> int:
        """Milliseconds since the start that was given."""
        return self._monotonic_ms

    def wall_s(self) -> int:
        """Unix seconds."""
        return self._wall_ms // 1_000

    def wall_ms(self) -> int:
        """Unix milliseconds."""
        return self._wall_ms

    def advance_ms(self, duration_ms: int) -> None:
        """Moves both clocks on.

        Raises:
            ValueError: the duration is negative; time does not go back.
        """
        if duration_ms < 0:
            raise ValueError("a clock does not go back")
        self._monotonic_ms += duration_ms
        self._wall_ms += duration_ms

    def jump_wall_ms(self, wall_ms: int) -> None:
        """Sets the wall clock alone, as an operator or NTP does."""
        self._wall_ms = wall_ms
