"""What is reused, validated, selected by Vary, served stale and invalidated, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

FRESH = b"Cache-Control: max-age=600"


async def test_vary_keeps_variants_apart_and_hits_each(edge: Any, origin: Any) -> None:
    @origin.on(b"/v")
    async def answer(request: Any) -> None:
        language = request.get(b"accept-language") or b"none"
        await request.answer(b"in " + language, FRESH, b"Vary: Accept-Language")

    for language in (b"de", b"en", b"de", b"en", b"de"):
        reply = await edge.get(b"/v", b"Accept-Language: " + language)
        assert reply.body == b"in " + language
    assert (await edge.get(b"/v")).body == b"in none"
    assert origin.counts[b"/v"] == 3


async def test_followers_of_another_variant_get_their_own(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()

    @origin.on(b"/v")
    async def answer(request: Any) -> None:
        await go_on.wait()
        await request.answer(request.get(b"x-kind") or b"", FRESH, b"Vary: X-Kind")

    tasks = [
        asyncio.create_task(edge.get(b"/v", b"X-Kind: %d" % (index % 2))) for index in range(20)
    ]
    await until(lambda: edge.service.stats()["handed_over"] == 20)
    go_on.set()
    for index, task in enumerate(tasks):
        assert (await task).body == b"%d" % (index % 2)
    assert origin.counts[b"/v"] <= 4


async def test_vary_star_is_never_reused(edge: Any, origin: Any) -> None:
    origin.gives(b"/star", b"x", FRESH, b"Vary: *")
    for count in (1, 2):
        await edge.get(b"/star")
        assert origin.counts[b"/star"] == count


@pytest.mark.parametrize("extra", [[], [b"X-New: 1"]])
async def test_stale_object_is_revalidated_and_a_304_freshens_it(
    edge: Any, origin: Any, extra: list[bytes]
) -> None:
    body = b"b" * 300_000

    @origin.on(b"/r")
    async def answer(request: Any) -> None:
        if request.get(b"if-none-match") == b'"1"':
            lines = [b"HTTP/1.1 304 Not Modified", b'ETag: "1"', FRESH, *extra, b"", b""]
            await request.send(b"\r\n".join(lines))
        else:
            await request.answer(body, b"Cache-Control: max-age=0", b'ETag: "1"')

    assert (await edge.get(b"/r")).body == body
    second = await edge.get(b"/r")
    assert second.body == body
    assert second.cache_status == b"NeuroCache; fwd=stale; fwd-status=304; stored"
    third = await edge.get(b"/r")
    assert (third.body, origin.counts[b"/r"]) == (body, 2)
    assert third.cache_status.startswith(b"NeuroCache; hit")
    assert third.get(b"x-new") == (b"1" if extra else None)


async def test_validator_that_no_longer_holds_brings_the_new_body(edge: Any, origin: Any) -> None:
    version = iter((b"1", b"2"))

    @origin.on(b"/r")
    async def answer(request: Any) -> None:
        tag = next(version)
        await request.answer(b"v" + tag, b"Cache-Control: max-age=0", b'ETag: "' + tag + b'"')

    assert (await edge.get(b"/r")).body == b"v1"
    assert (await edge.get(b"/r")).body == b"v2"
    assert origin.requests[1].get(b"if-none-match") == b'"1"'


async def test_client_conditional_is_answered_on_miss_hit_and_revalidation(
    edge: Any, origin: Any
) -> None:
    origin.gives(b"/c", b"body", FRESH, b'ETag: "1"')
    miss = await edge.get(b"/c", b'If-None-Match: "1"')
    assert (miss.status, miss.body, miss.get(b"etag")) == (304, b"", b'"1"')
    assert origin.requests[0].get(b"if-none-match") is None
    hit = await edge.get(b"/c", b'If-None-Match: W/"1"')
    assert (hit.status, origin.counts[b"/c"]) == (304, 1)
    assert (await edge.get(b"/c", b'If-None-Match: "2"')).body == b"body"


async def test_head_is_answered_from_the_get_entry_and_forwarded_on_a_miss(
    edge: Any, origin: Any
) -> None:
    origin.gives(b"/h", b"body", FRESH)
    miss = await edge.ask(b"HEAD", b"/h")
    assert (miss.status, miss.get(b"content-length"), miss.body) == (200, b"4", b"")
    assert origin.requests[0].method == b"HEAD"
    await edge.get(b"/h")
    hit = await edge.ask(b"HEAD", b"/h")
    assert (hit.get(b"content-length"), origin.counts[b"/h"]) == (b"4", 2)


async def test_range_on_a_miss_is_forwarded_and_not_stored(edge: Any, origin: Any) -> None:
    @origin.on(b"/range")
    async def answer(request: Any) -> None:
        if request.get(b"range") == b"bytes=2-3":
            await request.answer(
                b"cd",
                FRESH,
                b"Content-Range: bytes 2-3/9000000000",
                status=b"206 Partial Content",
            )
        else:
            await request.answer(b"abcdef", FRESH)

    part = await edge.get(b"/range", b"Range: bytes=2-3")
    assert (part.status, part.body) == (206, b"cd")
    assert edge.slab.stats()["objects_live"] == 0
    assert (await edge.get(b"/range")).body == b"abcdef"
    part = await edge.get(b"/range", b"Range: bytes=1-2")
    assert (part.status, part.body, part.get(b"content-range")) == (206, b"bc", b"bytes 1-2/6")
    assert origin.counts[b"/range"] == 2
    assert (await edge.get(b"/range", b"Range: bytes=9-")).status == 416


async def test_stale_while_revalidate_serves_at_once_and_asks_once(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()
    go_on.set()

    @origin.on(b"/swr")
    async def answer(request: Any) -> None:
        await go_on.wait()
        await request.answer(
            b"%d" % origin.counts[b"/swr"], b"Cache-Control: max-age=0, stale-while-revalidate=60"
        )

    assert (await edge.get(b"/swr")).body == b"1"
    go_on.clear()
    for reply in await asyncio.gather(*(edge.get(b"/swr") for _ in range(10))):
        assert reply.body == b"1"
        assert b"hit" in reply.cache_status
    await until(lambda: origin.counts[b"/swr"] == 2)
    go_on.set()
    await until(lambda: edge.service.stats()["background_tasks"] == 0)
    go_on.clear()
    assert (await edge.get(b"/swr")).body == b"2"
    go_on.set()


@pytest.mark.parametrize("failure", ["status", "cut", "down"])
async def test_stale_if_error_answers_when_the_origin_fails(
    edge: Any, origin: Any, failure: str
) -> None:
    is_broken = False

    @origin.on(b"/sie")
    async def answer(request: Any) -> None:
        if not is_broken:
            await request.answer(b"good", b"Cache-Control: max-age=0, stale-if-error=60")
        elif failure == "status":
            await request.answer(b"oops", status=b"503 Service Unavailable")
        else:
            request.cut()

    assert (await edge.get(b"/sie")).body == b"good"
    is_broken = True
    if failure == "down":
        await origin.stop()
    reply = await edge.get(b"/sie")
    assert (reply.status, reply.body) == (200, b"good")
    assert reply.cache_status.startswith(b"NeuroCache; hit;")
    assert b"detail=" in reply.cache_status


async def test_must_revalidate_forbids_the_stale_answer(edge: Any, origin: Any) -> None:
    origin.gives(
        b"/must",
        b"good",
        b"Cache-Control: max-age=0, must-revalidate, stale-if-error=60",
        b'ETag: "1"',
    )
    assert (await edge.get(b"/must")).body == b"good"
    await origin.stop()
    assert (await edge.get(b"/must")).status == 502


async def test_failed_leader_fails_its_followers_without_a_storm(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()

    @origin.on(b"/storm")
    async def answer(request: Any) -> None:
        await go_on.wait()
        await request.send(b"nonsense\r\n\r\n")

    tasks = [asyncio.create_task(edge.get(b"/storm")) for _ in range(20)]
    await until(lambda: edge.service.stats()["handed_over"] == 20)
    go_on.set()
    assert {reply.status for reply in await asyncio.gather(*tasks)} == {502}
    assert origin.counts[b"/storm"] == 1


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"WEIRD"])
async def test_unsafe_request_invalidates_what_is_stored(
    edge: Any, origin: Any, method: bytes
) -> None:
    origin.gives(b"/u", b"x", FRESH)
    await edge.get(b"/u")
    assert (await edge.ask(method, b"/u")).status == 200
    await edge.get(b"/u")
    assert origin.counts[b"/u"] == 3


async def test_failed_unsafe_request_invalidates_nothing(edge: Any, origin: Any) -> None:
    @origin.on(b"/u")
    async def answer(request: Any) -> None:
        is_get = request.method == b"GET"
        await request.answer(b"x", FRESH, status=b"200 OK" if is_get else b"403 Forbidden")

    await edge.get(b"/u")
    assert (await edge.ask(b"POST", b"/u")).status == 403
    await edge.get(b"/u")
    assert origin.counts[b"/u"] == 2


async def test_post_during_a_fill_keeps_the_fill_out_of_the_slab(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()

    @origin.on(b"/race")
    async def answer(request: Any) -> None:
        if request.method == b"POST":
            await request.answer(b"done")
            return
        await request.send(b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\nContent-Length: 6\r\n\r\nold")
        await go_on.wait()
        await request.send(b"old")

    reading = asyncio.create_task(edge.get(b"/race"))
    await until(lambda: edge.slab.stats()["objects_filling"] == 1)
    assert (await edge.ask(b"POST", b"/race")).status == 200
    go_on.set()
    assert (await reading).body == b"oldold"
    assert edge.slab.stats()["objects_live"] == 0


async def test_authorized_response_is_not_given_to_others(edge: Any, origin: Any) -> None:
    @origin.on(b"/auth")
    async def answer(request: Any) -> None:
        await request.answer(request.get(b"authorization") or b"anonymous", FRESH)

    secret = await edge.get(b"/auth", b"Authorization: Basic c2VjcmV0")
    assert secret.body == b"Basic c2VjcmV0"
    assert (await edge.get(b"/auth")).body == b"anonymous"
    assert (await edge.get(b"/auth", b"Authorization: Basic eA==")).body == b"Basic eA=="


async def test_set_cookie_is_passed_on_and_never_stored(edge: Any, origin: Any) -> None:
    origin.gives(b"/cookie", b"x", FRESH, b"Set-Cookie: id=1")
    for count in (1, 2):
        assert (await edge.get(b"/cookie")).get(b"set-cookie") == b"id=1"
        assert origin.counts[b"/cookie"] == count


async def test_no_content_is_stored_and_hit(edge: Any, origin: Any) -> None:
    @origin.on(b"/empty")
    async def answer(request: Any) -> None:
        await request.send(b"HTTP/1.1 204 No Content\r\n" + FRESH + b"\r\n\r\n")

    for _ in range(3):
        assert (await edge.get(b"/empty")).status == 204
    assert origin.counts[b"/empty"] == 1


async def test_empty_body_of_unknown_length_is_stored_and_hit(edge: Any, origin: Any) -> None:
    @origin.on(b"/zero")
    async def answer(request: Any) -> None:
        await request.send(
            b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )

    for _ in range(2):
        reply = await edge.get(b"/zero")
        assert (reply.status, reply.body, reply.is_whole) == (200, b"", True)
    assert origin.counts[b"/zero"] == 1


async def test_background_304_freshens_while_nobody_else_holds_the_object(
    edge: Any, origin: Any, until: Any
) -> None:
    @origin.on(b"/bg")
    async def answer(request: Any) -> None:
        if request.get(b"if-none-match"):
            lines = [b"HTTP/1.1 304 Not Modified", b"Cache-Control: max-age=600", b"", b""]
            await request.send(b"\r\n".join(lines))
            return
        await request.answer(
            b"body", b"Cache-Control: max-age=0, stale-while-revalidate=60", b'ETag: "1"'
        )

    await edge.get(b"/bg")
    assert b"stale-while-revalidate" in (await edge.get(b"/bg")).cache_status
    await until(lambda: origin.counts[b"/bg"] == 2)
    await until(lambda: edge.service.stats()["background_tasks"] == 0)
    reply = await edge.get(b"/bg")
    assert (reply.body, origin.counts[b"/bg"]) == (b"body", 2)
    assert reply.cache_status.startswith(b"NeuroCache; hit; ttl=")
    assert edge.service.stats()["handler_failures"] == 0


async def test_followers_share_the_stale_answer_when_the_origin_errs(
    edge: Any, origin: Any, until: Any
) -> None:
    go_on = asyncio.Event()
    is_broken = False

    @origin.on(b"/weak")
    async def answer(request: Any) -> None:
        if is_broken:
            await go_on.wait()
            await request.answer(b"oops", status=b"503 Service Unavailable")
        else:
            await request.answer(b"good", b"Cache-Control: max-age=0, stale-if-error=60")

    assert (await edge.get(b"/weak")).body == b"good"
    is_broken = True
    handed_over = edge.service.stats()["handed_over"]
    tasks = [asyncio.create_task(edge.get(b"/weak")) for _ in range(20)]
    await until(lambda: edge.service.stats()["handed_over"] == handed_over + 20)
    go_on.set()
    assert {reply.body for reply in await asyncio.gather(*tasks)} == {b"good"}
    assert origin.counts[b"/weak"] == 2
