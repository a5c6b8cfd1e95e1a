"""Requests and responses on their way through: bodies, fields, back-pressure, refusals."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import pytest

from neuro.edge.settings import UpstreamTimeouts

MIB = 1 << 20


async def test_forwarded_request_says_who_asked_and_drops_claims(edge: Any, origin: Any) -> None:
    origin.gives(b"/f", b"x")
    await edge.get(
        b"/f?q=1%2F2&q=%26",
        b"Connection: close, X-Hop, Cache-Control",
        b"X-Hop: 1",
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-Host: evil.test",
        b"Forwarded: for=6.6.6.6",
        b"X-Original-URL: /admin",
        b"X-HTTP-Method-Override: DELETE",
        b"Accept-Encoding:   gzip,  br;q=0.5",
        b"X-End-To-End: kept",
        b"Upgrade: websocket",
    )
    request = origin.requests[0]
    assert request.target == b"/f?q=1%2F2&q=%26"
    assert request.get(b"host") == b"127.0.0.1:%d" % origin.port
    assert request.get(b"x-forwarded-for") == b"127.0.0.1"
    assert request.get(b"x-forwarded-host") == b"site.test"
    assert request.get(b"x-forwarded-proto") == b"http"
    assert request.get(b"x-end-to-end") == b"kept"
    assert request.get(b"via") == b"1.1 neurocache-1"
    assert request.get(b"cdn-loop") == b"neurocache-1"
    for name in (
        b"x-hop",
        b"forwarded",
        b"x-original-url",
        b"x-http-method-override",
        b"upgrade",
        b"connection",
        b"transfer-encoding",
    ):
        assert request.get(name) is None, name


async def test_response_loses_hop_by_hop_fields_and_gains_via(edge: Any, origin: Any) -> None:
    origin.gives(
        b"/g",
        b"x",
        b"Connection: X-Hop",
        b"X-Hop: 1",
        b"Keep-Alive: timeout=5",
        b"Via: 1.0 far",
        b"Upgrade: h2c",
    )
    reply = await edge.get(b"/g")
    for name in (b"x-hop", b"keep-alive", b"upgrade", b"connection"):
        assert reply.get(name) is None, name
    assert reply.get(b"via") == b"1.0 far, 1.1 neurocache-1"
    assert reply.get(b"date") is not None


async def test_loop_is_answered_with_508(edge: Any, origin: Any) -> None:
    origin.gives(b"/loop", b"x")
    reply = await edge.get(b"/loop", b"CDN-Loop: other, neurocache-1; x=1")
    assert reply.status == 508
    assert origin.requests == []


async def test_node_without_a_site_says_what_to_do(start_edge: Any) -> None:
    async with start_edge(None) as edge:
        reply = await edge.get(b"/any")
        assert reply.status == 404
        assert b"--origin URL" in reply.body


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT"])
async def test_methods_that_a_proxy_must_not_pass_on(edge: Any, origin: Any, method: bytes) -> None:
    target = b"site.test:443" if method == b"CONNECT" else b"/"
    reply = await edge.ask(method, target)
    assert reply.status in (400, 405, 501)
    assert origin.requests == []


async def test_upgrade_is_answered_without_switching(edge: Any, origin: Any) -> None:
    origin.gives(b"/ws", b"plain", b"Cache-Control: no-store")
    client = await edge.connect()
    client.send(b"GET", b"/ws", [b"Connection: Upgrade", b"Upgrade: websocket"])
    client.writer.write(b"GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n")
    reply = await client.read()
    assert (reply.status, reply.body) == (200, b"plain")
    client.close()
    assert [request.target for request in origin.requests if b"ws" in request.target] == [b"/ws"]


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_request_body_is_streamed_whole(edge: Any, origin: Any, is_chunked: bool) -> None:
    body = bytes(range(256)) * 4096 * 3
    received = []

    @origin.on(b"/up")
    async def answer(request: Any) -> None:
        received.append(await request.read_body())
        await request.answer(b"thanks")

    client = await edge.connect()
    if is_chunked:
        client.send(b"POST", b"/up", [b"Transfer-Encoding: chunked"])
        for at in range(0, len(body), 100_000):
            part = body[at : at + 100_000]
            client.writer.write(b"%x\r\n" % len(part) + part + b"\r\n")
            await client.writer.drain()
        client.writer.write(b"0\r\n\r\n")
    else:
        client.send(b"POST", b"/up", body=body)
    reply = await client.read()
    assert (reply.status, reply.body) == (200, b"thanks")
    assert received == [body]
    client.send(b"GET", b"/up", [b"Content-Length: 3"])
    client.writer.write(b"abc")
    assert (await client.read()).status == 200  # the connection is still in step
    assert received[1] == b"abc"
    client.close()


async def test_continue_comes_from_the_origin_and_a_refusal_without_it(
    edge: Any, origin: Any
) -> None:
    @origin.on(b"/yes")
    async def accept(request: Any) -> None:
        await request.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await request.answer(await request.read_body())

    @origin.on(b"/no")
    async def refuse(request: Any) -> None:
        await request.answer(b"no", b"Connection: close", status=b"417 Expectation Failed")

    lines = [b"Expect: 100-continue", b"Content-Length: 4"]
    client = await edge.connect()
    client.send(b"POST", b"/yes", lines)
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.writer.write(b"data")
    assert (await client.read()).body == b"data"
    client.send(b"POST", b"/no", lines)
    reply = await client.read()
    assert (reply.status, reply.informed) == (417, [])
    client.close()


async def test_early_hints_are_passed_on_before_the_answer(edge: Any, origin: Any) -> None:
    @origin.on(b"/hints")
    async def answer(request: Any) -> None:
        await request.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        await request.answer(b"page")

    reply = await edge.get(b"/hints")
    assert (reply.informed, reply.body) == ([103], b"page")


@pytest.mark.parametrize(
    ("script", "status"),
    [(b"", 504), (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", 200)],
)
async def test_silent_origin_runs_into_its_deadlines(
    start_edge: Any, origin: Any, script: bytes, status: int
) -> None:
    @origin.on(b"/mute")
    async def answer(request: Any) -> None:
        await request.send(script)
        await request.reader.read()

    async with start_edge(origin.url, timeouts=UpstreamTimeouts(300, 300, 300, 5_000)) as edge:
        reply = await edge.get(b"/mute")
        assert reply.status == status
        assert reply.is_whole == (status == 504)


async def test_dead_origin_is_a_502_while_hits_go_on(edge: Any, origin: Any) -> None:
    origin.gives(b"/hit", b"still here", b"Cache-Control: max-age=600")
    await edge.get(b"/hit")
    await origin.stop()
    reply = await edge.get(b"/miss")
    assert (reply.status, b"cannot be reached" in reply.body) == (502, True)
    assert (await edge.get(b"/hit")).body == b"still here"


async def test_large_uncacheable_body_passes_without_growth_at_the_readers_pace(
    edge: Any, origin: Any
) -> None:
    total, sent = 192 * MIB, 0
    block = b"z" * 65_536

    @origin.on(b"/huge")
    async def answer(request: Any) -> None:
        nonlocal sent
        await request.send(
            b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n" % total
        )
        while sent < total:
            await request.send(block)
            sent += len(block)

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    client = await edge.connect()
    client.send(b"GET", b"/huge")
    await client.read_head()
    last = -1
    while last != sent:  # the client does not read: the origin must come to a halt
        last = sent
        await asyncio.sleep(0.2)
    assert sent < 48 * MIB  # what two pairs of socket buffers hold
    read_bytes = 0
    while read_bytes < total:
        data = await client.reader.read(MIB)
        assert data, "cut"
        read_bytes += len(data)
    client.close()
    assert read_bytes == total
    growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    assert growth_kib < 64 * 1024


async def test_client_that_leaves_an_uncacheable_body_ends_the_origins_work(
    edge: Any, origin: Any, until: Any
) -> None:
    is_cut = asyncio.Event()

    @origin.on(b"/drip")
    async def answer(request: Any) -> None:
        await request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
        await request.reader.read()
        is_cut.set()

    client = await edge.connect()
    client.send(b"GET", b"/drip")
    await client.read_head()
    client.close()
    async with asyncio.timeout(2):
        await is_cut.wait()
    await until(lambda: edge.service.stats()["requests_in_flight"] == 0)


async def test_client_that_leaves_an_upload_ends_the_forwarded_one(edge: Any, origin: Any) -> None:
    is_cut = asyncio.Event()

    @origin.on(b"/up")
    async def answer(request: Any) -> None:
        await request.reader.read(1000)
        await request.reader.read()
        is_cut.set()

    client = await edge.connect()
    client.send(b"POST", b"/up", [b"Content-Length: 1000000"])
    client.writer.write(b"x" * 1000)
    await client.writer.drain()
    while not origin.requests:
        await asyncio.sleep(0.005)
    client.close()
    async with asyncio.timeout(2):
        await is_cut.wait()


async def test_handler_that_fails_answers_500_and_the_node_lives_on(
    edge: Any, origin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from neuro.edge.shelf import Shelf

    def explode(*_args: object) -> None:
        raise ZeroDivisionError

    origin.gives(b"/ok", b"fine")
    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "find", explode)
        assert (await edge.get(b"/ok")).status == 500
    assert (await edge.get(b"/ok")).body == b"fine"
    assert edge.service.stats()["handler_failures"] == 1


async def test_drain_finishes_what_is_in_flight(edge: Any, origin: Any, until: Any) -> None:
    go_on = asyncio.Event()

    @origin.on(b"/last")
    async def answer(request: Any) -> None:
        await go_on.wait()
        await request.answer(b"done")

    reading = asyncio.create_task(edge.get(b"/last"))
    await until(lambda: origin.counts[b"/last"] == 1)
    draining = asyncio.create_task(edge.service.drain(5))
    await asyncio.sleep(0)
    go_on.set()
    assert (await reading).body == b"done"
    assert await draining is True


@pytest.mark.parametrize("is_refused_by_object_api", [False, True])
async def test_unread_body_of_a_refused_request_is_never_a_request(
    start_edge: Any, is_refused_by_object_api: bool
) -> None:
    smuggled = b"PUT /cache/smuggled HTTP/1.1\r\nHost: site.test\r\nContent-Length: 1\r\n\r\nx"
    target = b"/cache/" if is_refused_by_object_api else b"/unknown"
    async with start_edge(None) as edge:
        client = await edge.connect()
        client.send(b"PUT", target, body=smuggled)
        assert (await client.read()).status in (400, 404)
        client.send(b"PUT", b"/cache/real", body=b"y")
        try:
            second = await client.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            second = None  # closed: as good as drained
        assert second is None or second.status == 201
        client.close()
        assert (await edge.get(b"/cache/smuggled")).status == 404


async def test_thousand_clients_on_a_cold_url_cause_one_request(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()
    body = b"m" * 100_000

    @origin.on(b"/cold")
    async def answer(request: Any) -> None:
        await go_on.wait()
        await request.answer(body, b"Cache-Control: max-age=600")

    tasks = [asyncio.create_task(edge.get(b"/cold")) for _ in range(1_000)]
    await until(lambda: edge.service.stats()["handed_over"] == 1_000)
    go_on.set()
    assert all(reply.body == body for reply in await asyncio.gather(*tasks))
    assert origin.counts[b"/cold"] == 1
