"""The object API over real sockets: PUT, GET, HEAD, DELETE, who may write, and what is kept."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import pytest

from neuro.edge.object_api import ObjectApi
from neuro.edge.settings import ObjectApiSettings

MIB = 1 << 20


def etag_of(body: bytes) -> bytes:
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=")
    return b'"sha256-' + digest + b'"'


@pytest.mark.parametrize("length", [0, 1, 1000, 262_144, 262_145, 5 * MIB])
async def test_what_is_put_comes_back(edge: Any, length: int) -> None:
    body = (bytes(range(256)) * (length // 256 + 1))[:length]
    put = await edge.ask(b"PUT", b"/cache/a/b.bin", b"Content-Type: x/y", body=body)
    if not length:
        put = await edge.ask(b"PUT", b"/cache/a/b.bin", b"Content-Type: x/y", b"Content-Length: 0")
    assert put.status == (201 if length else 204)
    assert put.get(b"etag") == etag_of(body)
    for _ in range(2):
        reply = await edge.get(b"/cache/a/b.bin")
        assert (reply.status, reply.body == body) == (200, True)
        assert reply.get(b"content-type") == b"x/y"
        assert reply.get(b"etag") == etag_of(body)
        assert b"NeuroCache; hit" in reply.cache_status
    head = await edge.ask(b"HEAD", b"/cache/a/b.bin")
    assert head.get(b"content-length") == b"%d" % length
    assert (await edge.get(b"/cache/a/b.bin", b"If-None-Match: " + etag_of(body))).status == 304
    assert (await edge.ask(b"DELETE", b"/cache/a/b.bin")).status == 204
    assert (await edge.ask(b"DELETE", b"/cache/a/b.bin")).status == 404
    assert (await edge.get(b"/cache/a/b.bin")).status == 404
    assert edge.slab.stats()["objects_filling"] == 0


async def test_chunked_put_of_any_size(edge: Any) -> None:
    body = b"0123456789" * 60_000
    client = await edge.connect()
    client.send(b"PUT", b"/cache/c", [b"Transfer-Encoding: chunked"])
    for at in range(0, len(body), 50_000):
        client.writer.write(b"c350\r\n" + body[at : at + 50_000] + b"\r\n")
    client.writer.write(b"0\r\n\r\n")
    assert (await client.read()).status == 201
    client.send(b"GET", b"/cache/c")
    assert (await client.read()).body == body
    client.close()


async def test_replacing_answers_204_and_the_new_body(edge: Any) -> None:
    assert (await edge.ask(b"PUT", b"/cache/k", body=b"one")).status == 201
    assert (await edge.ask(b"PUT", b"/cache/k", body=b"two")).status == 204
    assert (await edge.get(b"/cache/k")).body == b"two"
    part = await edge.get(b"/cache/k", b"Range: bytes=1-1")
    assert (part.status, part.body) == (206, b"w")


async def test_continue_is_sent_for_an_accepted_put_and_not_for_a_refused_one(edge: Any) -> None:
    client = await edge.connect()
    client.send(b"PUT", b"/cache/e", [b"Expect: 100-continue", b"Content-Length: 4"])
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.writer.write(b"data")
    assert (await client.read()).status == 201
    client.send(b"PUT", b"/cache/e", [b"Expect: 100-continue", b"Content-Length: 999999999"])
    reply = await client.read()
    assert (reply.status, reply.informed) == (413, [])
    client.close()


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_too_large_body_is_refused_and_leaves_nothing(
    start_edge: Any, is_chunked: bool, until: Any
) -> None:
    async with start_edge(None, arena_bytes=16 * MIB, object_bytes_max=MIB) as edge:
        client = await edge.connect()
        if is_chunked:
            client.send(b"PUT", b"/cache/big", [b"Transfer-Encoding: chunked"])
            client.writer.write((b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 17)
        else:
            client.send(b"PUT", b"/cache/big", [b"Content-Length: 1048577"])
        reply = await client.read()
        assert (reply.status, b"1048576" in reply.body) == (413, True)
        client.close()
        await until(lambda: edge.slab.stats()["objects_filling"] == 0)
        assert edge.slab.stats()["objects_live"] == 0


async def test_client_that_leaves_during_a_put_leaves_nothing(edge: Any, until: Any) -> None:
    client = await edge.connect()
    client.send(b"PUT", b"/cache/half", [b"Content-Length: 2000000"])
    client.writer.write(b"x" * 1_000_000)
    await until(lambda: edge.slab.stats()["objects_filling"] == 1)
    client.close()
    await until(lambda: edge.slab.stats()["objects_filling"] == 0)
    assert (await edge.get(b"/cache/half")).status == 404


async def test_preconditions_guard_writes(edge: Any) -> None:
    async def put(body: bytes, *lines: bytes) -> int:
        status: int = (await edge.ask(b"PUT", b"/cache/p", *lines, body=body)).status
        return status

    assert await put(b"1", b"If-Match: *") == 412
    assert await put(b"1", b"If-None-Match: *") == 201
    assert await put(b"2", b"If-None-Match: *") == 412
    assert await put(b"2", b'If-Match: "other", ' + etag_of(b"1")) == 204
    assert await put(b"3", b"If-Match: " + etag_of(b"1")) == 412
    assert await put(b"3", b"If-Match: W/" + etag_of(b"2")) == 412
    delete = await edge.ask(b"DELETE", b"/cache/p", b'If-Match: "x"')
    assert delete.status == 412
    assert (await edge.get(b"/cache/p", b'If-Match: "x"')).status == 412
    assert (await edge.get(b"/cache/p")).body == b"2"


async def test_only_listed_fields_are_kept(edge: Any) -> None:
    await edge.ask(
        b"PUT",
        b"/cache/f",
        b"Content-Type: text/css",
        b"Content-Language: de",
        b"Cache-Control: max-age=60",
        b"Set-Cookie: a=b",
        b"Access-Control-Allow-Origin: *",
        b"X-Any: 1",
        b"Strict-Transport-Security: max-age=1",
        body=b"x",
    )
    reply = await edge.get(b"/cache/f")
    assert reply.get(b"content-language") == b"de"
    assert reply.get(b"cache-control") == b"max-age=60"
    for name in (
        b"set-cookie",
        b"access-control-allow-origin",
        b"x-any",
        b"strict-transport-security",
    ):
        assert reply.get(name) is None, name


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        (b"my-asset.js", b"application/x-www-form-urlencoded", b"application/javascript"),
        (b"a.css", None, b"text/css"),
        (b"a.unknown", None, b"application/octet-stream"),
        (b"a.tar.gz", None, b"application/octet-stream"),
        (b"a.css", b"text/plain; charset=utf-8", b"text/plain; charset=utf-8"),
    ],
)
async def test_content_type_is_kept_or_follows_the_extension(
    edge: Any, key: bytes, given: bytes | None, kept: bytes
) -> None:
    lines = [b"Content-Type: " + given] if given else []
    await edge.ask(b"PUT", b"/cache/" + key, *lines, body=b"x")
    assert (await edge.get(b"/cache/" + key)).get(b"content-type") in (
        kept,
        kept.replace(b"application/j", b"text/j"),
    )


async def test_object_with_max_age_expires(edge: Any) -> None:
    await edge.ask(b"PUT", b"/cache/t", b"Cache-Control: max-age=0", body=b"x")
    assert (await edge.get(b"/cache/t")).status == 404


@pytest.mark.parametrize(
    ("method", "target", "lines", "status"),
    [
        (b"POST", b"/cache/x", [], 405),
        (b"OPTIONS", b"/cache/x", [], 204),
        (b"PUT", b"/cache/", [], 400),
        (b"PUT", b"/cache/x", [b"Content-Range: bytes 0-1/2"], 400),
        (b"GET", b"/cache/none", [], 404),
        (b"GET", b"/cache/../../etc/passwd", [], 404),
    ],
)
async def test_refusals(
    edge: Any, method: bytes, target: bytes, lines: list[bytes], status: int
) -> None:
    reply = await edge.ask(method, target, *lines, body=b"xx" if method == b"PUT" else b"")
    assert reply.status == status
    assert reply.cache_status.startswith(b"NeuroCache")
    if status in (204, 405):
        assert reply.get(b"allow") == b"GET, HEAD, PUT, DELETE, OPTIONS"


class _Elsewhere:
    """A request whose peer is not this machine: loopback is all that a test may use."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return False if name == "peer_is_loopback" else getattr(self._real, name)


