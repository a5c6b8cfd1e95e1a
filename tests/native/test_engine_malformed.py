"""What is malformed is refused with a whole answer and a closed connection; Python never hears of it."""

from __future__ import annotations

import random
import select
import socket
from collections.abc import Iterator

import pytest

from neuro._core.engine import OUTCOME_MISS, BodyEvent, ClosedEvent, RequestEvent
from tests.native.engine_driver import HOST, WAIT_S, EngineDriver


@pytest.fixture(scope="module")
def driver() -> Iterator[EngineDriver]:
    with EngineDriver() as made:
        made.put("/a")
        yield made


H = b"Host: example.test\r\n"
GET = b"GET /a HTTP/1.1\r\n" + H

REFUSED: list[tuple[str, int, bytes]] = [
    # RFC 9112 section 2.2 and 3: lines
    ("bare LF after the request line", 400, b"GET /a HTTP/1.1\n" + H + b"\r\n"),
    ("bare LF after a field", 400, b"GET /a HTTP/1.1\r\nHost: example.test\n\r\n"),
    ("bare LF as the end", 400, GET + b"\n"),
    ("bare CR in the request line", 400, b"GET /a\r HTTP/1.1\r\n" + H + b"\r\n"),
    ("two empty lines first", 400, b"\r\n\r\n" + GET + b"\r\n"),
    ("LF first", 400, b"\n" + GET + b"\r\n"),
    ("space first", 400, b" " + GET + b"\r\n"),
    ("HTTP/0.9", 400, b"GET /a\r\n\r\n"),
    ("two spaces", 400, b"GET  /a HTTP/1.1\r\n" + H + b"\r\n"),
    ("tab as separator", 400, b"GET\t/a\tHTTP/1.1\r\n" + H + b"\r\n"),
    ("space behind the version", 400, b"GET /a HTTP/1.1 \r\n" + H + b"\r\n"),
    ("no method", 400, b" /a HTTP/1.1\r\n" + H + b"\r\n"),
    ("method that is no token", 400, b"G(T /a HTTP/1.1\r\n" + H + b"\r\n"),
    ("space in the target", 400, b"GET /a b HTTP/1.1\r\n" + H + b"\r\n"),
    ("fragment in the target", 400, b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n"),
    ("obs-text in the target", 400, b"GET /\xc3\xa4 HTTP/1.1\r\n" + H + b"\r\n"),
    ("NUL in the target", 400, b"GET /a\x00 HTTP/1.1\r\n" + H + b"\r\n"),
    ("relative target", 400, b"GET a HTTP/1.1\r\n" + H + b"\r\n"),
    ("asterisk for GET", 400, b"GET * HTTP/1.1\r\n" + H + b"\r\n"),
    ("https in absolute-form", 400, b"GET https://example.test/ HTTP/1.1\r\n" + H + b"\r\n"),
    ("absolute-form of another host", 400, b"GET http://b.test/a HTTP/1.1\r\n" + H + b"\r\n"),
    ("userinfo", 400, b"GET http://u@example.test/a HTTP/1.1\r\n" + H + b"\r\n"),
    ("CONNECT", 501, b"CONNECT example.test:80 HTTP/1.1\r\n" + H + b"\r\n"),
    ("lower case version", 400, b"GET /a http/1.1\r\n" + H + b"\r\n"),
    ("HTTP/2.0", 505, b"GET /a HTTP/2.0\r\n" + H + b"\r\n"),
    ("HTTP/1.2", 505, b"GET /a HTTP/1.2\r\n" + H + b"\r\n"),
    ("HTTP/2 preface", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("long version", 400, b"GET /a HTTP/1.10\r\n" + H + b"\r\n"),
    ("TLS hello", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    # RFC 9112 section 5: fields
    ("space before the colon", 400, GET + b"A : b\r\n\r\n"),
    ("tab before the colon", 400, GET + b"A\t: b\r\n\r\n"),
    ("obs-fold with space", 400, GET + b"A: b\r\n c\r\n\r\n"),
    ("obs-fold with tab", 400, GET + b"A: b\r\n\tc\r\n\r\n"),
    ("fold first", 400, b"GET /a HTTP/1.1\r\n " + H + b"\r\n"),
    ("no colon", 400, GET + b"A b\r\n\r\n"),
    ("empty name", 400, GET + b": b\r\n\r\n"),
    ("name that is no token", 400, GET + b"A(: b\r\n\r\n"),
    ("obs-text in a name", 400, GET + b"\xc3: b\r\n\r\n"),
    ("NUL in a value", 400, GET + b"A: \x00\r\n\r\n"),
    ("CR in a value", 400, GET + b"A: b\rc\r\n\r\n"),
    ("LF in a value", 400, GET + b"A: b\nc: d\r\n\r\n"),
    ("control character in a value", 400, GET + b"A: \x01\r\n\r\n"),
    ("DEL in a value", 400, GET + b"A: \x7f\r\n\r\n"),
    # RFC 9112 section 3.2: Host
    ("no Host", 400, b"GET /a HTTP/1.1\r\n\r\n"),
    ("two Hosts", 400, GET + H + b"\r\n"),
    ("empty Host", 400, b"GET /a HTTP/1.1\r\nHost: \r\n\r\n"),
    ("Host with a path", 400, b"GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("Host with userinfo", 400, b"GET /a HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    ("Host with a space", 400, b"GET /a HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("Host with a bad port", 400, b"GET /a HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    ("Host list", 400, b"GET /a HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    # RFC 9112 section 6: framing
    ("length and coding", 400, GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx"),
    ("coding and length", 400, GET + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx"),
    ("two lengths", 400, GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
    ("two equal lengths", 400, GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
    ("length list", 400, GET + b"Content-Length: 1, 1\r\n\r\nx"),
    *[
        (f"length {value!r}", 400, GET + b"Content-Length: " + value + b"\r\n\r\nhello")
        for value in (b"+5", b"-5", b"0x5", b"5_0", b"", b"5 0", b"5.0", b"\xd9\xa5", b"9" * 20)
    ],
    *[
        (f"coding {value!r}", status, GET + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n")
        for value, status in [
            (b",chunked", 400),
            (b"chunked,", 400),
            (b"chunked, chunked", 400),
            (b"gzip, chunked", 400),
            (b"identity", 501),
            (b"xchunked", 501),
            (b"chunked;q=1", 501),
            (b"\x0bchunked", 400),
            (b"", 400),
        ]
    ],
    ("two codings", 400, GET + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n"),
    (
        "coding of HTTP/1.0",
        400,
        b"POST /a HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("unknown expectation", 417, GET + b"Expect: more\r\n\r\n"),
    # limits
    ("long target", 414, b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\n" + H + b"\r\n"),
    ("long target that does not end", 414, b"GET /" + b"a" * 9000),
    ("long field", 431, GET + b"A: " + b"b" * 33000 + b"\r\n\r\n"),
    ("many bytes of fields", 431, GET + b"A: bbbbbbbbbbbbbbbbbbbbbb\r\n" * 1300 + b"\r\n"),
    ("many fields", 431, GET + b"A: b\r\n" * 100 + b"\r\n"),
]


@pytest.mark.parametrize(("name", "status", "data"), REFUSED, ids=[case[0] for case in REFUSED])
@pytest.mark.parametrize("follower", [b"", b"GET /a HTTP/1.1\r\nHost: example.test\r\n\r\n"])
def test_malformed_request_is_refused_and_closed(
    driver: EngineDriver, name: str, status: int, data: bytes, follower: bytes
) -> None:
    client = driver.client()
    client.send(data + follower)
    response = client.read_response()
    assert response.status == status
    assert response.get(b"Connection") == b"close"
    assert response.get(b"Date") is not None
    assert response.get(b"Cache-Status") == b"NeuroCache; detail=refused"
    client.assert_closed()
    client.close()
    driver.assert_no_event()


ACCEPTED = [
    GET + b"\r\n",
    b"\r\n" + GET + b"\r\n",
    GET + b"A:b\r\nB:\r\nC: \t d \t\r\nD: \xff\xfe\r\n\r\n",
    b"GET /a HTTP/1.1\r\nhOST:\texample.test\r\n\r\n",
    b"GET http://EXAMPLE.test:80/a HTTP/1.1\r\n" + H + b"\r\n",
    GET + b"Content-Length: 0\r\n\r\n",
    GET + b"A: b\r\n" * 99 + b"\r\n",
]


@pytest.mark.parametrize("data", ACCEPTED)
def test_correct_request_is_accepted(driver: EngineDriver, data: bytes) -> None:
    client = driver.client()
    client.send(data)
    assert client.read_response().body == b"hello"
    driver.assert_no_event()


SPLIT = [GET + b"\r\n", b"\r\n" + GET + b"Aaaa: bbbb\r\n\r\n"]
SPLIT += [
    data for name, _, data in REFUSED if name in ("LF in a value", "no Host", "CR in a value")
]


@pytest.mark.parametrize("data", SPLIT)
def test_split_at_every_offset_gives_the_same_answer(driver: EngineDriver, data: bytes) -> None:
    whole = driver.client()
    whole.send(data)
    expected = whole.read_response()
    for offset in range(1, len(data)):
        client = driver.client()
        client.send(data[:offset])
        try:
            client.send(data[offset:])
            response = client.read_response()
        except (BrokenPipeError, ConnectionResetError):
            # Refused before the rest was sent: only possible for what is refused anyway.
            assert expected.status == 400
            continue
        assert (response.status, response.body) == (expected.status, expected.body)
        client.close()
    driver.assert_no_event()


def _interpretation(driver: EngineDriver, pieces: list[bytes]) -> list[object]:
    """What the engine makes of the bytes: statuses it answers with, requests it gives to Python."""
    client = driver.client()
    seen: list[object] = []
    try:
        for piece in pieces:
            client.send(piece)
        client.socket.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # refused before the last piece
    waiting = [client.socket.fileno(), driver.engine.event_fd]
    is_open = True
    while is_open:
        ready, _, _ = select.select(waiting, [], [], WAIT_S)
        assert ready, "neither an answer nor a request nor the end"
        for event in driver.engine.poll():
            if isinstance(event, RequestEvent):
                seen.append((event.method, event.key, event.content_length, event.fields))
                driver.engine.abort(event.request)
        if client.socket.fileno() in ready:
            try:
                is_open = client._fill()
            except ConnectionResetError:
                is_open = False
    client.close()
    return seen or [line[:3] for line in client.buffer.split(b"HTTP/1.1 ")[1:2]]


def test_mutated_requests_have_one_interpretation_however_they_arrive() -> None:
    generator = random.Random(20260722)
    seeds = [data for _, _, data in REFUSED if len(data) < 200] + [
        d for d in ACCEPTED if len(d) < 200
    ]
    alphabet = b"\r\n\t :;,/#%\x00\x7f\xff09azAZ-_+"
    kinds: set[type] = set()
    with EngineDriver() as driver:
        driver.put("/a")
        for _ in range(300):
            data = bytearray(generator.choice(seeds))
            for _ in range(generator.randint(1, 3)):
                position = generator.randrange(len(data))
                if generator.random() < 0.5:
                    data[position] = generator.choice(alphabet)
                else:
                    data[position:position] = bytes([generator.choice(alphabet)])
            whole = bytes(data)
            cut = generator.randrange(1, len(whole))
            first = _interpretation(driver, [whole])
            second = _interpretation(driver, [whole[:cut], whole[cut:]])
            third = _interpretation(driver, [whole[i : i + 1] for i in range(len(whole))])
            assert first == second == third, whole
            kinds.update(type(item) for item in first)
        # Both the refusals and the requests that are correct after all were met.
        assert kinds == {bytes, tuple}


BAD_CHUNKS = [
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"5_0\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\r\rhello\r\n0\r\n\r\n",
    b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff0\r\nhello\r\n",
    b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"a" * 2000 + b"\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\n bad: x\r\n\r\n",
    b"5\r\nhello\r\n0\r\nA: \x00\r\n\r\n",
    b"5\r\nhello\r\n0\r\n" + b"A: b\r\n" * 100 + b"\r\n",
    b"\r\n",
]


@pytest.mark.parametrize("body", BAD_CHUNKS)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_malformed_chunked_body_is_refused_and_ends_the_request(
    driver: EngineDriver, body: bytes, step: int
) -> None:
    client = driver.client()
    client.send(b"POST /up HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n")
    event = driver.next_request()
    assert (event.content_length, event.has_body) == (None, True)
    assert driver.engine.read(event.request, 1 << 20)
    try:
        for at in range(0, len(body), step):
            client.send(body[at : at + step])
        client.send(GET + b"\r\n")
    except OSError:
        pass  # refused in the middle
    try:
        response = client.read_response()
    except ConnectionResetError:
        assert step == 1
        response = None
    assert response is None or (response.status, response.get(b"Connection")) == (400, b"close")
    received = b""
    while isinstance(last := driver.next_any(), BodyEvent):
        assert not last.is_last
        received += last.data
    assert isinstance(last, ClosedEvent)
    assert not last.is_complete
    assert b"hello".startswith(received)
    assert not driver.engine.answer(event.request, 200, b"", length=0, outcome=OUTCOME_MISS)
    client.close()
    driver.assert_no_event()


def test_request_bytes_after_the_refused_one_are_never_a_request(driver: EngineDriver) -> None:
    before = driver.engine.stats()["requests"]
    client = driver.client()
    client.send(
        GET + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n"
    )
    client.send(f"Host: {HOST}\r\n\r\n".encode())
    assert client.read_response().status == 400
    client.assert_closed()
    assert driver.engine.stats()["requests"] == before
    driver.assert_no_event()
