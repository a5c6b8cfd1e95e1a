"""One connection to an origin, one exchange at a time.

Owns: the transport, back-pressure in both directions, the deadlines of an exchange. Never: choosing
connections, retries (upstream_pool.py), HTTP syntax (origin_codec.py).

A connection is reused only when everything about the last exchange was clean; whoever has a doubt
closes it. An idle connection on which the origin speaks is closed at once: those bytes would be
taken for the answer to the next request.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuro.edge.origin_codec import FieldLines, OriginCodec, ResponseHead
from neuro.errors import (
    NeuroCacheError,
    UpstreamClosed,
    UpstreamConnectError,
    UpstreamError,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from neuro.edge.settings import OriginSettings
    from neuro.edge.upstream_stats import UpstreamStats

READ_HIGH_BYTES = 262_144
"""Body bytes that may wait for the consumer before the origin is held back."""

EXPECT_CONTINUE_WAIT_S = 1.0
"""How long a body waits for 100 (Continue): for ever is forbidden (RFC 9110 section 10.1.1)."""


@dataclass(slots=True)
class UpstreamRequest:
    """A request as it goes to the origin: every field line final, Host and framing included."""

    method: bytes
    target: bytes
    fields: FieldLines
    body: AsyncIterator[bytes] | None = None
    expects_continue: bool = False
    on_informational: Callable[[int, FieldLines], None] | None = None

    @property
    def is_retryable(self) -> bool:
        """Whether it may be sent twice: idempotent (RFC 9110 section 9.2.2) and without a body."""
        return self.body is None and self.method in _IDEMPOTENT


_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})


class UpstreamResponse:
    """A response whose head has arrived. Read it to the end or close it, or it leaks."""

    __slots__ = ("_connection", "head", "is_clean")

    def __init__(self, connection: OriginConnection, head: ResponseHead) -> None:
        self._connection: OriginConnection | None = connection
        self.head = head
        self.is_clean = True  # False once the origin sent more than it announced

    async def read(self) -> bytes:
        """The next body bytes, b"" at the end.

        Raises:
            UpstreamTimeout, UpstreamClosed, UpstreamProtocolError: the body is not complete.
        """
        connection = self._connection
        if connection is None:
            return b""
        data = await connection.read_body()
        if not data:
            self.is_clean = not connection.has_extra_bytes
            self._connection = None
            connection.end_exchange()
        return data

    def close(self) -> None:
        """Gives up what has not been read; the connection is not used again. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


