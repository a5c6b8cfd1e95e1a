"""Makes the machine's time pass: decides when a member proposes a TICK, and for how long.

Owns that decision. Never reads a clock. A tick names the machine's time from which it was measured
and is void when that has moved meanwhile: two members that both believe to lead, or a repeated
proposal, can not make time run twice as fast, and so no lease expires early.
"""

from __future__ import annotations

from typing import Final

from neuro.cluster.machine.commands import Op, make_payload
from neuro.cluster.machine.limits import TICK_ELAPSED_MS_MAX

LEASE_TICK_MS: Final = 500
"""How late a lease may expire in quiet times."""
SESSION_TICK_MS: Final = 30_000
"""Sessions live for half an hour; a log should not grow for them."""


class Ticker:
    """One for each member; times are monotonic milliseconds of that member."""

    __slots__ = ("_measured_from_ms", "_proposed_at_ms", "_time_ms")

    def __init__(self) -> None:
        self._time_ms: int | None = None
        self._measured_from_ms = 0
        self._proposed_at_ms: int | None = None

    def stop(self) -> None:
        """This member does not lead: what it has measured is void."""
        self._time_ms = None

    def observe(self, time_ms: int, now_ms: int) -> bool:
        """Takes note of the machine's time; whether it has moved, and is measured from now on.

        What passes between a TICK's effect and this call is not counted: late, never early.
        """
        if time_ms == self._time_ms:
            return False
        self._time_ms, self._measured_from_ms, self._proposed_at_ms = time_ms, now_ms, None
        return True

    def poll(self, time_ms: int, lease_count: int, session_count: int, now_ms: int) -> bytes | None:
        """The payload to propose now, or None.

        Args:
            time_ms: The machine's time, as this member has applied it.
            lease_count: Leases that exist.
            session_count: Sessions that exist.
            now_ms: This member's monotonic clock.
        """
        if self.observe(time_ms, now_ms):
            return None
        if not lease_count and not session_count:
            self._measured_from_ms = now_ms
            return None
        interval_ms = LEASE_TICK_MS if lease_count else SESSION_TICK_MS
        since_ms = self._measured_from_ms
        if self._proposed_at_ms is not None:
            since_ms = self._proposed_at_ms
        if now_ms - since_ms < interval_ms:
            return None
        self._proposed_at_ms = now_ms
        elapsed_ms = min(now_ms - self._measured_from_ms, TICK_ELAPSED_MS_MAX)
        return make_payload(Op.TICK, time_ms, elapsed_ms)
