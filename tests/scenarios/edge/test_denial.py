"""Clients that want the node's time, memory or origin: lines 37, 38 and 43 to 46."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.serving import wait_until
from tests.native.engine_driver import Client
from tests.recording_origin import RecordedRequest, whole
from tests.scenarios.edge.conftest import FRESH, HOST, Target, is_hit

Start = Callable[..., contextlib.AbstractContextManager[Target]]
MIB = 1 << 20
SHORT = (
    *("--edge-header-timeout", "400ms", "--edge-body-timeout", "400ms"),
    *("--edge-send-timeout", "400ms", "--edge-idle-timeout", "400ms"),
)


def resident_bytes(target: Target) -> int:
    """Memory of the node that is in RAM, without the slab's shared mapping."""
    text = Path(f"/proc/{target.node.process.pid}/status").read_text()
    return int(text.split("RssAnon:")[1].split()[0]) * 1024


def get_large(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def test_slow_clients_are_cut_and_others_do_not_notice(start_target: Start) -> None:
    """Line 37: slow heads, stalled bodies, clients that read nothing, idle ones."""
    with start_target(*SHORT, "--memory", "64MiB") as target:
        path = target.fresh_path("large")
        target.origin.answers[path] = whole(bytes(8 * MIB), FRESH)
        target.get(path)
        started = time.monotonic()

        head = target.client()
        with pytest.raises(OSError):  # noqa: PT011 (reset or broken pipe)
            for byte in get_large(path)[:-1] * 100:
                head.send(bytes([byte]))
                time.sleep(0.02)
                assert time.monotonic() - started < 15

        body = target.client()
        body.send(b"POST /stalled HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nx")
        assert body.read_response().status == 408
        body.assert_closed()
        head.close()
        body.close()

        reader = Client(target.node.edge.port, receive_bytes=4096)
        reader.send(get_large(path) * 4)
        wait_until(lambda: connection_count(target) == 0, "slow reader and idle ones are cut")
        reader.assert_cut()
        reader.close()
        assert target.origin.count(b"/stalled") == 0
        assert is_hit(target.get(path))


def connection_count(target: Target) -> int:
    """Open client connections, without the one that asks."""
    _, document = target.node.get_json("/api/v1/status")
    return int(document["edge"]["connections_open"])


def test_thousand_idle_and_dripping_connections_cost_little(start_target: Start) -> None:
    """Line 37: memory per connection is bounded, and hits go on."""
    with start_target() as target, contextlib.ExitStack() as stack:
        path = target.fresh_path("hot")
        target.origin.answers[path] = whole(b"hot", FRESH)
        target.get(path)
        before = resident_bytes(target)
        for number in range(1000):
            client = stack.enter_context(contextlib.closing(target.client()))
            if number % 2:
                client.send(b"GET /slow HTTP/1.1\r\nHost: site.te")
        assert is_hit(target.get(path))
        assert resident_bytes(target) - before < 1000 * 16_384
        slowest = 0.0
        for _ in range(200):
            started = time.monotonic()
            assert target.get(path).body == b"hot"
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 1.0


def test_pipelines_that_nobody_reads_are_bounded(start_target: Start) -> None:
    """Line 37: a client that asks without end and takes no answer costs its buffers and no more."""
    with start_target() as target, contextlib.ExitStack() as stack:
        path = target.fresh_path("unread")
        target.origin.answers[path] = whole(bytes(1000), FRESH)
        target.get(path)
        before = resident_bytes(target)
        for _ in range(20):
            client = Client(target.node.edge.port, receive_bytes=4096)
            stack.enter_context(contextlib.closing(client))
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                for _ in range(10_000):
                    client.socket.sendall(get_large(path) * 100)
            assert is_hit(target.get(path))
        assert resident_bytes(target) - before < 20 * 256 * 1024


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 8_192 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /a HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 33_000 + b"\r\n\r\n", 431),
        (b"GET /a HTTP/1.1\r\n" + HOST + (b"A: " + b"b" * 1000 + b"\r\n") * 33 + b"\r\n", 431),
        (b"GET /a HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 100 + b"\r\n", 431),
        (b"GET /a HTTP/1.1\r\n" + HOST + b"A" * 33_000 + b": b\r\n\r\n", 431),
    ],
)
def test_oversized_head_is_refused(target: Target, data: bytes, status: int) -> None:
    """Line 38."""
    target.assert_refused(data, status)


