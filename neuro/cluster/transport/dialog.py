"""The dialling side of one channel: introduction, answer, and whatever answers come later.

Owns one attempt. A link makes a new one for each connection, so that news of an old connection can
never be taken for news of the present one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from neuro.cluster.transport.channel import Carrier, Channel
from neuro.cluster.transport.errors import MessageMalformed, PeerRefused, TransportError
from neuro.cluster.transport.frames import (
    PROTOCOL_VERSION,
    Frame,
    FrameReader,
    Hello,
    Lane,
    Member,
    Sealer,
    decode_refusal,
    decode_welcome,
    encode_hello,
)
from neuro.cluster.transport.settings import TransportLimits
from neuro.errors import FrameError
from neuro.raft import NodeId
from neuro.units import parse_address


class Hub(Protocol):
    """What the outbound side needs from the transport it belongs to."""

    carrier: Carrier
    limits: TransportLimits
    member: Member
    sealer: Sealer
    chance: random.Random

    @property
    def advertised(self) -> str:
        """Where peers reach this member."""

    def messages_lost(self, peer: NodeId, count: int) -> None:
        """Counts and reports."""


class Dialog:
    """The owner of one channel that this member opened."""

    def __init__(
        self,
        hub: Hub,
        peer: NodeId,
        *,
        on_room: Callable[[], None],
        on_end: Callable[[Dialog, Exception], None],
        on_frame: Callable[[Frame], None] | None = None,
    ) -> None:
        self._hub = hub
        self._peer = peer
        self._on_room = on_room
        self._on_end = on_end
        self._on_frame = on_frame
        self._reader = FrameReader()
        self._welcome: asyncio.Future[Member] = asyncio.get_running_loop().create_future()
        self.channel: Channel | None = None
        self.end: Exception | None = None

    async def open(self, address: str, lane: Lane) -> Member:
        """Connects and introduces this member; who answered.

        Raises:
            OSError: nobody answers there, or not in time.
            PeerRefused, MessageMalformed, FrameError, UnitError: something else does.
        """
        hub = self._hub
        try:
            async with asyncio.timeout(hub.limits.connect_timeout_ms / 1_000):
                self.channel = await hub.carrier.open(parse_address(address), self._peer, self)
                hello = Hello(PROTOCOL_VERSION, hub.member, self._peer, lane, hub.advertised)
                self.channel.write(encode_hello(hello))
                member = await self._welcome
        except TimeoutError:
            # A kept connection may be dead without knowing it yet: the next attempt makes its own.
            hub.carrier.forget(self._peer)
            raise
        if self.end is not None:
            raise self.end
        return member

    def abort(self) -> None:
        """Ends the channel now."""
        if self.channel is not None:
            self.channel.abort()

    def data_arrived(self, data: bytes) -> None:
        """The peer answers."""
        if self.end is not None:
            return
        try:
            for frame in self._reader.read(data):
                self._take(frame)
        except (FrameError, TransportError) as error:
            self._finish(error)
            self.abort()

    def room_returned(self) -> None:
        """The channel takes more."""
        self._on_room()

    def channel_closed(self, reason: str) -> None:
        """The channel is over."""
        self._finish(TransportError(f"the connection ended: {reason}"))

    def _take(self, frame: Frame) -> None:
        if self._welcome.done():
            if self._on_frame is None:
                # The only thing there is to say on this lane: why the connection ends.
                raise self._refusal(frame) or MessageMalformed("unasked", reason="unasked")
            self._on_frame(frame)
            return
        refusal = self._refusal(frame)
        if refusal is not None:
            raise refusal
        member = decode_welcome(frame)
        mine = self._hub.member
        if member.cluster_id != mine.cluster_id or member.node != self._peer:
            raise PeerRefused(
                f"node {member.node} of another cluster or id answers for node {self._peer}",
                reason="cluster_id",
                peer=self._peer,
            )
        self._welcome.set_result(member)

    def _refusal(self, frame: Frame) -> PeerRefused | None:
        reason = decode_refusal(frame)
        if reason is None:
            return None
        text = f"node {self._peer} refuses this one: {reason}"
        return PeerRefused(text, reason=reason, peer=self._peer)

    def _finish(self, error: Exception) -> None:
        if self.end is not None:
            return
        self.end = error
        if not self._welcome.done():
            self._welcome.set_exception(error)
            # Marks it as seen: whoever waited may have been cancelled.
            self._welcome.exception()
        self._on_end(self, error)
