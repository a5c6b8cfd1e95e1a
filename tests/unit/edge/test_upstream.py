"""The way to an origin: what is reused, what is retried, what is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from neuro.edge.settings import OriginSettings
from neuro.edge.upstream import UpstreamRequest
from neuro.edge.upstream_pool import OriginPool
from neuro.errors import (
    UpstreamBusy,
    UpstreamClosed,
    UpstreamConnectError,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from tests.unit.edge.origin_asking import FAST, OK, fetch, get, make_pool

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.asyncio


async def test_clean_connection_is_reused(origin: Any) -> None:
    origin.says(OK, OK, OK)
    pool = make_pool(origin)
    for _ in range(3):
        assert await fetch(pool) == (200, b"hello", True)
    assert origin.connection_count == 1
    assert (pool.stats.connects, pool.stats.reused, pool.stats.connections_idle) == (1, 2, 1)
    pool.close()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
            200,
            b"abcde",
        ),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, 200, b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 70\r\n\r\n", 304, b""),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
            302,
            b"",
        ),
    ],
)
async def test_valid_answers_leave_the_connection_usable(
    origin: Any, answer: bytes, status: int, body: bytes
) -> None:
    origin.says(answer, OK)
    pool = make_pool(origin)
    assert await fetch(pool) == (status, body, True)
    assert await fetch(pool) == (200, b"hello", True)
    assert origin.connection_count == 1
    pool.close()


async def test_answer_split_at_every_byte_reads_the_same(origin: Any) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"

    async def dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await origin.read_head(reader)
            for index in range(len(answer)):
                writer.write(answer[index : index + 1])
                await writer.drain()
                await asyncio.sleep(0)

    origin.scripts.append(dribble)
    pool = make_pool(origin)
    assert await fetch(pool) == (200, b"abc", True)
    assert await fetch(pool) == (200, b"abc", True)
    assert origin.connection_count == 1
    pool.close()


async def test_body_until_close_is_complete_at_close_and_not_reused(origin: Any) -> None:
    origin.says(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", close=True)
    pool = make_pool(origin)
    assert await fetch(pool) == (200, b"until the end", True)
    assert pool.stats.connections_idle == 0
    pool.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 201 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + OK,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
async def test_broken_answer_is_an_error_and_drops_the_connection(
    origin: Any, answer: bytes
) -> None:
    origin.says(answer)
    pool = make_pool(origin)
    with pytest.raises(UpstreamProtocolError):
        await fetch(pool)
    assert origin.connection_count == 1
    assert pool.stats.errors == {"upstream_protocol": 1}
    assert pool.stats.connections_idle == 0
    pool.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 21 + b"\r\n",
    ],
)
async def test_broken_chunks_fail_the_body(origin: Any, answer: bytes) -> None:
    origin.says(answer)
    pool = make_pool(origin)
    with pytest.raises(UpstreamProtocolError):
        await fetch(pool)
    pool.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
    ],
)
async def test_premature_close_is_seen(origin: Any, answer: bytes) -> None:
    origin.says(answer, close=True)
    pool = make_pool(origin)
    with pytest.raises((UpstreamClosed, UpstreamProtocolError)):
        await fetch(pool)
    assert origin.connection_count == 1
    pool.close()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", 200),
        (b"HTTP/1.1 304 Not Modified\r\n\r\npoison", 304),
        (b"HTTP/1.1 204 No Content\r\n\r\npoison", 204),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\npoison",
            200,
        ),
    ],
)
async def test_extra_bytes_make_the_answer_unclean_and_drop_the_connection(
    origin: Any, answer: bytes, status: int
) -> None:
    origin.says(answer)
    origin.says(OK)
    pool = make_pool(origin)
    got, body, is_clean = await fetch(pool)
    assert (got, is_clean) == (status, False)
    assert b"poison" not in body
    assert await fetch(pool) == (200, b"hello", True)
    assert origin.connection_count == 2
    pool.close()


async def test_idle_connection_on_which_the_origin_speaks_is_dropped(origin: Any) -> None:
    release = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await origin.read_head(reader)
        writer.write(OK)
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await reader.read()

    origin.scripts.append(script)
    origin.says(OK)
    pool = make_pool(origin)
    assert await fetch(pool) == (200, b"hello", True)
    release.set()
    async with asyncio.timeout(5):
        while pool.stats.unsolicited == 0:
            await asyncio.sleep(0.005)
    assert await fetch(pool) == (200, b"hello", True)
    assert origin.connection_count == 2
    pool.close()


async def test_reused_connection_that_died_is_retried_for_get(origin: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await origin.read_head(reader)
        writer.write(OK)
        await origin.read_head(reader)  # the second request is swallowed

    origin.scripts.append(script)
    origin.says(OK)
    pool = make_pool(origin)
    assert await fetch(pool) == (200, b"hello", True)
    assert await fetch(pool) == (200, b"hello", True)
    assert (origin.connection_count, pool.stats.retries) == (2, 1)
    pool.close()


async def test_post_is_never_sent_twice(origin: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await origin.read_head(reader)

    origin.scripts.append(script)
    pool = make_pool(origin)
    with pytest.raises(UpstreamClosed):
        await fetch(pool, UpstreamRequest(b"POST", b"/", [(b"Host", b"o")]))
    assert origin.connection_count == 1
    pool.close()


async def test_retries_are_bounded(origin: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await origin.read_head(reader)

    origin.scripts.append(script)
    pool = make_pool(origin, retries_max=2)
    with pytest.raises(UpstreamClosed):
        await fetch(pool)
    assert origin.connection_count == 3
    pool.close()


async def test_silent_origin_runs_into_the_head_deadline(origin: Any) -> None:
    origin.says(b"")
    pool = make_pool(origin)
    with pytest.raises(UpstreamTimeout) as caught:
        await fetch(pool)
    assert caught.value.phase == "head"
    pool.close()


async def test_stalled_body_runs_into_the_body_deadline(origin: Any) -> None:
    origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    pool = make_pool(origin)
    with pytest.raises(UpstreamTimeout) as caught:
        await fetch(pool)
    assert caught.value.phase == "body"
    pool.close()


async def test_refused_connection_is_retried_then_told() -> None:
    pool = OriginPool(OriginSettings(url="http://127.0.0.1:1", timeouts=FAST))
    with pytest.raises(UpstreamConnectError):
        await fetch(pool)
    assert pool.stats.retries == 2
    assert pool.stats.connections_open == 0


async def test_connection_limit_queues_then_refuses(origin: Any) -> None:
    origin.says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    origin.says(OK)
    pool = make_pool(origin, connections_max=1)
    first = await pool.fetch(get())
    with pytest.raises(UpstreamBusy) as caught:
        await pool.fetch(get())
    assert caught.value.limit == 1
    waiting = asyncio.create_task(fetch(pool))
    await asyncio.sleep(0)
    assert pool.stats.connections_open == 1
    first.close()
    assert await waiting == (200, b"hello", True)
    assert origin.connection_count == 2
    pool.close()