@pytest.mark.parametrize(
    ("token", "line", "status"),
    [
        (None, b"X-Forwarded-For: 127.0.0.1", 403),
        ("secret", b"X-Forwarded-For: 127.0.0.1", 401),
        ("secret", b"Authorization: Bearer wrong", 401),
        ("secret", b"Authorization: Basic secret", 401),
        ("secret", b"Authorization: Bearer secret", 201),
        ("secret", b"authorization: bearer secret", 201),
    ],
)
async def test_writes_from_elsewhere_need_the_token(
    start_edge: Any, monkeypatch: pytest.MonkeyPatch, token: str | None, line: bytes, status: int
) -> None:
    handle = ObjectApi.handle

    async def from_elsewhere(self: ObjectApi, exchange: Any) -> None:
        exchange.request = _Elsewhere(exchange.request)
        await handle(self, exchange)

    monkeypatch.setattr(ObjectApi, "handle", from_elsewhere)
    async with start_edge(None, object_api=ObjectApiSettings(token=token)) as edge:
        reply = await edge.ask(b"PUT", b"/cache/w", line, body=b"x")
        assert reply.status == status
        assert (reply.get(b"www-authenticate") is not None) == (status == 401)
        assert (await edge.get(b"/cache/w")).status == (200 if status == 201 else 404)


async def test_concurrent_puts_leave_one_whole_body(edge: Any) -> None:
    bodies = [bytes([index]) * 400_000 for index in range(8)]
    await asyncio.gather(*(edge.ask(b"PUT", b"/cache/race", body=body) for body in bodies))
    assert (await edge.get(b"/cache/race")).body in bodies
