"""Misses and fills: one request for many, bytes while they arrive, faults that are never stored."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

MIB = 1 << 20
FRESH = b"Cache-Control: max-age=600"


def pattern(length: int, seed: bytes = b"s") -> bytes:
    block = b"".join(hashlib.sha256(seed + bytes([index])).digest() for index in range(32))
    return (block * (length // len(block) + 1))[:length]


async def test_miss_is_stored_and_then_hit_without_the_origin(edge: Any, origin: Any) -> None:
    origin.gives(b"/a", b"hello", FRESH)
    first = await edge.get(b"/a")
    second = await edge.get(b"/a")
    assert (first.status, first.body, first.is_whole) == (200, b"hello", True)
    assert first.cache_status == b"NeuroCache; fwd=uri-miss; fwd-status=200; stored"
    assert second.body == b"hello"
    assert second.cache_status.startswith(b"NeuroCache; hit")
    assert second.get(b"age") is not None
    assert origin.counts[b"/a"] == 1


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_two_hundred_clients_cause_one_request_and_read_while_it_fills(
    edge: Any, origin: Any, until: Any, is_chunked: bool
) -> None:
    body = pattern(2 * MIB)
    half, go_on = len(body) // 2, asyncio.Event()

    @origin.on(b"/big")
    async def answer(request: Any) -> None:
        if is_chunked:
            await request.send(b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\n")
            await request.send(b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % half)
            await request.send(body[:half] + b"\r\n")
            await go_on.wait()
            await request.send(b"%x\r\n" % half + body[half:] + b"\r\n0\r\n\r\n")
        else:
            await request.send(b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\n")
            await request.send(b"Content-Length: %d\r\n\r\n" % len(body) + body[:half])
            await go_on.wait()
            await request.send(body[half:])

    received = [0] * 200

    async def read(index: int) -> bytes:
        client = await edge.connect()
        try:
            client.send(b"GET", b"/big")
            reply = await client.read_head()
            data = bytearray()
            if is_chunked:
                while size := int(await client.reader.readuntil(b"\r\n"), 16):
                    data += await client.reader.readexactly(size)
                    received[index] = len(data)
                    await client.reader.readexactly(2)
            else:
                while len(data) < len(body):
                    data += await client.reader.read(MIB)
                    received[index] = len(data)
            assert reply.status == 200
            return bytes(data)
        finally:
            client.close()

    tasks = [asyncio.create_task(read(index)) for index in range(200)]
    await until(lambda: min(received) == half, 20)
    go_on.set()
    for data in await asyncio.gather(*tasks):
        assert data == body
    assert origin.counts[b"/big"] == 1
    assert (await edge.get(b"/big")).body == body
    assert origin.counts[b"/big"] == 1


async def test_fill_goes_on_when_its_client_leaves(edge: Any, origin: Any, until: Any) -> None:
    body, go_on = pattern(MIB), asyncio.Event()

    @origin.on(b"/left")
    async def answer(request: Any) -> None:
        await request.send(
            b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        await request.send(body[:1000])
        await go_on.wait()
        await request.send(body[1000:])

    client = await edge.connect()
    client.send(b"GET", b"/left")
    await client.reader.readexactly(500)
    client.close()
    await until(lambda: edge.service.stats()["requests_in_flight"] == 0)
    go_on.set()
    await until(lambda: edge.slab.stats()["objects_filling"] == 0)
    assert (await edge.get(b"/left")).body == body
    assert origin.counts[b"/left"] == 1


async def test_client_that_leaves_before_the_head_does_not_stop_the_fill(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()

    @origin.on(b"/early")
    async def answer(request: Any) -> None:
        await go_on.wait()
        await request.answer(b"late but stored", FRESH)

    client = await edge.connect()
    client.send(b"GET", b"/early")
    await until(lambda: origin.counts[b"/early"] == 1)
    client.close()
    await until(lambda: edge.service.stats()["requests_in_flight"] == 0)
    go_on.set()
    await until(lambda: edge.slab.stats()["objects_live"] == 1)
    assert (await edge.get(b"/early")).body == b"late but stored"
    assert origin.counts[b"/early"] == 1


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_truncated_body_cuts_everybody_and_is_not_stored(
    edge: Any, origin: Any, until: Any, is_chunked: bool
) -> None:
    cut = asyncio.Event()

    @origin.on(b"/cut")
    async def answer(request: Any) -> None:
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 2000"
        data = b"3e8\r\n" + b"x" * 1000 + b"\r\n" if is_chunked else b"x" * 1000
        await request.send(b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\n" + framing + b"\r\n\r\n" + data)
        await cut.wait()
        request.cut()

    clients = [await edge.connect() for _ in range(5)]
    for client in clients:
        client.send(b"GET", b"/cut")
    replies = [await client.read_head() for client in clients]
    cut.set()
    for client, reply in zip(clients, replies, strict=True):
        await client.read_body(reply)
        assert reply.status == 200
        assert not reply.is_whole
        assert set(reply.body) <= set(b"x")
        client.close()
    assert edge.slab.stats()["objects_live"] == 0
    assert origin.counts[b"/cut"] == 1
    origin.gives(b"/cut", b"healed", FRESH)
    assert (await edge.get(b"/cut")).body == b"healed"


@pytest.mark.parametrize(
    "answer",
    [
        (
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        ),
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!",
        b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nhi",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_malformed_answer_is_a_502_and_is_not_stored(
    edge: Any, origin: Any, answer: bytes
) -> None:
    @origin.on(b"/bad")
    async def bad(request: Any) -> None:
        await request.send(answer)

    reply = await edge.get(b"/bad")
    assert (reply.status, reply.is_whole) == (502, True)
    assert b"detail=upstream_protocol" in reply.cache_status
    assert edge.slab.stats()["objects_live"] == 0
    origin.gives(b"/bad", b"good", FRESH)
    assert (await edge.get(b"/bad")).body == b"good"
    assert origin.connection_count == 2


async def test_extra_bytes_after_the_answer_are_neither_sent_nor_stored(
    edge: Any, origin: Any
) -> None:
    @origin.on(b"/extra")
    async def answer(request: Any) -> None:
        await request.send(
            b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\nContent-Length: 5\r\n\r\nhello"
            b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
        )

    for count in (1, 2):
        reply = await edge.get(b"/extra")
        assert (reply.body, reply.is_whole) == (b"hello", True)
        assert origin.counts[b"/extra"] == count
    assert edge.slab.stats()["objects_live"] == 0


async def test_uncacheable_key_is_fetched_in_parallel_from_the_second_round(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()
    go_on.set()

    @origin.on(b"/private")
    async def answer(request: Any) -> None:
        await go_on.wait()
        await request.answer(b"mine", b"Cache-Control: private")

    assert (await edge.get(b"/private")).body == b"mine"
    go_on.clear()
    tasks = [asyncio.create_task(edge.get(b"/private")) for _ in range(20)]
    await until(lambda: origin.counts[b"/private"] == 21)  # all at the origin at once
    go_on.set()
    assert {reply.body for reply in await asyncio.gather(*tasks)} == {b"mine"}
    assert edge.slab.stats()["objects_live"] == 0


async def test_followers_of_an_uncacheable_answer_fetch_for_themselves(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()
    number = iter(range(100))

    @origin.on(b"/mine")
    async def answer(request: Any) -> None:
        await go_on.wait()
        await request.answer(b"%d" % next(number), b"Cache-Control: no-store")

    tasks = [asyncio.create_task(edge.get(b"/mine")) for _ in range(20)]
    await until(lambda: edge.service.stats()["handed_over"] == 20)
    go_on.set()
    replies = await asyncio.gather(*tasks)
    assert sorted(int(reply.body) for reply in replies) == list(range(20))


async def test_unknown_length_beyond_the_limit_reaches_the_first_client_whole(
    start_edge: Any, origin: Any, until: Any
) -> None:
    body, go_on = pattern(3 * MIB), asyncio.Event()

    @origin.on(b"/endless")
    async def answer(request: Any) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\n")
        await request.send(b"Transfer-Encoding: chunked\r\n\r\n")
        await request.send(b"5\r\n" + body[:5] + b"\r\n")
        await go_on.wait()
        for at in range(5, len(body), 60_000):
            part = body[at : at + 60_000]
            await request.send(b"%x\r\n" % len(part) + part + b"\r\n")
        await request.send(b"0\r\n\r\n")

    async with start_edge(origin.url, arena_bytes=16 * MIB, object_bytes_max=MIB) as edge:
        leader = asyncio.create_task(edge.get(b"/endless"))
        await until(lambda: edge.slab.stats()["objects_filling"] == 1)
        follower = asyncio.create_task(edge.get(b"/endless"))
        await until(lambda: edge.service.stats()["handed_over"] == 2)
        go_on.set()
        first, second = await leader, await follower
        assert (first.is_whole, first.body) == (True, body)
        assert not second.is_whole  # cut, and never taken for the whole
        assert body.startswith(second.body)
        assert origin.counts[b"/endless"] == 1
        again = await asyncio.gather(edge.get(b"/endless"), edge.get(b"/endless"))
        assert [reply.body == body for reply in again] == [True, True]
        assert edge.slab.stats()["objects_live"] == 0


async def test_request_that_comes_after_the_overflow_fetches_for_itself(
    start_edge: Any, origin: Any, until: Any
) -> None:
    body, go_on = pattern(2 * MIB), asyncio.Event()

    @origin.on(b"/over")
    async def answer(request: Any) -> None:
        if origin.counts[b"/over"] > 1:
            await request.answer(b"mine", FRESH)
            return
        await request.send(b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\n")
        await request.send(b"Transfer-Encoding: chunked\r\n\r\n")
        await request.send(b"%x\r\n" % len(body) + body)
        await go_on.wait()
        await request.send(b"\r\n0\r\n\r\n")

    async with start_edge(origin.url, arena_bytes=16 * MIB, object_bytes_max=MIB) as edge:
        leader = asyncio.create_task(edge.get(b"/over"))
        await until(lambda: edge.slab.stats()["fills_aborted"] == 1)
        assert (await edge.get(b"/over")).body == b"mine"
        go_on.set()
        assert (await leader).body == body
        assert edge.service.stats()["handler_failures"] == 0


async def test_body_larger_than_the_limit_is_streamed_and_not_stored(
    start_edge: Any, origin: Any
) -> None:
    body = pattern(3 * MIB)
    origin.gives(b"/large", body, FRESH)
    async with start_edge(origin.url, arena_bytes=16 * MIB, object_bytes_max=MIB) as edge:
        for count in (1, 2):
            reply = await edge.get(b"/large")
            assert (reply.body == body, origin.counts[b"/large"]) == (True, count)
        assert edge.slab.stats()["objects_live"] == 0


async def test_full_slab_passes_through_and_hits_go_on(start_edge: Any, origin: Any) -> None:
    stop = asyncio.Event()
    origin.gives(b"/hot", b"hot", FRESH)

    @origin.on(b"/slow")
    async def slow(request: Any) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\nContent-Length: 4000000\r\n\r\n")
        await stop.wait()
        request.cut()

    origin.gives(b"/more", pattern(4_000_000), FRESH)
    async with start_edge(origin.url, arena_bytes=8 * MIB, object_bytes_max=4 * MIB) as edge:
        assert (await edge.get(b"/hot")).body == b"hot"
        client = await edge.connect()
        client.send(b"GET", b"/slow")
        await client.read_head()
        reply = await edge.get(b"/more")
        assert (reply.status, reply.body) == (200, pattern(4_000_000))
        assert (await edge.get(b"/hot")).status == 200
        stop.set()
        client.close()
