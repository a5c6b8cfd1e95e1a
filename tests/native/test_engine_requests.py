"""Requests handed to Python: their events, bodies, answers, and how each of them ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from neuro._core.engine import (
    OUTCOME_BYPASS,
    OUTCOME_MISS,
    WRITE_HIGH_BYTES,
    BodyEvent,
    ClosedEvent,
    WritableEvent,
)
from neuro.errors import InvalidArgument, WrongState
from tests.native.engine_driver import HOST, EngineDriver


@pytest.fixture
def driver() -> Iterator[EngineDriver]:
    with EngineDriver() as made:
        yield made


def test_request_event_says_everything_about_the_request(driver: EngineDriver) -> None:
    client = driver.client()
    client.send(
        b"POST http://EXAMPLE.test:80/p?q=%41 HTTP/1.1\r\nhost: Example.Test\r\nX-A:  1 \r\nx-a:\r\n"
        b"Content-Length: 3\r\nExpect: 100-Continue\r\n\r\n"
    )
    event = driver.next_request()
    assert event.method == b"POST"
    assert event.target == b"/p?q=%41"
    assert event.authority == b"example.test"
    assert event.key == b"http://example.test/p?q=%41"
    assert event.fields == [
        (b"host", b"Example.Test"),
        (b"X-A", b"1"),
        (b"x-a", b""),
        (b"Content-Length", b"3"),
        (b"Expect", b"100-Continue"),
    ]
    assert (event.minor_version, event.content_length) == (1, 3)
    assert event.has_body and event.expects_continue and event.peer_is_loopback
    assert not event.is_object_api and not event.is_stale_hit
    assert event.peer_address == "127.0.0.1"
    assert event.peer_port == client.socket.getsockname()[1]


@pytest.mark.parametrize(
    ("head", "target", "key"),
    [
        (b"OPTIONS * HTTP/1.1\r\nHost: h:81", b"*", b"http://h:81*"),
        (b"OPTIONS http://h HTTP/1.1\r\nHost: h", b"*", b"http://h*"),
        (b"GET http://h HTTP/1.1\r\nHost: h", b"/", b"http://h/"),
        (b"PUT /cache/a?b HTTP/1.1\r\nHost: h", b"/cache/a?b", b"cache:/cache/a"),
        (b"GET //x/../y HTTP/1.1\r\nHost: [::1]:8080", b"//x/../y", b"http://[::1]:8080//x/../y"),
        (b"GET /a HTTP/1.0", b"/a", b"http:///a"),
    ],
)
def test_targets_and_keys(driver: EngineDriver, head: bytes, target: bytes, key: bytes) -> None:
    client = driver.client()
    client.send(head + b"\r\n\r\n")
    event = driver.next_request()
    assert (event.target, event.key) == (target, key)
    assert event.is_object_api == target.startswith(b"/cache/")


def test_answer_with_length_ends_with_a_complete_closed_event(driver: EngineDriver) -> None:
    client = driver.client()
    for _ in range(3):
        client.get("/miss")
        event = driver.next_request()
        driver.answer_all(event.request)
        response = client.read_response()
        assert response.body == b"from python"
        assert response.get(b"X-From") == b"python"
        assert driver.next_event(ClosedEvent, event.request).is_complete
        assert not driver.engine.write(event.request, b"late")
        assert not driver.engine.abort(event.request)
    driver.assert_no_event()


def test_answer_of_unknown_length_is_chunked(driver: EngineDriver) -> None:
    client = driver.client()
    client.get("/miss")
    request = driver.next_request().request
    driver.engine.answer(request, 200, b"", length=None, outcome=OUTCOME_MISS)
    for part in (b"a", b"", b"b" * 70_000):
        assert driver.engine.write(request, part)
    driver.engine.finish(request)
    response = client.read_response()
    assert response.chunks == [b"a", b"b" * 70_000]
    driver.wait_for_stat("bytes_received", len(f"GET /miss HTTP/1.1\r\nHost: {HOST}\r\n\r\n"))


def test_answer_of_unknown_length_to_http_1_0_ends_with_the_connection(
    driver: EngineDriver,
) -> None:
    client = driver.client()
    client.get("/miss", "Connection: keep-alive", version="1.0")
    request = driver.next_request().request
    driver.engine.answer(request, 200, b"", length=None, outcome=OUTCOME_MISS)
    driver.engine.write(request, b"body")
    driver.engine.finish(request)
    response = client.read_response()
    assert (response.get(b"Transfer-Encoding"), response.body) == (None, b"body")
    assert response.get(b"Connection") == b"close"


@pytest.mark.parametrize(
    ("method", "status", "length", "header"),
    [
        ("HEAD", 200, 1234, b"1234"),
        ("HEAD", 200, None, None),
        ("GET", 204, 0, None),
        ("GET", 304, None, None),
        ("GET", 304, 77, b"77"),
        ("GET", 200, 0, b"0"),
    ],
)
def test_answer_without_body_is_complete_at_once(
    driver: EngineDriver, method: str, status: int, length: int | None, header: bytes | None
) -> None:
    client = driver.client()
    client.get("/miss", method=method)
    request = driver.next_request().request
    driver.engine.answer(request, status, b"", length=length, outcome=OUTCOME_MISS)
    driver.engine.write(request, b"never sent")
    driver.engine.finish(request)
    response = client.read_response(is_head=method == "HEAD")
    assert (response.status, response.get(b"Content-Length")) == (status, header)
    assert response.get(b"Transfer-Encoding") is None
    assert driver.next_event(ClosedEvent, request).is_complete
    client.get("/again")
    driver.answer_all(driver.next_request().request)
    assert client.read_response().body == b"from python"


def test_answer_from_an_object_and_a_part_of_it(driver: EngineDriver) -> None:
    body = driver.put("/other", os.urandom(300_000))
    stored = driver.slab.acquire(f"http://{HOST}/other".encode())
    assert stored is not None
    client = driver.client()
    for offset, length in [(0, None), (0, 300_000), (1000, 250_000), (299_999, 1), (5, 0)]:
        client.get("/miss")
        request = driver.next_request().request
        assert driver.engine.answer(
            request,
            200,
            b"",
            length=length,
            outcome=OUTCOME_BYPASS,
            object_handle=stored.handle,
            offset=offset,
        )
        end = len(body) if length is None else offset + length
        assert client.read_response().body == body[offset:end]
        assert driver.next_event(ClosedEvent, request).is_complete
    stored.release()


def test_wrong_answers_are_refused_and_the_request_lives_on(driver: EngineDriver) -> None:
    driver.put("/other", b"12345")
    stored = driver.slab.acquire(f"http://{HOST}/other".encode())
    assert stored is not None
    client = driver.client()
    client.get("/miss")
    request = driver.next_request().request
    engine = driver.engine
    with pytest.raises(InvalidArgument):
        engine.answer(request, 199, b"", length=0, outcome=OUTCOME_MISS)
    with pytest.raises(InvalidArgument):
        engine.answer(request, 200, b"", length=0, outcome=99)
    with pytest.raises(InvalidArgument):
        engine.answer(request, 200, b"", length=5, offset=1, outcome=0, object_handle=stored.handle)
    with pytest.raises(WrongState):
        engine.write(request, b"before the answer")
    with pytest.raises(InvalidArgument):
        engine.inform(request, 101, b"")
    engine.answer(request, 200, b"", length=None, outcome=OUTCOME_MISS)
    with pytest.raises(WrongState):
        engine.answer(request, 200, b"", length=0, outcome=OUTCOME_MISS)
    engine.write(request, b"first answer")
    engine.finish(request)
    assert client.read_response().body == b"first answer"
    stored.release()
    assert not engine.answer(0, 200, b"", length=0, outcome=OUTCOME_MISS)
    assert not engine.answer(2**64 - 1, 200, b"", length=0, outcome=OUTCOME_MISS)


@pytest.mark.parametrize("sent", [3, 8])
def test_body_of_another_length_than_promised_cuts_the_connection(
    driver: EngineDriver, sent: int
) -> None:
    client = driver.client()
    client.get("/miss")
    request = driver.next_request().request
    driver.engine.answer(request, 200, b"", length=5, outcome=OUTCOME_MISS)
    driver.engine.write(request, b"x" * sent)
    driver.engine.finish(request)
    assert not driver.next_event(ClosedEvent, request).is_complete
    client.assert_cut()


def test_abort_cuts_the_connection_in_the_middle_of_a_body(driver: EngineDriver) -> None:
    client = driver.client()
    client.get("/miss")
    request = driver.next_request().request
    driver.engine.answer(request, 200, b"", length=None, outcome=OUTCOME_MISS)
    driver.engine.write(request, b"half")
    assert client.read_head().status == 200
    driver.engine.abort(request)
    assert not driver.next_event(ClosedEvent, request).is_complete
    assert not client.read_rest().endswith(b"0\r\n\r\n")


def test_informational_responses_come_before_the_final_one(driver: EngineDriver) -> None:
    client = driver.client()
    client.get("/miss")
    request = driver.next_request().request
    assert driver.engine.inform(request, 103, b"Link: </a.css>\r\n")
    assert client.read_response().get(b"Link") == b"</a.css>"
    driver.answer_all(request)
    assert client.read_response().status == 200


def test_client_that_leaves_is_reported_once(driver: EngineDriver) -> None:
    client = driver.client()
    client.get("/miss")
    request = driver.next_request().request
    client.close()
    assert not driver.next_event(ClosedEvent, request).is_complete
    assert not driver.engine.answer(request, 200, b"", length=0, outcome=OUTCOME_MISS)
    driver.wait_for_stat("connections_open", 0)
    driver.assert_no_event()


def test_client_that_leaves_in_the_middle_of_its_body_is_reported(driver: EngineDriver) -> None:
    client = driver.client()
    client.send(b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf")
    request = driver.next_request().request
    driver.engine.read(request, 100)
    assert driver.next_event(BodyEvent, request).data == b"half"
    client.close()
    assert not driver.next_event(ClosedEvent, request).is_complete


def test_client_that_leaves_in_the_middle_of_the_answer_is_reported(driver: EngineDriver) -> None:
    client = driver.client(receive_bytes=4096)
    client.get("/miss")
    request = driver.next_request().request
    driver.engine.answer(request, 200, b"", length=None, outcome=OUTCOME_MISS)
    client.read_head()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()
    while driver.engine.write(request, b"x" * 65536):
        pass
    events = [driver.next_any()]
    while not isinstance(events[-1], ClosedEvent):
        events.append(driver.next_any())
    assert not events[-1].is_complete


def test_writer_that_waits_for_writable_is_always_woken(driver: EngineDriver) -> None:
    client = driver.client(receive_bytes=4096)
    client.get("/miss")
    request = driver.next_request().request
    total = 6_000_000
    body = os.urandom(total)
    driver.engine.answer(request, 200, b"", length=total, outcome=OUTCOME_MISS)
    at = 0
    queued = 0
    received = b""
    client.socket.setblocking(False)
    writable_count = 0
    while at < total or len(received) < total:
        if at < total and queued < WRITE_HIGH_BYTES:
            part = body[at : at + 60_000]
            assert driver.engine.write(request, part)
            at += len(part)
            queued += len(part)
            if at == total:
                driver.engine.finish(request)
            continue
        for event in driver.engine.poll():
            if isinstance(event, WritableEvent):
                writable_count += 1
                queued = 0
        try:
            received += client.socket.recv(200_000)
        except BlockingIOError:
            continue
        if b"\r\n\r\n" in received[:500] and received.startswith(b"HTTP"):
            received = received.split(b"\r\n\r\n", 1)[1]
    assert received == body
    assert writable_count >= 10


def test_unread_pipeline_behind_a_waiting_request_is_bounded(driver: EngineDriver) -> None:
    client = driver.client()
    client.get("/miss")
    request = driver.next_request().request
    client.socket.settimeout(0.3)
    one = f"GET /more HTTP/1.1\r\nHost: {HOST}\r\nX: {'x' * 1000}\r\n\r\n".encode()
    sent = 0
    with pytest.raises(TimeoutError):
        for _ in range(100_000):
            client.send(one * 16)
            sent += 1
    assert int(driver.engine.stats()["bytes_received"]) < 200_000  # type: ignore[call-overload]
    driver.answer_all(request)
    driver.next_event(ClosedEvent, request)
    assert driver.next_request().target == b"/more"
