"""Request collapsing: one request to the origin for many that ask for the same key.

Owns who leads, who waits, and for how long, as a table without I/O: it is told what happens and
says whom to wake. Keys whose responses turned out uncacheable are remembered for a while
(hit-for-miss), so that their requests never queue behind each other.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from neuro.checks import check

WAITERS_PER_KEY_MAX: Final = 10_000
WAITERS_TOTAL_MAX: Final = 65_536
UNCACHEABLE_KEYS_MAX: Final = 16_384
UNCACHEABLE_TTL_MS: Final = 120_000
WAIT_TIMEOUT_MS: Final = 10_000


class Role(Enum):
    """What a request does: fetch for all, wait, or fetch for itself."""

    LEADER = "leader"
    FOLLOWER = "follower"
    ALONE = "alone"


class Verdict(Enum):
    """What a woken follower does: use the leader's response, or fetch for itself at once."""

    USE = "use"
    FETCH = "fetch"
    LEAD = "lead"


@dataclass(frozen=True, slots=True)
class Wake:
    """A follower to wake and what it shall do."""

    waiter: int
    verdict: Verdict


@dataclass(slots=True)
class _Flight:
    leader: int
    # waiter -> deadline in monotonic milliseconds; insertion order is order of arrival.
    waiters: dict[int, int] = field(default_factory=dict)
    is_streaming: bool = False


class CollapseTable:
    """The flights of one node. Waiters and leaders are numbers chosen by the caller, never reused.

    Times are monotonic milliseconds, given by the caller. Every call is O(1) amortised, except
    `expire`, which is linear in the waiters of the flights it visits.
    """

    def __init__(
        self,
        *,
        waiters_per_key_max: int = WAITERS_PER_KEY_MAX,
        waiters_total_max: int = WAITERS_TOTAL_MAX,
        uncacheable_keys_max: int = UNCACHEABLE_KEYS_MAX,
        uncacheable_ttl_ms: int = UNCACHEABLE_TTL_MS,
        wait_timeout_ms: int = WAIT_TIMEOUT_MS,
    ) -> None:
        self._waiters_per_key_max = waiters_per_key_max
        self._waiters_total_max = waiters_total_max
        self._uncacheable_keys_max = uncacheable_keys_max
        self._uncacheable_ttl_ms = uncacheable_ttl_ms
        self._wait_timeout_ms = wait_timeout_ms
        self._flights: dict[bytes, _Flight] = {}
        self._uncacheable: OrderedDict[bytes, int] = OrderedDict()
        self._waiter_count = 0

    @property
    def flight_count(self) -> int:
        """Keys that are being fetched now."""
        return len(self._flights)

    @property
    def waiter_count(self) -> int:
        """Requests that wait for a leader's response head."""
        return self._waiter_count

    @property
    def uncacheable_count(self) -> int:
        """Keys remembered as uncacheable, expired ones included."""
        return len(self._uncacheable)

    def join(self, key: bytes, request: int, now_ms: int) -> Role:
        """Enters a request: first of its key leads, later ones wait until told by a Wake.

        ALONE: the key is remembered as uncacheable, or a bound on waiters is reached.
        """
        if self.is_uncacheable(key, now_ms):
            return Role.ALONE
        flight = self._flights.get(key)
        if flight is None:
            self._flights[key] = _Flight(request)
            return Role.LEADER
        if (
            len(flight.waiters) >= self._waiters_per_key_max
            or self._waiter_count >= self._waiters_total_max
        ):
            return Role.ALONE
        check(request not in flight.waiters and request != flight.leader, "a request joins once")
        flight.waiters[request] = now_ms + self._wait_timeout_ms
        self._waiter_count += 1
        return Role.FOLLOWER

    def share(self, key: bytes, leader: int) -> list[Wake]:
        """The leader's response is stored (or its fill began) and may be used by everybody.

        The flight ends: whoever comes now finds the fill or the stored response.
        """
        return self._land(key, leader, Verdict.USE)

    def release(self, key: bytes, leader: int, now_ms: int, *, is_uncacheable: bool) -> list[Wake]:
        """The leader's response is of no use to others: all fetch for themselves, in parallel."""
        if is_uncacheable:
            self.remember_uncacheable(key, now_ms)
        return self._land(key, leader, Verdict.FETCH)

    def abandon(self, key: bytes, leader: int) -> list[Wake]:
        """The leader left before a response came and its fetch ends: the next one leads."""
        flight = self._flights.get(key)
        if flight is None or flight.leader != leader:
            return []
        if not flight.waiters:
            del self._flights[key]
            return []
        heir = next(iter(flight.waiters))
        del flight.waiters[heir]
        self._waiter_count -= 1
        flight.leader = heir
        return [Wake(heir, Verdict.LEAD)]

    def leave(self, key: bytes, waiter: int) -> bool:
        """A follower's client has gone; False when it was not waiting."""
        flight = self._flights.get(key)
        if flight is None or waiter not in flight.waiters:
            return False
        del flight.waiters[waiter]
        self._waiter_count -= 1
        return True

    def expire(self, now_ms: int) -> list[Wake]:
        """Followers that have waited too long: they fetch for themselves."""
        woken: list[Wake] = []
        for flight in self._flights.values():
            while flight.waiters:
                waiter, deadline_ms = next(iter(flight.waiters.items()))
                if deadline_ms > now_ms:
                    break
                del flight.waiters[waiter]
                self._waiter_count -= 1
                woken.append(Wake(waiter, Verdict.FETCH))
        return woken

    def next_deadline_ms(self) -> int | None:
        """When `expire` has something to do, or None when nobody waits."""
        deadlines = (
            next(iter(flight.waiters.values()))
            for flight in self._flights.values()
            if flight.waiters
        )
        return min(deadlines, default=None)

    def remember_uncacheable(self, key: bytes, now_ms: int) -> None:
        """Requests for this key stop waiting for each other for a while."""
        self._uncacheable.pop(key, None)
        self._uncacheable[key] = now_ms + self._uncacheable_ttl_ms
        if len(self._uncacheable) > self._uncacheable_keys_max:
            self._uncacheable.popitem(last=False)

    def forget_uncacheable(self, key: bytes) -> None:
        """A response for this key was stored after all."""
        self._uncacheable.pop(key, None)

    def is_uncacheable(self, key: bytes, now_ms: int) -> bool:
        """Whether the key is remembered as uncacheable."""
        until_ms = self._uncacheable.get(key)
        if until_ms is None:
            return False
        if until_ms <= now_ms:
            del self._uncacheable[key]
            return False
        self._uncacheable.move_to_end(key)
        return True

    def _land(self, key: bytes, leader: int, verdict: Verdict) -> list[Wake]:
        flight = self._flights.get(key)
        if flight is None or flight.leader != leader:
            return []
        del self._flights[key]
        self._waiter_count -= len(flight.waiters)
        return [Wake(waiter, verdict) for waiter in flight.waiters]