RANGES = [
    b"0-," * 1000 + b"0-",
    b"0-1," * 1000 + b"0-1",
    b",".join(b"%d-" % number for number in range(1000)),
    b"0-9,5-14,0-9,-5",
    b"-1000000," * 500 + b"-1",
]


@pytest.mark.parametrize("ranges", RANGES, ids=[str(index) for index in range(len(RANGES))])
@pytest.mark.parametrize("is_cached", [False, True])
def test_many_ranges_never_multiply_a_body(target: Target, ranges: bytes, is_cached: bool) -> None:
    """Line 43."""
    path = target.fresh_path("ranges")
    body = bytes(range(256)) * 40
    target.origin.answers[path] = whole(body, FRESH, b'ETag: "1"')
    if is_cached:
        target.get(path)
    for _ in range(2):
        response = target.get(path, b"Range: bytes=" + ranges)
        assert (response.status, response.body) == (200, body)


def test_range_of_a_huge_file_is_not_more_than_that_for_the_origin(target: Target) -> None:
    """Line 44: an origin that knows ranges sends the range; one that does not stops with its client."""
    size = 10 << 30
    path, other = target.fresh_path("huge"), target.fresh_path("huge")
    sent = {path: 0, other: 0}
    has_ended = threading.Event()

    def answer(request: RecordedRequest) -> None:
        if request.target == path and (request.get(b"Range") or b"") == b"bytes=5-9":
            lines = [b"HTTP/1.1 206 Partial Content", FRESH, b"Content-Range: bytes 5-9/%d" % size]
            request.send(b"\r\n".join([*lines, b"Content-Length: 5", b"", b"range"]))
            return
        try:
            request.send(b"HTTP/1.1 200 OK\r\n" + FRESH + b"\r\nContent-Length: %d\r\n\r\n" % size)
            while sent[request.target] < size:
                request.send(bytes(MIB))
                sent[request.target] += MIB
        finally:
            has_ended.set()

    target.origin.answers[path] = target.origin.answers[other] = answer
    for _ in range(3):
        response = target.get(path, b"Range: bytes=5-9")
        assert (response.status, response.body) == (206, b"range")
    assert sent[path] == 0
    client = target.client()
    client.send(b"GET " + other + b" HTTP/1.1\r\n" + HOST + b"Range: bytes=5-9\r\n\r\n")
    assert client.read_head().status == 200
    client.read_exactly(100_000)
    client.close()
    assert has_ended.wait(10), "the origin goes on sending for nobody"
    assert sent[other] < 64 * MIB


def test_stampede_on_a_cold_url_is_one_request(target: Target) -> None:
    """Line 45: everybody gets every byte."""
    path = target.fresh_path("stampede")
    body = random.Random(45).randbytes(MIB)
    gate = threading.Event()

    def answer(request: RecordedRequest) -> None:
        gate.wait(10)
        request.send(whole(body, FRESH))

    target.origin.answers[path] = answer
    clients = [target.client() for _ in range(400)]
    for client in clients:
        client.send(get_large(path))
    wait_until(lambda: target.origin.count(path) > 0, "the first request reaches the origin")
    gate.set()
    for client in clients:
        response = client.read_response()
        assert response.status == 200
        assert response.body == body
        client.close()
    assert target.origin.count(path) == 1


