"""One QUIC connection between two members: who is at the other end, and the streams on it.

Owns the connection's events. Never opens a socket. aioquic asks a client for its certificate only
when told so by an attribute that it does not document, counts unacknowledged bytes only inside, and
leaves the chain to be checked by us. All of that is touched here and nowhere else; the contract
suite's tests with a missing certificate, a foreign one and a stalled peer guard it over upgrades.

Source: RFC 9000 section 2 (streams), RFC 8446 section 4.3.2 (client certificates).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final, Protocol, cast

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.quic import events
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode

from neuro.cluster.transport.channel import UNSENT_BYTES_MAX, ChannelOwner
from neuro.cluster.transport.errors import PeerRefused
from neuro.raft import NodeId

STREAM_ERROR_ABORTED: Final = 1


class Home(Protocol):
    """What a connection needs from the carrier it belongs to."""

    connections: set[MemberConnection]

    def read_peer(self, quic: QuicConnection) -> NodeId:
        """Raises PeerRefused unless the other side has proven to be a member."""

    def accept(self, channel: QuicChannel) -> ChannelOwner:
        """The owner of a stream that the peer opened."""

    def drop(self, connection: MemberConnection) -> None:
        """The connection is over."""


class QuicChannel:
    """One bidirectional stream."""

    def __init__(self, protocol: MemberConnection, stream_id: int, peer: NodeId) -> None:
        self._protocol = protocol
        self._stream_id = stream_id
        self._peer = peer
        self._is_full = False
        self._is_closed = False
        self.owner: ChannelOwner | None = None

    @property
    def peer(self) -> NodeId | None:
        """The node in the other side's certificate."""
        return self._peer

    @property
    def is_full(self) -> bool:
        """Whether too much is unacknowledged."""
        self._is_full = self._protocol.unsent_bytes(self._stream_id) > UNSENT_BYTES_MAX
        return self._is_full

    def write(self, data: bytes) -> None:
        """Sends, or buffers."""
        if not self._is_closed:
            self._protocol.write(self._stream_id, data, is_last=False)

    def finish(self) -> None:
        """Closes when everything was sent."""
        if not self._is_closed:
            self._protocol.write(self._stream_id, b"", is_last=True)
            self.end("closed")

    def abort(self) -> None:
        """Closes now."""
        if not self._is_closed:
            self._protocol.reset(self._stream_id)
            self.end("closed")

    def end(self, reason: str) -> None:
        """The stream is over; its owner is told once, later, never from inside its own call."""
        if self._is_closed:
            return
        self._is_closed = True
        self._protocol.channels.pop(self._stream_id, None)
        if self.owner is not None:
            asyncio.get_running_loop().call_soon(self.owner.channel_closed, reason)

    def take(self, data: bytes) -> None:
        """Bytes from the other side."""
        if self.owner is not None and not self._is_closed:
            self.owner.data_arrived(data)

    def check_room(self) -> None:
        """Tells the owner when the stream was full and is not any more."""
        if self._is_full and not self.is_full and self.owner is not None:
            self.owner.room_returned()


