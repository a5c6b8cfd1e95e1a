"""Access events: from the engine's ring to everybody who wants to see them.

Owns: the one reader of the ring, its pace, a bounded queue for each subscriber. Never: parsing, or
waiting for a subscriber: who is slow loses the oldest records and is told how many.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD_BYTES: Final = 64
"""sizeof(nc_access); neuro.native.ACCESS_RECORD_BYTES says the same."""

DRAIN_INTERVAL_S: Final = 0.1
DRAIN_RECORDS_MAX: Final = 16_384
"""Records taken in one turn: copied, not looked at, so well below a millisecond."""

QUEUE_RECORDS_MAX: Final = 262_144
"""What a subscriber may leave unread: 16 MiB."""


class AccessSubscription:
    """One reader's view of the events since it subscribed."""

    def __init__(self, records_max: int) -> None:
        self._blocks: deque[bytes] = deque()
        self._bytes_max = records_max * RECORD_BYTES
        self._bytes = 0
        self.dropped = 0  # records that were lost because nobody read them in time

    def push(self, block: bytes) -> None:
        """Whole records; makes room by dropping the oldest block."""
        self._blocks.append(block)
        self._bytes += len(block)
        while self._bytes > self._bytes_max:
            lost = len(self._blocks.popleft())
            self._bytes -= lost
            self.dropped += lost // RECORD_BYTES

    def poll(self, count: int) -> bytes:
        """Up to `count` whole records, oldest first; b"" when there are none."""
        taken: list[bytes] = []
        left = count * RECORD_BYTES
        while left > 0 and self._blocks:
            block = self._blocks.popleft()
            if len(block) > left:
                self._blocks.appendleft(block[left:])
                block = block[:left]
            taken.append(block)
            left -= len(block)
        data = b"".join(taken)
        self._bytes -= len(data)
        return data


class AccessFeed:
    """Drains the ring while somebody listens; without listeners the ring fills and drops."""

    def __init__(self, poll: Callable[[int], bytes]) -> None:
        self._poll = poll
        self._subscriptions: list[AccessSubscription] = []
        self._timer: asyncio.TimerHandle | None = None

    def subscribe(self, records_max: int = QUEUE_RECORDS_MAX) -> AccessSubscription:
        """A new reader; it sees what comes from now on."""
        subscription = AccessSubscription(records_max)
        self._subscriptions.append(subscription)
        if self._timer is None:
            self._arm()
        return subscription

    def unsubscribe(self, subscription: AccessSubscription) -> None:
        """Ends a reader. Idempotent."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def drain(self) -> None:
        """Gives what is in the ring now to all subscribers."""
        block = self._poll(DRAIN_RECORDS_MAX)
        if block:
            for subscription in self._subscriptions:
                subscription.push(block)

    def stop(self) -> None:
        """Ends the pace; what was drained can still be read."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(DRAIN_INTERVAL_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._subscriptions:
            self.drain()
            self._arm()
