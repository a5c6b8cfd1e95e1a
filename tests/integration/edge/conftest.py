"""A real engine and slab in front of an origin that the test programs, and a client of raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
import uvloop

from neuro.clock import SystemClock
from neuro.edge.service import EdgeService
from neuro.edge.settings import (
    EdgeLimits,
    EdgeSettings,
    ListenSettings,
    ObjectApiSettings,
    OriginSettings,
    SiteSettings,
    UpstreamTimeouts,
)
from neuro.native import Slab
from neuro.store import ObjectStore

MIB = 1 << 20
Answer = Callable[["OriginRequest"], Awaitable[None]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


@dataclass
class OriginRequest:
    """One request as the origin got it."""

    method: bytes
    target: bytes
    lines: list[tuple[bytes, bytes]]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def get(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.lines if key.lower() == name.lower()), None)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"", *lines: bytes, status: bytes = b"200 OK") -> None:
        head = b"".join(line + b"\r\n" for line in lines)
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        data = b"" if self.method == b"HEAD" else body
        await self.send(b"HTTP/1.1 " + status + b"\r\n" + head + length + data)

    async def read_body(self) -> bytes:
        length = self.get(b"content-length")
        if length is not None:
            return await self.reader.readexactly(int(length))
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return body

    def cut(self) -> None:
        self.writer.transport.abort()


class Origin:
    """A programmable origin: one coroutine for each path."""

    def __init__(self) -> None:
        self.paths: dict[bytes, Answer] = {}
        self.counts: Counter[bytes] = Counter()
        self.requests: list[OriginRequest] = []
        self.connection_count = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    def on(self, path: bytes) -> Callable[[Answer], Answer]:
        def register(answer: Answer) -> Answer:
            self.paths[path] = answer
            return answer

        return register

    def gives(self, path: bytes, body: bytes, *lines: bytes, status: bytes = b"200 OK") -> None:
        @self.on(path)
        async def answer(request: OriginRequest) -> None:
            await request.answer(body, *lines, status=status)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *rest = head[:-4].split(b"\r\n")
                method, target, _ = first.split(b" ")
                lines = [tuple(line.split(b": ", 1)) for line in rest]
                request = OriginRequest(method, target, lines, reader, writer)  # type: ignore[arg-type]
                self.counts[target] += 1
                self.requests.append(request)
                await self.paths[target.partition(b"?")[0]](request)
        except (asyncio.IncompleteReadError, ConnectionError, KeyError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


@dataclass
class Reply:
    """What a client got; `is_whole` is False where the connection broke before the end."""

    status: int
    lines: list[tuple[bytes, bytes]]
    body: bytes = b""
    is_whole: bool = False
    informed: list[int] = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        found = [value for key, value in self.lines if key.lower() == name.lower()]
        assert len(found) <= 1, f"{name!r} came {len(found)} times"
        return found[0] if found else None

    @property
    def cache_status(self) -> bytes:
        return self.get(b"cache-status") or b""


def _host_line(target: bytes) -> bytes:
    """Objects are written by a client that names this machine; sites have a name of their own."""
    return b"Host: localhost" if target.startswith(b"/cache/") else b"Host: site.test"


class Client:
    """One raw connection to the edge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(
        self, method: bytes, target: bytes, lines: Iterable[bytes] = (), body: bytes = b""
    ) -> None:
        head = [method + b" " + target + b" HTTP/1.1", _host_line(target), *lines]
        if body:
            head.append(b"Content-Length: %d" % len(body))
        self.writer.write(b"\r\n".join(head) + b"\r\n\r\n" + body)

    async def read_head(self) -> Reply:
        informed: list[int] = []
        while True:
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *rest = head[:-4].split(b"\r\n")
            status = int(first.split(b" ")[1])
            if status >= 200:
                lines = [tuple(line.split(b": ", 1)) for line in rest]
                return Reply(status, lines, informed=informed)  # type: ignore[arg-type]
            informed.append(status)

    async def read(self, method: bytes = b"GET") -> Reply:
        reply = await self.read_head()
        if method == b"HEAD" or reply.status in (204, 304):
            reply.is_whole = True
            return reply
        await self.read_body(reply)
        return reply

    async def read_body(self, reply: Reply) -> None:
        """Reads on until the end of the body, or until it breaks off."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await self._read_body(reply)
            reply.is_whole = True

    async def _read_body(self, reply: Reply) -> None:
        length = reply.get(b"content-length")
        if length is not None:
            while len(reply.body) < int(length):
                data = await self.reader.read(min(MIB, int(length) - len(reply.body)))
                if not data:
                    raise ConnectionError
                reply.body += data
            return
        assert reply.get(b"transfer-encoding") == b"chunked"
        parts = []
        try:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                parts.append(await self.reader.readexactly(size))
                assert await self.reader.readexactly(2) == b"\r\n"
            assert await self.reader.readexactly(2) == b"\r\n"
        finally:
            reply.body = b"".join(parts)

    def close(self) -> None:
        """Resets the connection: a plain end of stream might be a client that still reads."""
        known = self.writer.get_extra_info("socket")
        known.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Edge:
    """A running edge and ways to talk to it."""

    def __init__(self, service: EdgeService, slab: Slab) -> None:
        self.service = service
        self.slab = slab

    async def connect(self, **options: Any) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.service.port, **options))

    async def ask(self, method: bytes, target: bytes, *lines: bytes, body: bytes = b"") -> Reply:
        client = await self.connect()
        try:
            client.send(method, target, lines, body)
            async with asyncio.timeout(20):
                return await client.read(method)
        finally:
            client.close()

    async def get(self, target: bytes, *lines: bytes) -> Reply:
        return await self.ask(b"GET", target, *lines)


@contextlib.asynccontextmanager
async def run_edge(
    origin_url: str | None,
    *,
    arena_bytes: int = 64 * MIB,
    object_bytes_max: int = 16 * MIB,
    timeouts: UpstreamTimeouts | None = None,
    limits: EdgeLimits | None = None,
    object_api: ObjectApiSettings | None = None,
    **site_options: Any,
) -> AsyncIterator[Edge]:
    slab = Slab(arena_bytes, object_bytes_max=object_bytes_max)
    sites: tuple[SiteSettings, ...] = ()
    if origin_url is not None:
        timeouts = timeouts or UpstreamTimeouts(2_000, 2_000, 2_000, 5_000)
        origin_settings = OriginSettings(origin_url, timeouts=timeouts)
        site_options.setdefault("object_bytes_max", object_bytes_max)
        sites = (SiteSettings(origin_settings, **site_options),)
    settings = EdgeSettings(
        listen=ListenSettings(port=0),
        sites=sites,
        limits=limits or EdgeLimits(),
        object_api=object_api or ObjectApiSettings(object_bytes_max=object_bytes_max),
    )
    service = EdgeService(settings, ObjectStore(slab), clock=SystemClock())
    await service.start()
    try:
        yield Edge(service, slab)
    finally:
        await service.stop()
        slab.close()  # raises where a pin was lost


@pytest_asyncio.fixture
async def origin() -> AsyncIterator[Origin]:
    server = Origin()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def edge(origin: Origin) -> AsyncIterator[Edge]:
    async with run_edge(origin.url) as running:
        yield running


@pytest.fixture
def start_edge() -> Callable[..., contextlib.AbstractAsyncContextManager[Edge]]:
    """For tests that need their own settings."""
    return run_edge


async def poll_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits for a condition, with a deadline."""
    return poll_until
