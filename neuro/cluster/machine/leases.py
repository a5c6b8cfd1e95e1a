"""Leases: keys that disappear together when nobody renews them.

Owns who holds which keys and until when, in the machine's own time. That time is the sum of the
elapsed times in TICK entries, so a lease can expire late (an election, a pause) and never early:
what is granted between two ticks starts to run at the second.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from neuro.cluster.machine import outcome as codes
from neuro.cluster.machine.limits import (
    LEASE_COUNT_MAX,
    LEASE_TTL_MS_MAX,
    LEASE_TTL_MS_MIN,
)
from neuro.cluster.machine.outcome import Refusal


class Lease:
    """`deadline_ms` is None until the first tick after it was granted or renewed."""

    __slots__ = ("deadline_ms", "keys", "ttl_ms")

    def __init__(self, ttl_ms: int) -> None:
        self.ttl_ms = ttl_ms
        self.deadline_ms: int | None = None
        self.keys: set[str] = set()


class Leases:
    """All leases by id; ids are log indices and so never used twice."""

    __slots__ = ("_by_id", "_deadlines", "_waiting")

    def __init__(self) -> None:
        self._by_id: dict[int, Lease] = {}
        self._deadlines: list[tuple[int, int]] = []
        # Not a set: the order in which deadlines are given must not depend on hashes.
        self._waiting: dict[int, None] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_id)

    def find(self, lease: object) -> Lease:
        """A lease by id.

        Raises:
            Refusal: there is none.
        """
        found = self._by_id.get(lease) if type(lease) is int else None
        if found is None:
            raise Refusal(codes.LEASE_NOT_FOUND, lease=lease if type(lease) is int else 0)
        return found

    def grant(self, lease: int, ttl_ms: object) -> None:
        """Adds a lease.

        Raises:
            Refusal: the TTL is out of bounds, or there are too many.
        """
        if type(ttl_ms) is not int or not LEASE_TTL_MS_MIN <= ttl_ms <= LEASE_TTL_MS_MAX:
            raise Refusal(
                codes.INVALID_REQUEST,
                reason=f"a lease lasts {LEASE_TTL_MS_MIN} to {LEASE_TTL_MS_MAX} ms",
            )
        if len(self._by_id) >= LEASE_COUNT_MAX:
            raise Refusal(codes.LIMIT_REACHED, limit="leases", maximum=LEASE_COUNT_MAX)
        self._by_id[lease] = Lease(ttl_ms)
        self._waiting[lease] = None

    def renew(self, lease: object) -> Lease:
        """Starts a lease's time anew, from the next tick."""
        found = self.find(lease)
        found.deadline_ms = None
        self._waiting[int(lease)] = None  # type: ignore[call-overload]
        return found

    def remove(self, lease: int) -> list[str]:
        """Ends a lease; its keys, sorted."""
        keys = sorted(self._by_id.pop(lease).keys)
        self._waiting.pop(lease, None)
        return keys

    def attach(self, lease: int, key: str) -> None:
        """The key goes when the lease goes; 0 is no lease."""
        if lease:
            self._by_id[lease].keys.add(key)

    def detach(self, lease: int, key: str) -> None:
        """The key was changed or deleted; 0 is no lease."""
        found = self._by_id.get(lease)
        if found is not None:
            found.keys.discard(key)

    def take_expired(self, time_ms: int) -> Iterator[int]:
        """Ids whose deadline has come, earliest first; the caller removes each before the next."""
        while self._deadlines and self._deadlines[0][0] <= time_ms:
            deadline_ms, lease = self._deadlines[0]
            found = self._by_id.get(lease)
            if found is not None and found.deadline_ms == deadline_ms:
                yield lease
            heapq.heappop(self._deadlines)

    def start_waiting(self, time_ms: int) -> None:
        """Gives deadlines to what was granted or renewed since the last tick."""
        for lease in self._waiting:
            found = self._by_id[lease]
            found.deadline_ms = time_ms + found.ttl_ms
            heapq.heappush(self._deadlines, (found.deadline_ms, lease))
        self._waiting.clear()
        if len(self._deadlines) > 2 * len(self._by_id) + 64:
            self._deadlines = _find_deadlines(self._by_id)

    def describe(self, lease: int, time_ms: int) -> dict[str, Any]:
        """What a client may know about a lease; without deadline the whole time is left."""
        found = self.find(lease)
        deadline_ms = found.deadline_ms
        left_ms = found.ttl_ms if deadline_ms is None else max(0, deadline_ms - time_ms)
        return {
            "lease": lease,
            "ttl_ms": found.ttl_ms,
            "left_ms": left_ms,
            "keys": sorted(found.keys),
        }

    def freeze(self) -> list[list[Any]]:
        """Rows of `[id, ttl_ms, deadline_ms]`, sorted. Keys are known from the records."""
        return [[lease, self._by_id[lease].ttl_ms, self._by_id[lease].deadline_ms]
                for lease in sorted(self._by_id)]  # fmt: skip

    def thaw(self, row: list[Any]) -> None:
        """Adds a lease from a row of `freeze`."""
        lease, ttl_ms, deadline_ms = row
        added = self._by_id[lease] = Lease(ttl_ms)
        added.deadline_ms = deadline_ms
        if deadline_ms is None:
            self._waiting[lease] = None
        else:
            heapq.heappush(self._deadlines, (deadline_ms, lease))


def _find_deadlines(by_id: dict[int, Lease]) -> list[tuple[int, int]]:
    """The heap without what was renewed or removed meanwhile."""
    return sorted(
        (found.deadline_ms, lease)
        for lease, found in by_id.items()
        if found.deadline_ms is not None
    )