def test_clients_that_leave_a_stampede_at_any_byte_harm_nobody_else(target: Target) -> None:
    """Line 45: not even when the one that caused the fetch is among them."""
    path = target.fresh_path("leaving")
    dice = random.Random(time.time_ns())
    body = dice.randbytes(3 * MIB)

    def answer(request: RecordedRequest) -> None:
        request.send(whole(body, FRESH)[: -len(body)])
        for at in range(0, len(body), 65_536):
            request.send(body[at : at + 65_536])
            time.sleep(0.005)

    def visit(number: int) -> bool:
        client = target.client()
        client.send(get_large(path))
        if number % 2 == 0:
            response = client.read_response()
            client.close()
            return response.body == body
        left = dice.randrange(len(body))
        option = struct.pack("ii", number % 4 == 1, 0)  # a reset or a plain end
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        while left > 0 and (part := client.socket.recv(min(left, 65_536))):
            left -= len(part)
        client.close()
        return True

    target.origin.answers[path] = answer
    with ThreadPoolExecutor(60) as pool:
        assert all(pool.map(visit, reversed(range(60))))
    assert target.origin.count(path) == 1
    assert target.get(path).body == body


def test_stampede_on_an_uncacheable_url_is_no_queue(target: Target) -> None:
    """Line 45."""
    path = target.fresh_path("personal")
    delay_s = 0.2

    def answer(request: RecordedRequest) -> None:
        time.sleep(delay_s)
        request.send(whole(b"mine", b"Cache-Control: no-store"))

    target.origin.answers[path] = answer
    started = time.monotonic()
    with ThreadPoolExecutor(60) as pool:
        bodies = list(pool.map(lambda _: target.get(path).body, range(60)))
    assert bodies == [b"mine"] * 60
    # One answer shows that it is uncacheable, then all others are asked for at once.
    assert time.monotonic() - started < delay_s * 20


def body_of(path: bytes) -> bytes:
    """Bytes that only this path has, of a size that follows from it."""
    generator = random.Random(path)
    return path + b"|" + generator.randbytes(generator.randint(1, 60_000))


def test_flood_of_unique_urls_neither_stops_hits_nor_mixes_bodies(start_target: Start) -> None:
    """Line 46: forty times the slab, through a slab of the least size."""
    with start_target("--memory", "8MiB") as target:
        target.origin.default = lambda request: request.send(whole(body_of(request.target), FRESH))
        hot = b"/hot"
        assert target.get(hot).body == body_of(hot)
        misses = 0

        def flood(first: int) -> None:
            nonlocal misses
            client = target.client()
            for number in range(first, first + 600):
                path = b"/unique-%d" % number
                client.send(get_large(path) + get_large(hot))
                assert client.read_response().body == body_of(path)
                response = client.read_response()
                assert response.body == body_of(hot)
                misses += not is_hit(response)
            client.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(flood, range(0, 2400, 600)))
        assert misses < 24, "the hot object was evicted again and again"
        _, document = target.node.get_json("/api/v1/status")
        assert document["cache"]["evictions"] > 1000
        assert document["cache"]["bytes"] < 8 * MIB


def test_out_of_memory_for_readers_of_many_large_objects_is_no_failure(start_target: Start) -> None:
    """Line 46: slow readers pin more than there is; others pass through uncached."""
    with start_target("--memory", "8MiB", "--object-bytes-max", "2MiB") as target:
        target.origin.default = lambda request: request.send(whole(big_body(request.target), FRESH))
        slow = []
        for number in range(12):
            client = Client(target.node.edge.port, receive_bytes=4096)
            client.send(get_large(b"/pinned-%d" % number))
            slow.append(client)
        for number in range(12):
            path = b"/passed-%d" % number
            assert target.get(path).body == big_body(path)
        for number, client in enumerate(slow):
            assert client.read_response().body == big_body(b"/pinned-%d" % number)
            client.close()
        path = b"/after"
        target.get(path)
        wait_until(lambda: is_hit(target.get(path)), "there is room again")


def big_body(path: bytes) -> bytes:
    """A megabyte and a half that only this path has."""
    return random.Random(path).randbytes(1_500_000)


def test_connections_beyond_the_bound_are_told_so(start_target: Start) -> None:
    """Line 37."""
    with start_target("--edge-connections-max", "50") as target, contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(contextlib.closing(target.client()))
        with contextlib.closing(target.client()) as late:
            late.socket.settimeout(10)
            with contextlib.suppress(ConnectionError, socket.timeout):
                late.send(get_large(b"/late"))
            assert late.read_response().status == 503
