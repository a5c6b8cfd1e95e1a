"""Messages to one peer: connect when there is something to say, queue a little, drop the rest.

Owns the queue, the connection's life and the back-off between attempts. Never repeats a message:
the core does. The states:

    IDLE -> CONNECTING -> OPEN -> WAITING -> (next message) CONNECTING ...

WAITING is the time after a failure in which messages are dropped at once, because a queue that
grows for a dead peer only delays what matters when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import StrEnum
from typing import Any, Final

from neuro.cluster.transport.codec import encode_message, weigh_message
from neuro.cluster.transport.dialog import Dialog, Hub
from neuro.cluster.transport.errors import TransportError
from neuro.cluster.transport.frames import MESSAGES_PER_FRAME_MAX, Lane
from neuro.errors import FrameError, UnitError
from neuro.raft import Message, NodeId
from neuro.wire import FRAME_BYTES_MAX, ITEM_COUNT_MAX

_log = logging.getLogger("neuro.cluster.transport")

BATCH_BYTES_MAX: Final = 2 << 20
"""Frames stay around this size, so that the receiver's loop is never busy for long with one."""
BATCH_ITEMS_MAX: Final = ITEM_COUNT_MAX // 4
FRAME_ROOM_BYTES: Final = 4_096
"""Kept free in the largest frame for its marks."""


class DialState(StrEnum):
    """Where the connection to a peer stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    OPEN = "open"
    WAITING = "waiting"


class PeerLink:
    """The outbound side towards one peer."""

    def __init__(self, hub: Hub, peer: NodeId, address: str) -> None:
        self._hub = hub
        self._peer = peer
        self.address = address
        self.state = DialState.IDLE
        self._queue: deque[tuple[Message, int, int]] = deque()
        self._queue_bytes = 0
        self._dialog: Dialog | None = None
        self._task: asyncio.Task[None] | None = None
        self._retry_at_s = 0.0
        self._backoff_ms = 0
        self._last_reason = ""
        self._is_closed = False

    @property
    def queue_count(self) -> int:
        """Messages that wait here."""
        return len(self._queue)

    @property
    def queue_bytes(self) -> int:
        """Their weight."""
        return self._queue_bytes

    def send(self, messages: list[Message]) -> None:
        """Queues, and sends what the channel takes."""
        now_s = asyncio.get_running_loop().time()
        if self._is_closed or (self.state is DialState.WAITING and now_s < self._retry_at_s):
            self._hub.messages_lost(self._peer, len(messages))
            return
        lost = sum(not self._try_enqueue(message) for message in messages)
        if lost:
            self._hub.messages_lost(self._peer, lost)
        if self.state is DialState.OPEN:
            self._flush()
        elif self.state is not DialState.CONNECTING and self._queue:
            self._connect()

    def close(self) -> None:
        """Drops everything, without a report: the peer is not wanted any more."""
        self._is_closed = True
        self._queue.clear()
        self._queue_bytes = 0
        if self._task is not None:
            self._task.cancel()
        if self._dialog is not None:
            self._dialog.abort()

    async def wait_closed(self) -> None:
        """Returns when an attempt to connect that `close` interrupted is over."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    def _try_enqueue(self, message: Message) -> bool:
        limits = self._hub.limits
        size_bytes, items = weigh_message(message)
        if (
            len(self._queue) >= limits.queue_count_max
            or self._queue_bytes + size_bytes > limits.queue_bytes_max
            or size_bytes > FRAME_BYTES_MAX - FRAME_ROOM_BYTES
            or items > ITEM_COUNT_MAX - MESSAGES_PER_FRAME_MAX
        ):
            return False
        self._queue.append((message, size_bytes, items))
        self._queue_bytes += size_bytes
        return True

    def _flush(self) -> None:
        channel = self._dialog.channel if self._dialog is not None else None
        while self._queue and channel is not None and not channel.is_full:
            batch: list[Any] = []
            size_bytes = items = 0
            while self._queue and len(batch) < MESSAGES_PER_FRAME_MAX:
                message, more_bytes, more_items = self._queue[0]
                size_bytes, items = size_bytes + more_bytes, items + more_items
                if batch and (size_bytes > BATCH_BYTES_MAX or items > BATCH_ITEMS_MAX):
                    break
                self._queue.popleft()
                self._queue_bytes -= more_bytes
                batch.append(encode_message(message))
            channel.write(self._hub.sealer.messages(batch))

    def _connect(self) -> None:
        self.state = DialState.CONNECTING
        self._dialog = Dialog(self._hub, self._peer, on_room=self._on_room, on_end=self._on_end)
        self._task = asyncio.get_running_loop().create_task(self._dial(self._dialog))

    async def _dial(self, dialog: Dialog) -> None:
        try:
            await dialog.open(self.address, Lane.MESSAGES)
        except (OSError, FrameError, TransportError, UnitError) as error:
            # TimeoutError is an OSError.
            dialog.abort()
            self._give_up(str(error) or "no answer in time")
            return
        except asyncio.CancelledError:
            dialog.abort()
            raise
        self.state = DialState.OPEN
        self._backoff_ms = 0
        if self._last_reason:
            _log.info("a peer is reachable again", extra={"peer": self._peer})
            self._last_reason = ""
        self._flush()

    def _on_room(self) -> None:
        if self.state is DialState.OPEN:
            self._flush()

    def _on_end(self, dialog: Dialog, error: Exception) -> None:
        """What was written may be lost, so it is reported; an attempt's end is seen by `_dial`."""
        if dialog is self._dialog and self.state is DialState.OPEN:
            self._give_up(str(error))

    def _give_up(self, reason: str) -> None:
        """Drops the queue and waits a little longer each time, by chance, before the next try."""
        limits = self._hub.limits
        self._dialog = None
        self.state = DialState.WAITING
        lost = len(self._queue)
        self._queue.clear()
        self._queue_bytes = 0
        self._backoff_ms = min(
            max(2 * self._backoff_ms, limits.backoff_ms_min), limits.backoff_ms_max
        )
        wait_s = self._backoff_ms * self._hub.chance.uniform(0.5, 1.0) / 1_000
        self._retry_at_s = asyncio.get_running_loop().time() + wait_s
        if self._is_closed:
            return
        if reason != self._last_reason:
            # Once for each reason: a peer that is down for a day is one line, not 86,400.
            _log.warning(
                "a peer is unreachable",
                extra={"peer": self._peer, "address": self.address, "reason": reason},
            )
            self._last_reason = reason
        self._hub.messages_lost(self._peer, max(lost, 1))
