"""A channel that a peer opened: its introduction, then messages or a snapshot.

Owns the accepting side of the protocol. Never sends a message of the core. Whatever a peer says
that a member would not say ends its channel, and nothing of that frame reaches the core.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from neuro.cluster.peers import PeerReceiver, SnapshotOffer
from neuro.cluster.transport.channel import Channel
from neuro.cluster.transport.errors import MessageMalformed, PeerRefused, TransportError
from neuro.cluster.transport.frames import (
    PROTOCOL_VERSION,
    Frame,
    FrameReader,
    Hello,
    Lane,
    Member,
    Sealer,
    decode_hello,
    decode_messages,
    decode_offer,
    decode_part,
    encode_refusal,
    encode_welcome,
)
from neuro.errors import FrameError, NeuroCacheError

_log = logging.getLogger("neuro.cluster.transport")


class Host(Protocol):
    """What an inbound channel needs from the transport it belongs to."""

    member: Member
    sealer: Sealer

    @property
    def receiver(self) -> PeerReceiver:
        """Where messages go."""

    def admit(self, hello: Hello) -> None:
        """Raises PeerRefused unless this member, in this incarnation, may speak now."""

    def left(self, inbound: Inbound) -> None:
        """The channel is over."""


class Inbound:
    """The owner of one accepted channel."""

    def __init__(self, host: Host, channel: Channel, hello_timeout_ms: int) -> None:
        self._host = host
        self._channel = channel
        self._reader = FrameReader()
        self._offer: SnapshotOffer | None = None
        self._received = 0
        self._finishing: asyncio.Task[None] | None = None
        self._is_over = False
        self.hello: Hello | None = None
        loop = asyncio.get_running_loop()
        self._hello_timer = loop.call_later(hello_timeout_ms / 1_000, channel.abort)

    @property
    def peer(self) -> int:
        """The member at the other end; 0 until it has introduced itself."""
        return self.hello.member.node if self.hello is not None else 0

    def close(self) -> None:
        """Ends the channel; what arrives afterwards is ignored."""
        self._is_over = True
        self._channel.abort()

    def data_arrived(self, data: bytes) -> None:
        """Bytes from the peer."""
        try:
            for frame in self._reader.read(data):
                if self._is_over:
                    return
                self._take(frame)
        except PeerRefused as error:
            self._refuse(error.reason, error)
        except (FrameError, MessageMalformed) as error:
            self._refuse(error.reason, error)
        except NeuroCacheError as error:
            # The receiver does not want the snapshot.
            self._refuse(error.code, error)

    def room_returned(self) -> None:
        """Answers are a few bytes; nobody waits for room."""

    def channel_closed(self, reason: str) -> None:
        """It is over."""
        self._is_over = True
        self._hello_timer.cancel()
        if self._finishing is not None:
            self._finishing.cancel()
        _log.debug("a peer's channel ended", extra={"peer": self.peer, "reason": reason})
        self._host.left(self)

    def _take(self, frame: Frame) -> None:
        if self.hello is None:
            self._greet(decode_hello(frame))
            return
        peer, node = self.hello.member, self._host.member.node
        if self.hello.lane is Lane.MESSAGES:
            self._host.receiver.receive(decode_messages(frame, peer, node))
        elif self._offer is None:
            offer = decode_offer(frame, peer, node)
            self._received = self._host.receiver.begin_snapshot(offer)
            self._offer = offer
            self._channel.write(self._host.sealer.resume_at(self._received))
        else:
            self._take_part(self._offer, frame, peer)

    def _greet(self, hello: Hello) -> None:
        me = self._host.member
        if hello.version != PROTOCOL_VERSION:
            raise PeerRefused(f"a peer speaks version {hello.version}", reason="version")
        peer = hello.member.node
        proven = self._channel.peer
        reason = ""
        if hello.member.cluster_id != me.cluster_id:
            reason = "cluster_id"
        elif hello.to != me.node:
            reason = "not_this_node"
        elif peer < 1 or peer == me.node:
            reason = "node_id"
        elif proven is not None and proven != peer:
            reason = "certificate"
        if reason:
            raise PeerRefused(f"node {peer} is refused: {reason}", reason=reason, peer=peer)
        self._host.admit(hello)
        self._hello_timer.cancel()
        self.hello = hello
        self._channel.write(encode_welcome(me))

    def _take_part(self, offer: SnapshotOffer, frame: Frame, peer: Member) -> None:
        part = decode_part(frame, peer)
        if self._finishing is not None:
            raise MessageMalformed("more after the end", reason="part")
        if part is None:
            if self._received != offer.size_bytes:
                raise MessageMalformed("the transfer ended early", reason="part")
            loop = asyncio.get_running_loop()
            self._finishing = loop.create_task(self._finish(offer))
            return
        offset, data = part
        if offset != self._received or offset + len(data) > offer.size_bytes or not data:
            raise MessageMalformed("parts come in a row", reason="part")
        held = self._host.receiver.write_snapshot(offer, offset, data)
        self._received += len(data)
        if held < self._received:
            raise PeerRefused("the receiver lost its part of the file", reason="snapshot_lost")

    async def _finish(self, offer: SnapshotOffer) -> None:
        try:
            await self._host.receiver.finish_snapshot(offer)
        except NeuroCacheError as error:
            self._refuse(error.code, error)
            return
        self._channel.write(self._host.sealer.done())
        self._channel.finish()

    def _refuse(self, reason: str, error: TransportError | FrameError | NeuroCacheError) -> None:
        """Says why, if anybody listens, and ends the channel."""
        _log.warning("a peer is refused", extra={"peer": self.peer, "reason": str(error)})
        self._is_over = True
        self._channel.write(encode_refusal(reason))
        self._channel.finish()
