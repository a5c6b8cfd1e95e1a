"""An origin's body on its way into the slab.

Owns: one fill from its first byte to publish or abort. It runs in a task of its own, so it goes on
when the client that caused it leaves. Clients follow it through the engine; no byte of theirs
passes here.

One exception: a body of unknown length may turn out too large for the slab. Who follows it natively
could then only be cut, so the first client gets such a body written by this task instead, and keeps
getting it after the fill had to be given up. Others are cut, and the key is remembered as
uncacheable; nothing is ever truncated in silence.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from neuro.edge.exchange import ClientGone
from neuro.errors import IncompleteBody, ObjectTooLarge, SlabFull, UpstreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuro.cache import StoredResponse
    from neuro.edge.exchange import ClientExchange
    from neuro.edge.upstream import UpstreamResponse
    from neuro.native import Fill

_log = logging.getLogger("neuro.edge")

LEADER_LAG_BYTES_MAX: Final = 1 << 20
"""How far the first client may fall behind a body of unknown length before the fill waits."""


class FillRun:
    """One fill: a task of `run` with `end` as its callback.

    `on_end(self, is_stored)` is called once, when it is over.
    """

    def __init__(
        self,
        response: UpstreamResponse,
        fill: Fill,
        stored: StoredResponse,
        *,
        marker: StoredResponse | None,
        is_shared: bool,
        notify: Callable[[int], None],
        on_end: Callable[[FillRun, bool], None],
        on_overflow: Callable[[], None],
    ) -> None:
        self._response = response
        self._fill = fill
        self._notify = notify
        self._on_end = on_end
        self._on_overflow = on_overflow
        self._is_open = True
        self._is_spoiled = False
        self._is_stored = False
        self._is_concluded = False
        self._leader: ClientExchange | None = None
        self._leader_done: asyncio.Future[None] | None = None
        self.stored = stored
        self.marker = marker
        self.is_shared = is_shared  # whether other requests may join
        self.handle = fill.handle

    def lead(self, exchange: ClientExchange) -> asyncio.Future[None]:
        """Writes the body to this client too, whose head was sent; the future ends with it."""
        self._leader = exchange
        self._leader_done = asyncio.get_running_loop().create_future()
        return self._leader_done

    def spoil(self) -> None:
        """The key was invalidated: who reads along gets the whole, the slab keeps nothing."""
        self._is_spoiled = True

    async def run(self) -> None:
        """Fills to the end."""
        try:
            self._is_stored = await self._fill_body()
        except (UpstreamError, IncompleteBody) as error:
            _log.info("a fill failed: %s", error)
        finally:
            self._conclude()

    def end(self, _task: asyncio.Task[None]) -> None:
        """For the task's callback: a task cancelled before its first step has no `finally`."""
        self._conclude()

    def _conclude(self) -> None:
        """Gives everything back, in the step of the last byte: nobody joins a fill that is over."""
        if self._is_concluded:
            return
        self._is_concluded = True
        if not self._is_stored:
            self._give_up_fill()
        leader, self._leader = self._leader, None
        if leader is not None:
            leader.abort()
        self._response.close()
        self._on_end(self, self._is_stored)
        if self._leader_done is not None and not self._leader_done.done():
            self._leader_done.set_result(None)

    async def _fill_body(self) -> bool:
        while data := await self._response.read():
            try:
                self._fill.write(data)
            except (ObjectTooLarge, SlabFull) as error:
                _log.info("a response is given up for storing: %s", error)
                self._give_up_fill()
                self._on_overflow()
                await self._stream_rest(data)
                return False
            self._notify(self.handle)
            await self._feed_leader(data, LEADER_LAG_BYTES_MAX)
        # More bytes than the response announced: right for those who read along, nothing to keep.
        is_stored = self._response.is_clean and not self._is_spoiled
        complete = self._fill.publish if is_stored else self._fill.complete_unindexed
        complete().release()
        self._is_open = False
        self._notify(self.handle)
        self._finish_leader()
        return is_stored

    async def _stream_rest(self, data: bytes) -> None:
        await self._feed_leader(data, 0)
        while self._leader is not None:
            data = await self._response.read()
            if not data:
                self._finish_leader()
                return
            await self._feed_leader(data, 0)

    async def _feed_leader(self, data: bytes, lag_bytes_max: int) -> None:
        leader = self._leader
        if leader is None:
            return
        try:
            await leader.write(data, lag_bytes_max)
        except ClientGone:
            self._leader = None

    def _finish_leader(self) -> None:
        leader, self._leader = self._leader, None
        if leader is not None:
            try:
                leader.finish()
            except ClientGone:
                return

    def _give_up_fill(self) -> None:
        if self._is_open:
            self._is_open = False
            self.is_shared = False  # its first client may still be served for long
            self._fill.abort()
            self._notify(self.handle)
