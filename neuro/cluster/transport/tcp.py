"""Channels over TCP, with mutual TLS where certificates are given.

Owns sockets and TLS. Never knows a frame. A connection whose bytes stay unacknowledged is ended by
the kernel (TCP_USER_TIMEOUT): without it a cut cable would go unnoticed for a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import cast

from neuro.cluster.ca import (
    CertificateError,
    make_client_context,
    make_server_context,
    read_identity,
)
from neuro.cluster.transport.channel import UNSENT_BYTES_MAX, Channel, ChannelOwner
from neuro.cluster.transport.errors import PeerRefused
from neuro.cluster.transport.settings import TransportSettings
from neuro.raft import NodeId
from neuro.units import Address

LISTEN_BACKLOG = 128


class TcpChannel(asyncio.Protocol):
    """One connection, seen from either end."""

    def __init__(
        self, settings: TransportSettings, find_owner: Callable[[TcpChannel], ChannelOwner]
    ) -> None:
        self._settings = settings
        self._find_owner = find_owner
        self._owner: ChannelOwner | None = None
        self._transport: asyncio.Transport | None = None
        self._peer: NodeId | None = None
        self._is_full = False
        self.refusal = ""
        self.on_closed: Callable[[TcpChannel], None] | None = None

    @property
    def peer(self) -> NodeId | None:
        """The node in the other side's certificate; None in plaintext."""
        return self._peer

    @property
    def is_full(self) -> bool:
        """Whether too much is unsent."""
        return self._is_full

    def write(self, data: bytes) -> None:
        """Sends, or buffers."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self) -> None:
        """Closes when everything was sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes now."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, TLS included; who is there is looked up before anything else."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        _tune(self._transport.get_extra_info("socket"), self._settings.limits.idle_timeout_ms)
        if self._settings.tls is not None:
            tls = self._transport.get_extra_info("ssl_object")
            try:
                self._peer = read_identity(tls.getpeercert(binary_form=True) or b"").node
            except CertificateError as error:
                self.refusal = error.message
            if not self._peer:
                self.refusal = self.refusal or "the certificate is a client's"
                self._transport.abort()
                return
        self._owner = self._find_owner(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the other side."""
        if self._owner is not None and self._transport and not self._transport.is_closing():
            self._owner.data_arrived(data)

    def pause_writing(self) -> None:
        """The buffer passed its mark."""
        self._is_full = True

    def resume_writing(self) -> None:
        """The buffer has room."""
        self._is_full = False
        if self._owner is not None:
            self._owner.room_returned()

    def connection_lost(self, error: Exception | None) -> None:
        """It is over."""
        if self.on_closed is not None:
            self.on_closed(self)
        if self._owner is not None:
            self._owner.channel_closed(str(error) if error else "closed")


class TcpCarrier:
    """Listens and connects; the contexts are loaded once, at the start."""

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        tls = settings.tls
        self._server_context = make_server_context(tls) if tls is not None else None
        self._client_context = make_client_context(tls) if tls is not None else None
        self._server: asyncio.Server | None = None
        self._channels: set[TcpChannel] = set()

    async def listen(self, accept: Callable[[Channel], ChannelOwner]) -> Address:
        """Begins to take connections; where.

        Raises:
            OSError: the address can not be used.
        """
        bind = self._settings.bind
        handshake_s = self._settings.limits.connect_timeout_ms / 1_000
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._make_channel(accept),
            bind.host,
            bind.port,
            backlog=LISTEN_BACKLOG,
            ssl=self._server_context,
            ssl_handshake_timeout=handshake_s if self._server_context else None,
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def open(self, address: Address, peer: NodeId, owner: ChannelOwner) -> Channel:
        """Connects, and makes sure that the peer is who it should be.

        Raises:
            OSError: nobody answers there, or TLS failed.
            PeerRefused: its certificate is another node's.
        """
        loop = asyncio.get_running_loop()
        try:
            _, channel = await loop.create_connection(
                lambda: self._make_channel(lambda _: owner),
                address.host,
                address.port,
                ssl=self._client_context,
            )
        except ssl.SSLError as error:
            raise PeerRefused(
                f"TLS with node {peer} failed: {error}", reason="certificate", peer=peer
            ) from error
        if channel.refusal or (channel.peer is not None and channel.peer != peer):
            channel.abort()
            text = channel.refusal or f"the certificate is of node {channel.peer}"
            raise PeerRefused(
                f"`{address}` is not node {peer}: {text}", reason="certificate", peer=peer
            )
        return channel

    def forget(self, peer: NodeId) -> None:
        """Nothing is kept: every channel is a connection of its own."""

    async def close(self) -> None:
        """Stops listening and ends every connection."""
        if self._server is not None:
            self._server.close()
        for channel in tuple(self._channels):
            channel.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def _make_channel(self, find_owner: Callable[[TcpChannel], ChannelOwner]) -> TcpChannel:
        channel = TcpChannel(self._settings, find_owner)
        channel.on_closed = self._channels.discard
        self._channels.add(channel)
        return channel


def _tune(sock: socket.socket, idle_timeout_ms: int) -> None:
    """Small frames leave at once, and a dead peer is noticed, also when nothing is being sent."""
    seconds = max(1, idle_timeout_ms // 2_000)
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, seconds),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, idle_timeout_ms),
    ):
        # A socket that is closed already is reported by `connection_lost`.
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, value)