class MemberConnection(QuicConnectionProtocol):
    """One QUIC connection, with the identity at its other end and its channels."""

    def __init__(
        self,
        quic: QuicConnection,
        stream_handler: Any = None,
        *,
        carrier: Home,
    ) -> None:
        super().__init__(quic, stream_handler)
        self._carrier = carrier
        self.peer: NodeId = 0
        self.refusal = ""
        self.is_stranger = False
        self.is_over = False
        self.channels: dict[int, QuicChannel] = {}
        self._seen: set[int] = set()
        self._ping_timer: asyncio.TimerHandle | None = None
        self.endpoint: asyncio.DatagramTransport | None = None
        if not quic.configuration.is_client:
            _ask_for_certificate(quic)
        carrier.connections.add(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there; a dialling one is connected, so packets carry no address."""
        if self._quic.configuration.is_client:
            transport = _ConnectedEndpoint(cast("asyncio.DatagramTransport", transport))
        super().connection_made(transport)

    def quic_event_received(self, event: events.QuicEvent) -> None:
        """What happened on the connection."""
        if isinstance(event, events.HandshakeCompleted):
            self._identify()
        elif isinstance(event, events.StreamDataReceived):
            self._take(event)
        elif isinstance(event, events.StreamReset | events.StopSendingReceived):
            self._end_channel(event.stream_id, "the peer ended the stream")
        elif isinstance(event, events.ConnectionTerminated):
            self._terminate(event.reason_phrase or "the connection ended")

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        """Packets may acknowledge data and so make room."""
        super().datagram_received(data, addr)
        for channel in tuple(self.channels.values()):
            channel.check_room()

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there (ICMP): no need to wait for a timeout."""
        if isinstance(exc, ConnectionRefusedError) and not self._connected:
            self.refusal = self.refusal or "connection refused"
            self._quic.close(error_code=QuicErrorCode.INTERNAL_ERROR, reason_phrase=self.refusal)
            self._process_events()
            self._terminate(self.refusal)
            waiter, self._connected_waiter = self._connected_waiter, None
            if waiter is not None and not waiter.done():
                waiter.set_exception(ConnectionRefusedError(self.refusal))

    def open_channel(self, owner: ChannelOwner) -> QuicChannel:
        """A new stream."""
        stream_id = self._quic.get_next_available_stream_id()
        channel = QuicChannel(self, stream_id, self.peer)
        channel.owner = owner
        self.channels[stream_id] = channel
        return channel

    def write(self, stream_id: int, data: bytes, *, is_last: bool) -> None:
        """Hands bytes to the connection; they leave at the end of this turn of the loop."""
        if self.is_over:
            return
        # The peer may have stopped the stream in this very packet; its event ends the channel.
        with contextlib.suppress(RuntimeError, AssertionError):
            self._quic.send_stream_data(stream_id, data, end_stream=is_last)
            self._transmit_soon()

    def reset(self, stream_id: int) -> None:
        """Ends both directions of a stream."""
        if self.is_over:
            return
        # A stream that has ended by itself can not be reset; that is what was wanted.
        with contextlib.suppress(ValueError, AssertionError, RuntimeError):
            self._quic.reset_stream(stream_id, STREAM_ERROR_ABORTED)
        with contextlib.suppress(ValueError, AssertionError, RuntimeError):
            self._quic.stop_stream(stream_id, STREAM_ERROR_ABORTED)
        self._transmit_soon()

    def unsent_bytes(self, stream_id: int) -> int:
        """Bytes of a stream that the other side has not acknowledged.

        aioquic has no public count; the contract suite holds this one to its bound.
        """
        stream = self._quic._streams.get(stream_id)
        return len(stream.sender._buffer) if stream is not None else 0

    def keep_alive(self, interval_s: float) -> None:
        """A member that has nothing to say for long is not a dead one."""
        if not self.is_over:
            self._quic.send_ping(0)
            self._transmit_soon()
            loop = asyncio.get_running_loop()
            self._ping_timer = loop.call_later(interval_s, self.keep_alive, interval_s)

    def end(self, reason: str) -> None:
        """Closes the connection and everything on it."""
        # Whoever waited for the handshake has given up, and would not see its failure.
        self._connected_waiter = None
        if not self.is_over:
            self.close(error_code=QuicErrorCode.NO_ERROR, reason_phrase=reason)
            self._terminate(reason)

    def _identify(self) -> None:
        """Believes a certificate only if the cluster's authority signed it."""
        try:
            self.peer = self._carrier.read_peer(self._quic)
        except PeerRefused as error:
            self.refusal = error.message
            self.is_stranger = True
            self._quic.close(
                error_code=QuicErrorCode.CONNECTION_REFUSED, reason_phrase="certificate"
            )
            self._terminate(error.message)

    def _take(self, event: events.StreamDataReceived) -> None:
        if not self.peer or self.is_over:
            return
        channel = self.channels.get(event.stream_id)
        if channel is None:
            # The lowest two bits tell who opened a stream, and whether it has two directions.
            is_ours = (event.stream_id & 1 == 0) == self._quic.configuration.is_client
            if is_ours or event.stream_id & 2 or event.stream_id in self._seen:
                return
            self._seen.add(event.stream_id)
            channel = QuicChannel(self, event.stream_id, self.peer)
            self.channels[event.stream_id] = channel
            channel.owner = self._carrier.accept(channel)
        if event.data:
            channel.take(event.data)
        if event.end_stream:
            self._end_channel(event.stream_id, "the peer closed the stream")

    def _end_channel(self, stream_id: int, reason: str) -> None:
        """The peer said its last word: there is nobody left to talk to on that stream."""
        channel = self.channels.get(stream_id)
        if channel is not None:
            self.write(stream_id, b"", is_last=True)
            channel.end(reason)

    def _terminate(self, reason: str) -> None:
        self.is_over = True
        if self._ping_timer is not None:
            self._ping_timer.cancel()
        for channel in tuple(self.channels.values()):
            channel.end(self.refusal or reason)
        self._carrier.connections.discard(self)
        self._carrier.drop(self)
        if self.endpoint is not None:
            # The closing packet leaves first.
            asyncio.get_running_loop().call_soon(self.endpoint.close)


class _ConnectedEndpoint(asyncio.DatagramTransport):
    """A connected UDP socket for code that names the address with every packet.

    Event loops differ: some refuse an address there, some hand it to the kernel, which does.
    """

    def __init__(self, endpoint: asyncio.DatagramTransport) -> None:
        super().__init__()
        self._endpoint = endpoint

    def sendto(self, data: Any, addr: Any = None) -> None:
        """Sends to where the socket is connected; never after its end."""
        del addr
        if not self._endpoint.is_closing():
            self._endpoint.sendto(data)


def _ask_for_certificate(quic: QuicConnection) -> None:
    """Makes the accepting side request the client's certificate once its TLS state exists."""
    initialize = quic._initialize

    def initialize_and_ask(peer_cid: bytes) -> None:
        initialize(peer_cid)
        quic.tls._request_client_certificate = True

    setattr(quic, "_initialize", initialize_and_ask)  # noqa: B010 (a method, for one instance)
