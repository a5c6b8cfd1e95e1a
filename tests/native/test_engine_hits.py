"""Hits from the slab: heads, conditions, ranges, persistence. None of them may reach Python."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from neuro._core.engine import OUTCOME_MISS, ClosedEvent
from neuro._core.slab import AUTHORIZED_OK, BODILESS, NEEDS_PYTHON, PREFETCHED
from tests.native.engine_driver import ETAG, HOST, LAST_MODIFIED, EngineDriver


@pytest.fixture
def driver() -> Iterator[EngineDriver]:
    with EngineDriver() as made:
        yield made


def test_hit_carries_length_stored_fields_age_and_cache_status(driver: EngineDriver) -> None:
    driver.put("/a", b"hello", age_s=7, lifetime_s=100)
    client = driver.client()
    client.get("/a")
    response = client.read_response()
    assert (response.status, response.body) == (200, b"hello")
    assert response.get(b"Content-Length") == b"5"
    assert response.get(b"Content-Type") == b"text/plain"
    assert response.get(b"ETag") == ETAG
    assert response.get(b"Age") in (b"7", b"8")
    assert response.get(b"Cache-Status") in (
        b"NeuroCache; hit; ttl=100",
        b"NeuroCache; hit; ttl=99",
    )
    assert response.get(b"Connection") is None
    driver.assert_no_event()


@pytest.mark.parametrize("size", [5, 1 << 20])
def test_client_that_shut_its_side_gets_its_hit(driver: EngineDriver, size: int) -> None:
    body = driver.put("/a", os.urandom(size))
    client = driver.client()
    client.get("/a")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.read_response().body == body
    client.assert_closed()
    driver.assert_no_event()


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 65536, 1 << 20, 5_000_001])
def test_body_is_exact_at_every_size(driver: EngineDriver, size: int) -> None:
    body = driver.put("/a", os.urandom(size))
    client = driver.client()
    for _ in range(3):
        client.get("/a")
        assert client.read_response().body == body
    driver.assert_no_event()


def test_head_of_a_hit_has_the_length_and_no_body(driver: EngineDriver) -> None:
    driver.put("/a", b"x" * 70_000)
    client = driver.client()
    client.get("/a", method="HEAD")
    assert client.read_response(is_head=True).get(b"Content-Length") == b"70000"
    client.get("/a")
    assert len(client.read_response().body) == 70_000


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_pipelined_hits_in_one_packet_are_answered_in_order(
    driver: EngineDriver, count: int
) -> None:
    bodies = [driver.put(f"/{i}", b"%d." % i * 50) for i in range(10)]
    client = driver.client()
    client.send(
        b"".join(
            b"GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (i % 10, HOST.encode()) for i in range(count)
        )
    )
    for i in range(count):
        assert client.read_response().body == bodies[i % 10]
    driver.assert_no_event()


def test_pipeline_of_small_and_large_hits_keeps_order(driver: EngineDriver) -> None:
    bodies = [driver.put(f"/{i}", os.urandom(10 if i % 2 else 100_000 * i)) for i in range(8)]
    client = driver.client()
    client.send(
        b"".join(b"GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (i, HOST.encode()) for i in range(8))
    )
    for body in bodies:
        assert client.read_response().body == body


def test_misses_between_pipelined_hits_keep_order(driver: EngineDriver) -> None:
    driver.put("/hit", b"from the slab")
    client = driver.client()
    paths = ["/hit", "/miss1", "/hit", "/miss2", "/hit"]
    client.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode() for path in paths))
    for _ in range(2):
        event = driver.next_request()
        driver.answer_all(event.request, event.target)
        driver.next_event(ClosedEvent)
    bodies = [client.read_response().body for _ in paths]
    assert bodies == [b"from the slab", b"/miss1", b"from the slab", b"/miss2", b"from the slab"]


@pytest.mark.parametrize(
    "value",
    ['"v1"', 'W/"v1"', '"x", "v1"', "*", '"a,b" , W/"v1"', '"x"\r\nIf-None-Match: "v1"'],
)
def test_if_none_match_that_matches_gives_304(driver: EngineDriver, value: str) -> None:
    driver.put("/a")
    client = driver.client()
    # RFC 9110 section 13.1.3: If-Modified-Since is ignored beside If-None-Match.
    client.get("/a", f"If-None-Match: {value}", "If-Modified-Since: Sun, 06 Nov 1980 08:49:37 GMT")
    response = client.read_response()
    assert response.status == 304
    assert response.get(b"ETag") == ETAG
    assert response.get(b"Content-Length") is None
    assert response.get(b"Content-Type") is None
    client.get("/a")
    assert client.read_response().body == b"hello"


def test_if_none_match_that_differs_gives_200_even_if_unmodified(driver: EngineDriver) -> None:
    driver.put("/a")
    client = driver.client()
    client.get("/a", 'If-None-Match: "v2"', f"If-Modified-Since: {LAST_MODIFIED.decode()}")
    assert client.read_response().status == 200


@pytest.mark.parametrize(
    ("date", "status"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 304),
        ("Sun Nov  6 08:49:37 1994", 304),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 304),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("Sun, 06 Nov 1994 08:49:37 UTC", 200),
        ("yesterday", 200),
    ],
)
def test_if_modified_since(driver: EngineDriver, date: str, status: int) -> None:
    driver.put("/a")
    client = driver.client()
    client.get("/a", f"If-Modified-Since: {date}")
    assert client.read_response().status == status


BODY = bytes(range(256)) * 300


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=76000-", 76000, 76799),
        ("bytes=-5", 76795, 76799),
        ("bytes=0-99999999999999999999999", 0, 76799),
        ("BYTES=1-70000", 1, 70000),
    ],
)
def test_single_range_gives_206(driver: EngineDriver, value: str, first: int, last: int) -> None:
    driver.put("/a", BODY)
    client = driver.client()
    client.get("/a", f"Range: {value}")
    response = client.read_response()
    assert response.status == 206
    assert response.get(b"Content-Range") == b"bytes %d-%d/76800" % (first, last)
    assert response.body == BODY[first : last + 1]


@pytest.mark.parametrize(
    "value", ["bytes=0-1,3-4", "bytes=5-4", "items=0-1", "bytes=x", "bytes=0-1\r\nRange: bytes=0-1"]
)
def test_range_that_is_not_understood_is_ignored(driver: EngineDriver, value: str) -> None:
    driver.put("/a", BODY)
    client = driver.client()
    client.get("/a", f"Range: {value}")
    assert client.read_response().body == BODY


def test_range_behind_the_end_gives_416_with_the_length(driver: EngineDriver) -> None:
    driver.put("/a", BODY)
    client = driver.client()
    client.get("/a", "Range: bytes=76800-")
    response = client.read_response()
    assert (response.status, response.body) == (416, b"")
    assert response.get(b"Content-Range") == b"bytes */76800"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ('"v1"', 206),
        ('W/"v1"', 200),
        ('"v2"', 200),
        (LAST_MODIFIED.decode(), 206),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
    ],
)
def test_if_range_compares_strongly(driver: EngineDriver, value: str, status: int) -> None:
    driver.put("/a", BODY)
    client = driver.client()
    client.get("/a", "Range: bytes=1-2", f"If-Range: {value}")
    assert client.read_response().status == status


def test_conditions_and_ranges_apply_to_stored_200_only(driver: EngineDriver) -> None:
    driver.put("/a", b"gone", status=404)
    client = driver.client()
    client.get("/a", 'If-None-Match: "v1"', "Range: bytes=0-0")
    response = client.read_response()
    assert (response.status, response.body) == (404, b"gone")


def test_bodiless_object_has_no_length_and_no_body(driver: EngineDriver) -> None:
    driver.put("/a", b"", status=204, flags=BODILESS)
    driver.put("/b", b"next")
    client = driver.client()
    client.get("/a")
    client.get("/b")
    response = client.read_response()
    assert (response.status, response.get(b"Content-Length")) == (204, None)
    assert client.read_response().body == b"next"


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"lifetime_s": 0}, ()),
        ({"flags": NEEDS_PYTHON}, ()),
        ({}, ("Authorization: Basic eA==",)),
        ({}, ("Upgrade: websocket", "Connection: upgrade")),
        ({}, ('If-Match: "v1"',)),
        ({}, ("Content-Length: 1",)),
    ],
)
def test_what_is_no_plain_hit_goes_to_python_with_the_stale_flag(
    driver: EngineDriver, options: dict[str, int], lines: tuple[str, ...]
) -> None:
    driver.put("/a", **options)  # type: ignore[arg-type]
    client = driver.client()
    client.get("/a", *lines)
    event = driver.next_request()
    assert event.is_stale_hit
    driver.engine.answer(event.request, 200, b"", length=0, outcome=OUTCOME_MISS)
    assert client.read_response().status == 200


def test_authorized_request_is_a_hit_where_the_object_allows_it(driver: EngineDriver) -> None:
    driver.put("/a", flags=AUTHORIZED_OK)
    client = driver.client()
    client.get("/a", "Authorization: Basic eA==")
    assert client.read_response().body == b"hello"
    driver.assert_no_event()


def test_object_api_key_has_neither_host_nor_query(driver: EngineDriver) -> None:
    driver.put(key=b"cache:/cache/x.js", body=b"object")
    client = driver.client()
    client.get("/cache/x.js?v=1")
    assert client.read_response().body == b"object"
    client.send(b"GET /cache/x.js HTTP/1.1\r\nHost: other.example:99\r\n\r\n")
    assert client.read_response().body == b"object"


@pytest.mark.parametrize(
    "host", ["EXAMPLE.test", "example.test:80", "example.test.", "example.test:"]
)
def test_one_host_has_one_key(driver: EngineDriver, host: str) -> None:
    driver.put("/a")
    client = driver.client()
    client.send(f"GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert client.read_response().body == b"hello"
    client.send(f"GET http://{host}/a HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    assert client.read_response().body == b"hello"
    driver.assert_no_event()


def test_connection_close_is_honoured(driver: EngineDriver) -> None:
    driver.put("/a")
    client = driver.client()
    client.get("/a", "Connection: close")
    assert client.read_response().get(b"Connection") == b"close"
    client.assert_closed()


def test_http_1_0_closes_unless_keep_alive_is_asked_for(driver: EngineDriver) -> None:
    driver.put("/a")
    client = driver.client()
    client.get("/a", "Connection: Keep-Alive", version="1.0")
    assert client.read_response().get(b"Connection") == b"keep-alive"
    client.get("/a", version="1.0")
    assert client.read_response().get(b"Connection") == b"close"
    client.assert_closed()


def test_half_closed_client_still_gets_its_hits(driver: EngineDriver) -> None:
    body = driver.put("/a", os.urandom(1 << 20))
    client = driver.client()
    client.get("/a")
    client.get("/a")
    client.socket.shutdown(1)
    assert client.read_response().body == body
    assert client.read_response().body == body
    client.assert_closed()


def test_hits_are_counted_and_recorded(driver: EngineDriver) -> None:
    driver.put("/a", flags=PREFETCHED)
    client = driver.client()
    for lines in [(), (), ('If-None-Match: "v1"',), ("Range: bytes=0-1",)]:
        client.get("/a", *lines)
        client.read_response()
    driver.wait_for_stat("access_recorded", 4)
    stats = driver.engine.stats()
    assert stats["hits_native"] == 4
    assert stats["hits_not_modified"] == 1
    assert stats["hits_partial"] == 1
    assert stats["outcomes"]["prefetched"] == 1  # type: ignore[index]
    assert sum(stats["hit_duration"]) == 4  # type: ignore[call-overload]
    records = driver.engine.poll_access()
    assert len(records) == 4 * 64
    lo, hi = driver.slab.hash(f"http://{HOST}/a".encode())
    for i in range(4):
        record = records[i * 64 : i * 64 + 64]
        assert int.from_bytes(record[8:16], "little") == lo
        assert int.from_bytes(record[16:24], "little") == hi
    assert [records[i * 64 + 55] for i in range(4)] == [0, 0, 2, 4]
    sizes = [int.from_bytes(records[i * 64 + 32 : i * 64 + 40], "little") for i in range(4)]
    assert sizes == [5, 5, 0, 2]
