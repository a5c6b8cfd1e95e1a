"""Request bodies: credit, 100 Continue, early answers, and where the next request begins."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from neuro._core.engine import OUTCOME_MISS, BodyEvent, ClosedEvent
from tests.native.engine_driver import EngineDriver


@pytest.fixture
def driver() -> Iterator[EngineDriver]:
    with EngineDriver() as made:
        yield made


@pytest.mark.parametrize("size", [1, 65536, 65537, 3_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_request_body_arrives_exactly_and_the_next_request_follows(
    driver: EngineDriver, size: int, is_chunked: bool
) -> None:
    body = os.urandom(size)
    client = driver.client()
    client.socket.setblocking(False)
    head = b"PUT /up HTTP/1.1\r\nHost: h\r\n"
    if is_chunked:
        data = head + b"Transfer-Encoding: chunked\r\n\r\n"
        for at in range(0, size, 50_001):
            part = body[at : at + 50_001]
            data += b"%x\r\n%b\r\n" % (len(part), part)
        data += b"0\r\nTrailer: dropped\r\n\r\n"
    else:
        data = head + b"Content-Length: %d\r\n\r\n%b" % (size, body)
    data += b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
    sent = 0
    request = 0
    received = b""
    is_last = False
    while not is_last:
        if sent < len(data):
            try:
                sent += client.socket.send(data[sent : sent + 200_000])
            except BlockingIOError:
                pass
        for event in driver.engine.poll():
            if isinstance(event, BodyEvent):
                assert len(event.data) <= 65536
                received += event.data
                is_last = event.is_last
                driver.engine.read(request, len(event.data))
            else:
                request = event.request
                driver.engine.read(request, 100_000)
    assert received == body
    client.socket.settimeout(10)
    client.send(data[sent:])
    driver.answer_all(request)
    assert client.read_response().body == b"from python"
    driver.next_event(ClosedEvent, request)
    assert driver.next_request().target == b"/next"


def test_no_body_byte_comes_without_a_grant_and_no_more_than_granted(driver: EngineDriver) -> None:
    client = driver.client()
    client.send(b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789")
    request = driver.next_request().request
    driver.assert_no_event()
    driver.engine.read(request, 4)
    event = driver.next_event(BodyEvent, request)
    assert (event.data, event.is_last) == (b"0123", False)
    driver.engine.read(request, 6)
    event = driver.next_event(BodyEvent, request)
    assert (event.data, event.is_last) == (b"456789", True)


def test_continue_is_sent_on_the_first_grant_only(driver: EngineDriver) -> None:
    client = driver.client()
    client.send(b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    request = driver.next_request().request
    driver.engine.read(request, 2)
    driver.engine.read(request, 2)
    assert client.read_response().status == 100
    client.send(b"body")
    assert driver.read_body(request, 0) == b"body"
    driver.answer_all(request)
    assert client.read_response().status == 200


def test_client_that_sends_its_body_at_once_gets_no_continue(driver: EngineDriver) -> None:
    client = driver.client()
    client.send(
        b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody"
    )
    request = driver.next_request().request
    assert driver.read_body(request) == b"body"
    driver.answer_all(request)
    assert client.read_response().status == 200


def test_final_answer_instead_of_continue_closes(driver: EngineDriver) -> None:
    client = driver.client()
    client.send(b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    request = driver.next_request().request
    driver.answer_all(request, b"no", 403)
    response = client.read_response()
    assert (response.status, response.get(b"Connection")) == (403, b"close")
    # A client that sends the body nevertheless: it is dropped, not parsed.
    client.send(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
    client.assert_closed()
    driver.next_event(ClosedEvent, request)
    driver.assert_no_event()


def test_early_answer_to_an_unread_body_reaches_the_client(driver: EngineDriver) -> None:
    client = driver.client()
    client.send(b"PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 400000\r\n\r\n" + b"x" * 100_000)
    request = driver.next_request().request
    driver.answer_all(request, b"too large", 413)
    response = client.read_response()
    assert (response.status, response.body) == (413, b"too large")
    client.assert_closed()


def test_body_that_arrived_in_full_is_dropped_and_the_connection_kept(driver: EngineDriver) -> None:
    client = driver.client()
    client.send(
        b"GET /fat HTTP/1.1\r\nHost: h\r\nContent-Length: 35\r\n\r\n"
        b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    request = driver.next_request().request
    driver.answer_all(request)
    assert client.read_response().get(b"Connection") is None
    driver.next_event(ClosedEvent, request)
    assert driver.next_request().target == b"/next"


def test_half_of_a_body_behind_an_answer_that_its_client_did_not_wait_for_ends_at_once(
    driver: EngineDriver,
) -> None:
    driver.put("/a")
    client = driver.client()
    client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    slow = driver.next_request().request
    driver.engine.answer(slow, 200, b"", length=10, outcome=OUTCOME_MISS)
    driver.engine.write(slow, b"01234")
    client.send(b"POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
    client.socket.shutdown(socket.SHUT_WR)
    # The same thread answers others in the order of arrival, so it has seen the end by then.
    other = driver.client()
    other.get("/a")
    other.read_response()
    driver.engine.write(slow, b"56789")
    driver.engine.finish(slow)
    assert client.read_response().body == b"0123456789"
    driver.next_event(ClosedEvent, slow)
    upload = driver.next_request().request
    driver.engine.read(upload, 65536)
    assert driver.next_event(BodyEvent, upload).data == b"half"
    assert not driver.next_event(ClosedEvent, upload).is_complete
    client.assert_closed()
