"""Channels over QUIC: one connection to each peer, one stream for each channel.

Owns UDP sockets and QUIC connections. Never knows a frame. A snapshot and the messages share the
congestion window but do not wait for each other's lost packets.

aioquic asks a client for its certificate only when told so by an attribute that it does not
document, and leaves the chain to be checked by us. Both happen in `_MemberProtocol`; the contract
suite's tests with a missing and with a foreign certificate guard it over upgrades.

Source: RFC 9000 (streams, flow control), RFC 9001 (TLS), RFC 8446 section 4.3.2 (client
certificates).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from aioquic import tls
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import QuicServer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from cryptography.hazmat.primitives.serialization import Encoding

from neuro.checks import check
from neuro.cluster.ca import (
    CertificateError,
    TlsFiles,
    make_client_context,
    make_server_context,
    read_identity,
)
from neuro.cluster.transport.channel import UNSENT_BYTES_MAX, Channel, ChannelOwner
from neuro.cluster.transport.errors import PeerRefused
from neuro.cluster.transport.settings import TransportSettings
from neuro.raft import NodeId
from neuro.units import Address

ALPN: Final = "neurocache-raft/1"
WINDOW_BYTES: Final = 4 << 20
"""What a peer may send unacknowledged by the application, on a stream and in all."""
SOCKET_BUFFER_BYTES: Final = 4 << 20
"""A burst that the kernel drops costs a round trip; the system may allow less."""
DATAGRAM_BYTES: Final = 1_200
"""The size every path carries (RFC 9000 section 14)."""
STREAM_ERROR_ABORTED: Final = 1


class QuicChannel:
    """One bidirectional stream."""

    def __init__(self, protocol: _MemberProtocol, stream_id: int, peer: NodeId) -> None:
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


class _MemberProtocol(QuicConnectionProtocol):
    """One QUIC connection, with the identity at its other end and its channels."""

    def __init__(
        self,
        quic: QuicConnection,
        stream_handler: Any = None,
        *,
        carrier: QuicCarrier,
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


class QuicCarrier:
    """Listens on one UDP port, and keeps one connection to each peer it talks to."""

    def __init__(self, settings: TransportSettings, files: TlsFiles) -> None:
        """Loads the certificates.

        Raises:
            CertificateError: a file can not be used.
        """
        self._settings = settings
        self._files = files
        self._ca = _read_all(files)
        self._accept: Callable[[Channel], ChannelOwner] | None = None
        self._server: QuicServer | None = None
        self._pool: dict[NodeId, tuple[Address, _MemberProtocol]] = {}
        self._opening: dict[NodeId, asyncio.Lock] = {}
        self.connections: set[_MemberProtocol] = set()

    async def listen(self, accept: Callable[[Channel], ChannelOwner]) -> Address:
        """Begins to take connections; where.

        Raises:
            OSError: the address can not be used.
        """
        self._accept = accept
        bind = self._settings.bind
        loop = asyncio.get_running_loop()
        endpoint, self._server = await loop.create_datagram_endpoint(
            lambda: QuicServer(
                configuration=self._configure(is_client=False), create_protocol=self._make_protocol
            ),
            local_addr=(bind.host, bind.port),
        )
        _widen(endpoint)
        host, port = endpoint.get_extra_info("sockname")[:2]
        return Address(host, port)

    async def open(self, address: Address, peer: NodeId, owner: ChannelOwner) -> Channel:
        """A stream on the connection to that peer, which is made if there is none.

        Raises:
            OSError: nobody answers there.
            PeerRefused: its certificate is another node's, or it refuses ours.
        """
        async with self._opening.setdefault(peer, asyncio.Lock()):
            kept = self._pool.get(peer)
            if kept is not None and (kept[0] != address or kept[1].is_over):
                self.forget(peer)
                kept = None
            if kept is None:
                kept = address, await self._connect(address, peer)
                self._pool[peer] = kept
        return kept[1].open_channel(owner)

    def forget(self, peer: NodeId) -> None:
        """Closes the connection to that peer."""
        kept = self._pool.pop(peer, None)
        if kept is not None:
            kept[1].end("not needed any more")

    async def close(self) -> None:
        """Ends every connection and stops listening."""
        for connection in tuple(self.connections):
            connection.end("closing")
        # Closing packets leave at the end of this turn of the loop.
        await asyncio.sleep(0)
        if self._server is not None:
            self._server.close()

    def accept(self, channel: QuicChannel) -> ChannelOwner:
        """The owner of a stream that a peer opened."""
        check(self._accept is not None, "streams come to a listener")
        return cast("Callable[[Channel], ChannelOwner]", self._accept)(channel)

    def drop(self, connection: _MemberProtocol) -> None:
        """Forgets a connection that is over."""
        kept = self._pool.get(connection.peer)
        if kept is not None and kept[1] is connection:
            del self._pool[connection.peer]

    def read_peer(self, quic: QuicConnection) -> NodeId:
        """The node that the other side has proven to be.

        Raises:
            PeerRefused: no certificate, a foreign one, or a client's.
        """
        certificate = quic.tls._peer_certificate
        if certificate is None:
            raise PeerRefused("the peer showed no certificate", reason="certificate")
        try:
            tls.verify_certificate(
                certificate=certificate,
                chain=quic.tls._peer_certificate_chain,
                cadata=self._ca,
            )
            identity = read_identity(certificate.public_bytes(Encoding.DER))
        except (tls.Alert, CertificateError) as error:
            raise PeerRefused(
                f"the certificate is refused: {error}", reason="certificate"
            ) from error
        if not identity.node:
            raise PeerRefused("the certificate is a client's", reason="certificate")
        return identity.node

    async def _connect(self, address: Address, peer: NodeId) -> _MemberProtocol:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
        family, _, _, _, remote = found[0]
        quic = QuicConnection(configuration=self._configure(is_client=True))
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            # A connected socket learns from ICMP that nobody listens.
            sock.connect(remote)
            endpoint, protocol = await loop.create_datagram_endpoint(
                lambda: self._make_protocol(quic), sock=sock
            )
        except BaseException:
            sock.close()
            raise
        protocol.endpoint = endpoint
        _widen(endpoint)
        is_ready = False
        try:
            protocol.connect(remote)
            await protocol.wait_connected()
            is_ready = not protocol.is_over and protocol.peer == peer
        except ConnectionError as error:
            reason = protocol.refusal
            if not protocol.is_stranger:
                raise ConnectionError(reason or "the QUIC handshake failed") from error
        finally:
            if not is_ready:
                protocol.end("not the peer that was wanted")
        if not is_ready:
            text = protocol.refusal or f"the certificate is of node {protocol.peer}"
            raise PeerRefused(
                f"`{address}` is not node {peer}: {text}", reason="certificate", peer=peer
            )
        protocol.keep_alive(self._settings.limits.idle_timeout_ms / 3_000)
        return protocol

    def _make_protocol(self, quic: QuicConnection, stream_handler: Any = None) -> _MemberProtocol:
        return _MemberProtocol(quic, stream_handler, carrier=self)

    def _configure(self, *, is_client: bool) -> QuicConfiguration:
        configuration = QuicConfiguration(
            alpn_protocols=[ALPN],
            is_client=is_client,
            idle_timeout=self._settings.limits.idle_timeout_ms / 1_000,
            max_data=WINDOW_BYTES,
            max_stream_data=WINDOW_BYTES,
            max_datagram_size=DATAGRAM_BYTES,
            verify_mode=ssl.CERT_REQUIRED,
            cadata=self._ca,
        )
        configuration.load_cert_chain(self._files.certificate, self._files.key)
        return configuration


def _ask_for_certificate(quic: QuicConnection) -> None:
    """Makes the accepting side request the client's certificate once its TLS state exists."""
    initialize = quic._initialize

    def initialize_and_ask(peer_cid: bytes) -> None:
        initialize(peer_cid)
        quic.tls._request_client_certificate = True

    setattr(quic, "_initialize", initialize_and_ask)  # noqa: B010 (a method, for one instance)


def _read_all(files: TlsFiles) -> bytes:
    """Checks that the three files fit, with OpenSSL's own checks; the authority's bytes."""
    make_server_context(files)
    make_client_context(files)
    return files.ca.read_bytes()


def _widen(endpoint: asyncio.DatagramTransport) -> None:
    sock = endpoint.get_extra_info("socket")
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
