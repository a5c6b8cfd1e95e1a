"""The simulated monotonic clock of one process: drifts, jumps forward, freezes.

Owns the map between true time and local time. Never goes back.
"""

from __future__ import annotations

RATE_TRUE = 1_000
"""Local milliseconds per thousand true ones."""


class Clock:
    """Local time as a piecewise linear function of true time."""

    def __init__(self, true_now: int, local_now: int, rate: int = RATE_TRUE) -> None:
        self._true = true_now
        self._local = local_now
        self.rate = rate

    def read(self, true_now: int) -> int:
        """Local time at that true time."""
        return self._local + (true_now - self._true) * self.rate // RATE_TRUE

    def true_time_of(self, local: int, true_now: int) -> int | None:
        """When the clock will show `local`; None while it is frozen before that."""
        missing = local - self.read(true_now)
        if missing <= 0:
            return true_now
        if self.rate == 0:
            return None
        return self._true - (-(local - self._local) * RATE_TRUE // self.rate)

    def set_rate(self, rate: int, true_now: int) -> None:
        """Changes speed from now on; 0 freezes."""
        self._local = self.read(true_now)
        self._true = true_now
        self.rate = rate

    def jump(self, forward_ms: int, true_now: int) -> None:
        """Skips ahead."""
        self._local = self.read(true_now) + forward_ms
        self._true = true_now
