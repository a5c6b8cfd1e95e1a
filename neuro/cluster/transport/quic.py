"""Channels over QUIC: one connection to each peer, one stream for each channel.

Owns UDP sockets and QUIC connections. Never knows a frame. A snapshot and the messages share the
congestion window but do not wait for each other's lost packets.

Source: RFC 9000 (streams, flow control), RFC 9001 (TLS), RFC 8446 section 4.3.2 (client
certificates).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

from aioquic import tls
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography.hazmat.primitives.serialization import Encoding

from neuro.checks import check
from neuro.cluster.ca import (
    CertificateError,
    TlsFiles,
    make_client_context,
    make_server_context,
    read_identity,
)
from neuro.cluster.transport.channel import Channel, ChannelOwner
from neuro.cluster.transport.errors import PeerRefused
from neuro.cluster.transport.quic_connection import MemberConnection, QuicChannel
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
        self._pool: dict[NodeId, tuple[Address, MemberConnection]] = {}
        self._opening: dict[NodeId, asyncio.Lock] = {}
        self.connections: set[MemberConnection] = set()

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

    def drop(self, connection: MemberConnection) -> None:
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

    async def _connect(self, address: Address, peer: NodeId) -> MemberConnection:
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

    def _make_protocol(self, quic: QuicConnection, stream_handler: Any = None) -> MemberConnection:
        return MemberConnection(quic, stream_handler, carrier=self)

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


def _read_all(files: TlsFiles) -> bytes:
    """Checks that the three files fit, with OpenSSL's own checks; the authority's bytes."""
    make_server_context(files)
    make_client_context(files)
    return files.ca.read_bytes()


def _widen(endpoint: asyncio.DatagramTransport) -> None:
    sock = endpoint.get_extra_info("socket")
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
