"""Connections to one origin, and the retries over them.

Owns: the keep-alive pool, its bounds, connecting (TCP and TLS), the rule of when a request may be
sent again. Never: redirects (the client gets them), choosing an origin, caching. The address comes
from the configuration only, never from a request (RFC 9110 section 7.7 leaves no room for more).
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections import deque
from typing import TYPE_CHECKING

from neuro.edge.upstream import OriginConnection, UpstreamRequest, UpstreamResponse
from neuro.edge.upstream_stats import UpstreamStats
from neuro.errors import UpstreamBusy, UpstreamConnectError, UpstreamError, UpstreamTimeout

if TYPE_CHECKING:
    from neuro.edge.settings import OriginSettings

WAITERS_MAX = 4_096
"""Requests that may wait for a free connection; as many as the engine hands over at once."""

FRESH_IDLE_S = 1.0
"""A request that cannot be repeated takes only a connection that was idle for less than this: the
chance that the origin is closing it at this very moment is then small."""

SWEEP_INTERVAL_S = 1.0


class OriginPool:
    """All connections to one origin."""

    def __init__(self, settings: OriginSettings) -> None:
        self.settings = settings
        self.stats = UpstreamStats()
        self._idle: deque[OriginConnection] = deque()  # newest last
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._open_count = 0  # connecting ones included
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def fetch(self, request: UpstreamRequest) -> UpstreamResponse:
        """The origin's answer, its body still unread.

        A failed connect is repeated for every request, a connection that died before any byte of an
        answer only for requests that may be sent twice; at most `retries_max` times in all.

        Raises:
            UpstreamError: every attempt failed; the last failure.
        """
        self.stats.requests += 1
        started_s = asyncio.get_running_loop().time()
        attempts_left = self.settings.retries_max
        while True:
            try:
                response = await self._attempt(request)
            except UpstreamError as error:
                self.stats.count_error(error.code)
                is_unsent = isinstance(error, UpstreamConnectError)
                may_repeat = is_unsent or (error.is_retryable and request.is_retryable)
                if not may_repeat or attempts_left == 0 or self._is_closed:
                    raise
                attempts_left -= 1
                self.stats.retries += 1
                continue
            elapsed_s = asyncio.get_running_loop().time() - started_s
            self.stats.record_first_byte(int(elapsed_s * 1_000_000))
            self.stats.status_class[min(response.head.status // 100, 5)] += 1
            return response

    def close(self) -> None:
        """Closes idle connections and refuses new ones; exchanges in flight end by themselves."""
        self._is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        while self._idle:
            self._idle.pop().close()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(UpstreamBusy("shutting down", origin=self.settings.url))

    # ------------------------------------------------------------- helpers

    async def _attempt(self, request: UpstreamRequest) -> UpstreamResponse:
        connection = await self._acquire(is_repeatable=request.is_retryable)
        if connection.is_reused:
            self.stats.reused += 1
        return await connection.exchange(request)

    async def _acquire(self, *, is_repeatable: bool) -> OriginConnection:
        while True:
            connection = self._take_idle(is_repeatable=is_repeatable)
            if connection is not None:
                return connection
            if self._open_count < self.settings.connections_max:
                return await self._connect()
            if self._idle:  # only too old for this request: make room
                self._idle.popleft().close()
            await self._wait_for_room()

    def _take_idle(self, *, is_repeatable: bool) -> OriginConnection | None:
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle[-1]
            if not connection.is_usable:
                self._idle.pop()
            elif not is_repeatable and now_s - connection.idle_since_s > FRESH_IDLE_S:
                return None
            else:
                self._idle.pop()
                self.stats.connections_idle = len(self._idle)
                return connection
        self.stats.connections_idle = 0
        return None

    async def _wait_for_room(self) -> None:
        limit = self.settings.connections_max
        busy = UpstreamBusy(
            f"all {limit} connections to {self.settings.url} are in use",
            origin=self.settings.url,
            limit=limit,
        )
        if len(self._waiters) >= WAITERS_MAX or self._is_closed:
            raise busy
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self.settings.timeouts.connect_ms / 1_000):
                await waiter
        except TimeoutError:
            raise busy from None
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake_waiter()  # the room was given to us: hand it on
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    async def _connect(self) -> OriginConnection:
        settings = self.settings
        self._open_count += 1
        self.stats.connections_open = self._open_count
        connection: OriginConnection | None = None
        try:
            async with asyncio.timeout(settings.timeouts.connect_ms / 1_000):
                _, connection = await asyncio.get_running_loop().create_connection(
                    self._make_connection,
                    settings.host,
                    settings.port,
                    ssl=self._ssl_context,
                    server_hostname=self._server_name,
                )
        except TimeoutError:
            raise UpstreamTimeout(
                f"no connection to {settings.url} within {settings.timeouts.connect_ms} ms",
                origin=settings.url,
                phase="connect",
                timeout_ms=settings.timeouts.connect_ms,
            ) from None
        except OSError as error:  # refused, unreachable, unknown name, TLS refused
            raise UpstreamConnectError(
                f"cannot connect to {settings.url}: {error}", origin=settings.url
            ) from error
        finally:
            if connection is None:
                self._count_lost()
        connection.is_counted = True
        if connection.is_lost:
            self._on_lost(connection)
        self.stats.connects += 1
        return connection

    def _make_connection(self) -> OriginConnection:
        return OriginConnection(self.settings, self.stats, self._on_idle, self._on_lost)

    @functools.cached_property
    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self.settings.is_tls:
            return None
        context = ssl.create_default_context(cafile=self.settings.tls_ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context

    @property
    def _server_name(self) -> str | None:
        return self.settings.host if self.settings.is_tls else None

    def _on_idle(self, connection: OriginConnection) -> None:
        if self._is_closed or len(self._idle) >= self.settings.idle_connections_max:
            connection.close()
            return
        self._idle.append(connection)
        self.stats.connections_idle = len(self._idle)
        self._wake_waiter()
        if self._sweeper is None:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(SWEEP_INTERVAL_S, self._sweep)

    def _on_lost(self, connection: OriginConnection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
            self.stats.connections_idle = len(self._idle)
        if connection.is_counted:
            connection.is_counted = False
            self._count_lost()

    def _count_lost(self) -> None:
        self._open_count -= 1
        self.stats.connections_open = self._open_count
        self._wake_waiter()

    def _wake_waiter(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _sweep(self) -> None:
        """Closes what was idle for too long, oldest first."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        oldest_s = loop.time() - self.settings.timeouts.idle_ms / 1_000
        while self._idle and self._idle[0].idle_since_s <= oldest_s:
            self._idle.popleft().close()
        self.stats.connections_idle = len(self._idle)
        if self._idle:
            self._sweeper = loop.call_later(SWEEP_INTERVAL_S, self._sweep)
