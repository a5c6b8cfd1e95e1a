"""Bodies on their way to and from an origin: streamed, held back, stopped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from neuro.edge.upstream import UpstreamRequest
from tests.unit.edge.origin_asking import OK, fetch, get, make_pool, pieces

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_streamed_body_arrives_chunked_and_whole(origin: Any) -> None:
    received = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await origin.read_head(reader)
        while not received.endswith(b"0\r\n\r\n"):
            received.extend(await reader.read(65_536))
        writer.write(OK)
        await reader.read()

    origin.scripts.append(script)
    pool = make_pool(origin)
    request = UpstreamRequest(
        b"POST",
        b"/",
        [(b"Host", b"o"), (b"Transfer-Encoding", b"chunked")],
        body=pieces(b"one", b"two"),
    )
    assert await fetch(pool, request) == (200, b"hello", True)
    assert bytes(received) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    pool.close()


async def test_early_answer_stops_the_upload(origin: Any) -> None:
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b"x" * 65_536
            await asyncio.sleep(0)

    origin.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    pool = make_pool(origin)
    request = UpstreamRequest(
        b"POST", b"/", [(b"Host", b"o"), (b"Transfer-Encoding", b"chunked")], body=endless()
    )
    assert await fetch(pool, request) == (413, b"", True)
    before = asked
    for _ in range(20):
        await asyncio.sleep(0)
    assert asked <= before + 1
    assert pool.stats.connections_idle == 0
    pool.close()


async def test_expected_continue_holds_the_body_back(origin: Any) -> None:
    started = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        started.set()
        yield b"data"

    origin.says(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
    pool = make_pool(origin)
    request = UpstreamRequest(
        b"POST",
        b"/",
        [(b"Host", b"o"), (b"Content-Length", b"4"), (b"Expect", b"100-continue")],
        body=body(),
        expects_continue=True,
    )
    assert (await fetch(pool, request))[0] == 417
    assert not started.is_set()
    pool.close()


async def test_slow_reader_holds_the_origin_back(origin: Any) -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await origin.read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
        for _ in range(1_600):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    origin.scripts.append(script)
    pool = make_pool(origin)
    response = await pool.fetch(get())
    last = -1
    while last != sent:  # until the origin cannot send any more
        last = sent
        await asyncio.sleep(0.1)
    assert sent < 32 << 20
    assert len(await response.read()) <= 1 << 20
    response.close()
    pool.close()


async def test_informational_answers_are_passed_on(origin: Any) -> None:
    seen: list[tuple[int, list[tuple[bytes, bytes]]]] = []
    origin.says(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)
    pool = make_pool(origin)
    request = get(on_informational=lambda status, lines: seen.append((status, list(lines))))
    await fetch(pool, request)
    assert seen == [(103, [(b"Link", b"</a.css>")])]
    pool.close()
