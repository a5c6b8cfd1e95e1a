"""Waiting for another request's answer: the event loop's side of neuro.cache.collapse.

Owns: the futures of followers and the clock of their deadline. Never: who leads or what a follower
does, which the table says.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from neuro.cache import CollapseTable, Role, Verdict, Wake
    from neuro.clock import Clock
    from neuro.errors import UpstreamError

EXPIRE_INTERVAL_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Landing:
    """What a follower is told; with `failure` the origin failed, and would fail again."""

    verdict: Verdict
    failure: UpstreamError | None = None


class Flights:
    """All collapsed requests of a node."""

    def __init__(self, table: CollapseTable, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._followers: dict[int, asyncio.Future[Landing]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def is_uncacheable(self, key: bytes) -> bool:
        """Whether requests for this key do not wait for each other."""
        return self._table.is_uncacheable(key, self._clock.monotonic_ms())

    def remember_uncacheable(self, key: bytes) -> None:
        """From now on they do not."""
        self._table.remember_uncacheable(key, self._clock.monotonic_ms())

    def forget_uncacheable(self, key: bytes) -> None:
        """From now on they do."""
        self._table.forget_uncacheable(key)

    def join(self, key: bytes, request: int) -> Role:
        """Enters a request; a FOLLOWER calls `wait` next."""
        return self._table.join(key, request, self._clock.monotonic_ms())

    async def wait(self, key: bytes, request: int) -> Landing:
        """Until the leader has an answer, or for as long as the table lets a follower wait."""
        future: asyncio.Future[Landing] = asyncio.get_running_loop().create_future()
        self._followers[request] = future
        self._arm()
        try:
            return await future
        finally:
            del self._followers[request]
            self._table.leave(key, request)

    def leave(self, key: bytes, request: int) -> None:
        """A follower that does not want to wait."""
        self._table.leave(key, request)

    def share(self, key: bytes, leader: int) -> None:
        """The leader's response may be used by everybody."""
        self._wake(self._table.share(key, leader))

    def release(self, key: bytes, leader: int, *, is_uncacheable: bool = False) -> None:
        """Everybody fetches for itself."""
        now_ms = self._clock.monotonic_ms()
        self._wake(self._table.release(key, leader, now_ms, is_uncacheable=is_uncacheable))

    def fail(self, key: bytes, leader: int, failure: UpstreamError) -> None:
        """The origin failed: nobody else tries at once, or a weak origin would get them all."""
        now_ms = self._clock.monotonic_ms()
        wakes = self._table.release(key, leader, now_ms, is_uncacheable=False)
        self._wake(wakes, failure)

    def _wake(self, wakes: Iterable[Wake], failure: UpstreamError | None = None) -> None:
        for wake in wakes:
            future = self._followers.get(wake.waiter)
            if future is not None and not future.done():
                future.set_result(Landing(wake.verdict, failure))

    def _arm(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(EXPIRE_INTERVAL_S, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._wake(self._table.expire(self._clock.monotonic_ms()))
        if self._followers:
            self._arm()