class OriginConnection(asyncio.Protocol):
    """The protocol of one socket; made by the pool."""

    def __init__(
        self,
        settings: OriginSettings,
        stats: UpstreamStats,
        on_idle: Callable[[OriginConnection], None],
        on_lost: Callable[[OriginConnection], None],
    ) -> None:
        self._settings = settings
        self._stats = stats
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._codec: OriginCodec | None = None
        self._failure: UpstreamError | None = None
        self._changed: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._continue = asyncio.Event()
        self._upload: asyncio.Task[None] | None = None
        self._is_write_paused = False
        self._is_read_paused = False
        self._is_closed = False
        self.is_reused = False
        self.is_lost = False  # connection_lost was called
        self.is_counted = False  # among the open connections of the pool
        self.idle_since_s = 0.0

    # ---------------------------------------------------------- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop gives the connected transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Bytes from the origin."""
        self._stats.bytes_received += len(data)
        codec = self._codec
        if codec is None:
            self._stats.unsolicited += 1
            self.close()
            return
        try:
            codec.receive(data)
        except UpstreamError as error:
            self._fail(error)
            return
        if codec.chunk_bytes >= READ_HIGH_BYTES and not self._is_read_paused:
            self._is_read_paused = True
            self._require_transport().pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The origin closed its side: that ends a body without length, and any connection."""
        if self._codec is not None:
            self._codec.receive_eof()
            self._wake()
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        """The socket is gone, for whatever reason."""
        self._is_closed = True
        self.is_lost = True
        codec = self._codec
        if codec is not None and not codec.is_done:
            self._fail(
                UpstreamClosed(
                    f"origin {self._settings.url} closed the connection before the end",
                    origin=self._settings.url,
                    received_bytes=codec.received_bytes,
                    is_retryable=codec.received_bytes == 0,
                )
            )
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """The socket's send buffer is full."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self._is_write_paused = False
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def close(self) -> None:
        """Cuts the connection now. Idempotent."""
        self._cancel_upload()
        self._is_closed = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_usable(self) -> bool:
        """Whether another exchange may start."""
        return (
            not self._is_closed
            and self._codec is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    @property
    def has_extra_bytes(self) -> bool:
        """Whether the origin sent more than the response it announced."""
        return self._codec is not None and self._codec.has_extra_bytes

    # ----------------------------------------------------------- exchange

    async def exchange(self, request: UpstreamRequest) -> UpstreamResponse:
        """Sends a request and waits for the head of its answer. Closes the connection on failure.

        Raises:
            UpstreamTimeout: phase `send` or `head`.
            UpstreamClosed, UpstreamProtocolError: no usable answer.
        """
        settings = self._settings
        if not self.is_usable:
            raise UpstreamClosed(
                f"origin {settings.url} closed the connection",
                origin=settings.url,
                is_retryable=True,
            )
        self._continue.clear()
        self._failure = None
        codec = self._codec = OriginCodec(
            origin=settings.url,
            head_bytes_max=settings.response_head_bytes_max,
            field_count_max=settings.response_field_count_max,
            on_informational=lambda status, fields: self._inform(request, status, fields),
        )
        try:
            head_bytes = codec.start(request.method, request.target, request.fields)
            if request.body is None:
                self._write(head_bytes + codec.end())
            else:
                self._write(head_bytes)
                self._upload = self._loop.create_task(self._send_body(request, request.body))
            while codec.head is None:
                await self._wait("head", settings.timeouts.first_byte_ms)
            return UpstreamResponse(self, codec.head)
        except BaseException:
            self.close()
            raise

    async def read_body(self) -> bytes:
        """What has arrived of the body, b"" at its end. Raises as UpstreamResponse.read does."""
        codec = self._codec
        if codec is None:
            return b""
        try:
            while not codec.chunks and not codec.is_done:
                await self._wait("body", self._settings.timeouts.between_bytes_ms)
        except BaseException:
            self.close()
            raise
        data = codec.take()
        if self._is_read_paused:
            self._is_read_paused = False
            if not self._is_closed:
                self._require_transport().resume_reading()
        return data

    def end_exchange(self) -> None:
        """The response was read to its end: back to the pool if all was clean, else closed."""
        codec, self._codec = self._codec, None
        if codec is not None and codec.may_reuse and not self._is_closed:
            self._upload = None
            self.idle_since_s = self._loop.time()
            self.is_reused = True
            self._on_idle(self)
        else:
            self.close()

    # ------------------------------------------------------------- helpers

    async def _send_body(self, request: UpstreamRequest, body: AsyncIterator[bytes]) -> None:
        codec = self._codec
        if codec is None:
            return
        try:
            if request.expects_continue:
                await self._wait_for_continue()
            async for data in body:
                self._write(codec.body(data))
                if self._is_write_paused:
                    await self._wait_until_writable()
            self._write(codec.end())
        except UpstreamError as error:
            self._fail(error)
        except NeuroCacheError as error:  # the client left: it waits for nothing any more
            self._fail(UpstreamClosed(f"request body failed: {error}", origin=self._settings.url))
        self._wake()

    async def _wait_for_continue(self) -> None:
        try:
            async with asyncio.timeout(EXPECT_CONTINUE_WAIT_S):
                await self._continue.wait()
        except TimeoutError:
            pass  # an origin that does not know 100-continue

    async def _wait_until_writable(self) -> None:
        timeout_ms = self._settings.timeouts.between_bytes_ms
        self._writable = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._writable
        except TimeoutError:
            raise self._timeout("send", timeout_ms) from None
        finally:
            self._writable = None
        if self._is_closed:
            raise UpstreamClosed(
                f"origin {self._settings.url} closed the connection", origin=self._settings.url
            )

    async def _wait(self, phase: str, timeout_ms: int) -> None:
        """Until something changed. A body still being sent stops the clock: `send` has its own."""
        if self._failure is not None:
            raise self._failure
        is_sending = self._upload is not None and not self._upload.done()
        self._changed = self._loop.create_future()
        try:
            async with asyncio.timeout(None if is_sending else timeout_ms / 1_000):
                await self._changed
        except TimeoutError:
            raise self._timeout(phase, timeout_ms) from None
        finally:
            self._changed = None
        if self._failure is not None:
            raise self._failure

    def _inform(self, request: UpstreamRequest, status: int, fields: FieldLines) -> None:
        if status == 100:
            self._continue.set()
        elif request.on_informational is not None:
            request.on_informational(status, fields)

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        """Ends the exchange; the first failure is the one that is told."""
        codec = self._codec
        if self._failure is None and codec is not None and not codec.is_done:
            self._failure = error
        self._wake()
        self.close()

    def _timeout(self, phase: str, timeout_ms: int) -> UpstreamTimeout:
        return UpstreamTimeout(
            f"origin {self._settings.url} took more than {timeout_ms} ms ({phase})",
            origin=self._settings.url,
            phase=phase,
            timeout_ms=timeout_ms,
        )

    def _write(self, data: bytes) -> None:
        self._stats.bytes_sent += len(data)
        self._require_transport().write(data)

    def _cancel_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None and not upload.done() and upload is not asyncio.current_task():
            upload.cancel()

    def _require_transport(self) -> asyncio.Transport:
        if self._transport is None:
            raise UpstreamConnectError("not connected", origin=self._settings.url)
        return self._transport
