"""Request framing and smuggling: lines 1 to 9 of the list of attacks on the edge."""

from __future__ import annotations

import pytest

from tests.recording_origin import whole
from tests.scenarios.edge.conftest import FRESH, HOST, LOCAL, Target, is_hit

POST = b"POST /up HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding:\tchunked\r\ncontent-length: 0\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
    ],
)
@pytest.mark.parametrize("method", [b"POST", b"GET", b"PUT"])
def test_length_and_coding_together_are_refused(
    target: Target, method: bytes, fields: bytes
) -> None:
    """Line 1. Source: RFC 9112 section 6.3."""
    target.assert_refused(method + b" /up HTTP/1.1\r\n" + HOST + fields + b"\r\n0\r\n\r\n", 400)


@pytest.mark.parametrize(
    "lines",
    [
        [b"5", b"6"],
        [b"5", b"5"],
        *([value] for value in (b"+5", b"-5", b"0x5", b"5_0", b"", b"5, 5", b"5,5", b"5 5")),
        *([value] for value in (b"5;", b"5.0", b"\xb2", b"99999999999999999999", b"'5'")),
    ],
    ids=repr,
)
def test_doubtful_content_length_is_refused(target: Target, lines: list[bytes]) -> None:
    """Line 2. Source: RFC 9112 section 6.3."""
    fields = b"".join(b"Content-Length: " + value + b"\r\n" for value in lines)
    target.assert_refused(POST + fields + b"\r\nhello", 400)


@pytest.mark.parametrize(
    "value",
    [
        *(b",chunked", b"chunked,", b"chunked, chunked", b"identity", b"xchunked", b"chunkedx"),
        *(
            b"gzip, chunked",
            b"chunked, identity",
            b"chunked;a=b",
            b'"chunked"',
            b"",
            b"\x0bchunked",
        ),
    ],
)
def test_doubtful_transfer_encoding_is_refused(target: Target, value: bytes) -> None:
    """Line 3. Source: RFC 9112 section 6.1."""
    request = POST + b"Transfer-Encoding: " + value + b"\r\n\r\n0\r\n\r\n"
    target.assert_refused(request, 400, 501)


def test_transfer_encoding_of_an_http_1_0_client_is_refused(target: Target) -> None:
    """Lines 3 and 8. Source: RFC 9112 section 6.1."""
    request = b"POST /up HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    target.assert_refused(request, 400)
    target.assert_refused(
        request.replace(b"\r\n\r\n0", b"\r\nConnection: keep-alive\r\n\r\n0"), 400
    )


@pytest.mark.parametrize(
    "body",
    [
        *(b"0x5\r\nhello\r\n", b"5_0\r\nhello\r\n", b"+5\r\nhello\r\n", b"-5\r\nhello\r\n"),
        *(b" 5\r\nhello\r\n", b"5 \r\nhello\r\n", b"5\nhello\r\n", b"5\r\rhello\r\n"),
        *(b"00000000000000005\r\nhello\r\n", b"10000000000000000\r\nhello\r\n", b"\r\nhello\r\n"),
        *(b"5;a\nb\r\nhello\r\n", b"5;a=\rb\r\nhello\r\n", b"5\r\nhello0\r\n", b"5\r\nhello\n"),
        *(b"5\r\nhelloXX\r\n", b"ffffffffffffffff\r\nhello\r\n", b"g\r\nhello\r\n"),
    ],
)
def test_malformed_chunk_is_refused_and_never_becomes_a_whole_request(
    target: Target, body: bytes
) -> None:
    """Line 4. The head is correct and may have gone on, but the request must never end as if whole,
    and nothing behind it is a request. Source: RFC 9112 section 7.1."""
    seen = len(target.origin.requests)
    client = target.client()
    client.send(CHUNKED + body + b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n")
    response = client.read_response()
    assert (response.status, response.get(b"Connection")) == (400, b"close")
    client.assert_closed()
    client.close()
    assert target.get(b"/fence").status == 200
    assert [request.target for request in target.origin.requests[seen:]] == [b"/fence"]


def _with_field(line: bytes) -> bytes:
    return b"GET /a HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"GET /a HTTP/1.1\n" + HOST + b"\r\n",
        b"GET /a HTTP/1.1\r\nHost: site.test\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: site.test\n\n",
        b"GET /a HTTP/1.1\r\n" + HOST + b"\n",
        *map(_with_field, (b"A : b", b"A\t: b", b"A: b\r\n c", b"A: b\r\n\tc", b" A: b")),
        *map(_with_field, (b"A: \x00", b"A: b\rc", b"A: b\nc: d", b": b", b"A", b"A\x00: b")),
        *map(_with_field, (b"A(: b", b"\xe4: b", b"Host : other.test", b"A: \x7f", b"A: \x1b")),
        b"GET /a\x00 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET  /a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET /\xe4 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"G\rT /a HTTP/1.1\r\n" + HOST + b"\r\n",
        b"\x00GET /a HTTP/1.1\r\n" + HOST + b"\r\n",
    ],
)
def test_malformed_line_is_refused(target: Target, data: bytes) -> None:
    """Line 5. Source: RFC 9112 sections 2.2, 3 and 5."""
    target.assert_refused(data, 400)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /a HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /a HTTP/1.10\r\n" + HOST + b"\r\n", 400),
        (b"GET /a\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\n\r\n", 400),
        (b"GET /a HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"CONNECT site.test:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_1_request_is_refused(target: Target, data: bytes, status: int) -> None:
    """Line 5, and the refusals of RFC 9112 sections 2.3 and 3.2."""
    target.assert_refused(data, status)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("is_split", [False, True])
def test_body_behind_a_hit_is_never_read_as_a_request(
    target: Target, framing: str, is_split: bool
) -> None:
    """Line 6 (CVE-2025-4366)."""
    path = target.fresh_path("hit")
    target.origin.answers[path] = whole(b"stored", FRESH)
    target.get(path)
    assert is_hit(target.get(path))
    smuggled = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
    if framing == "length":
        tail = b"Content-Length: %d\r\n\r\n" % len(smuggled), smuggled
    else:
        tail = (
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled),
        )
    client = target.client()
    client.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + tail[0])
    if is_split:
        assert target.get(b"/between").status == 200
    second = target.fresh_path("second")
    client.send(tail[1] + b"GET " + second + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    first = client.read_response()
    assert first.status == 200
    if first.get(b"Connection") == b"close":
        client.assert_closed()
    else:
        assert client.read_response().body == b"origin: " + second
    client.close()
    target.get(b"/fence")
    assert target.origin.count(b"/smuggled") == 0


def test_bytes_behind_a_refused_upgrade_are_the_next_request_and_nothing_else(
    target: Target,
) -> None:
    """Line 7 (CVE-2026-2833): the origin answers 200, so there was no switch."""
    path, second = target.fresh_path("upgrade"), target.fresh_path("behind")
    client = target.client()
    client.send(
        b"GET "
        + path
        + b" HTTP/1.1\r\n"
        + HOST
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        + b"GET "
        + second
        + b" HTTP/1.1\r\n"
        + HOST
        + b"\r\n"
    )
    assert client.read_response().body == b"origin: " + path
    assert client.read_response().body == b"origin: " + second
    client.close()
    for request in target.origin.requests:
        assert request.get(b"Upgrade") is None
    # Bytes of another protocol are refused, and reach nobody.
    with target.nothing_arrives():
        client = target.client()
        client.send(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\r\n\r\n")
        assert client.read_response().status == 400
        client.assert_closed()
        client.close()


def test_switching_protocols_from_the_origin_is_an_error(target: Target) -> None:
    """Line 7: 101 was not asked for, since Upgrade is not forwarded."""
    path = target.fresh_path("switch")
    target.origin.answers[path] = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    lines = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    response = target.ask(b"GET " + path + b" HTTP/1.1\r\n" + HOST + lines)
    assert response.status == 502


def test_close_delimited_body_of_http_1_0_is_no_body(target: Target) -> None:
    """Line 8 (CVE-2026-2835): without a length there is no body, and the connection ends."""
    path = target.fresh_path("old")
    client = target.client()
    client.send(b"POST " + path + b" HTTP/1.0\r\n" + HOST + b"\r\nGET /smuggled HTTP/1.1\r\n")
    client.send(HOST + b"\r\n")
    assert client.read_response().status == 200
    client.assert_closed()
    client.close()
    target.get(b"/fence")
    recorded = next(request for request in target.origin.requests if request.target == path)
    assert recorded.body == b""
    assert target.origin.count(b"/smuggled") == 0


def test_expect_continue_on_a_cached_url_leaves_the_connection_right(target: Target) -> None:
    """Line 9."""
    path = target.fresh_path("expect")
    target.origin.answers[path] = whole(b"stored", FRESH)
    target.get(path)
    client = target.client()
    client.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n\r\n")
    client.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    for _ in range(2):
        assert client.read_response().body == b"stored"
    client.close()


def test_refused_put_that_waits_for_continue_closes_or_takes_the_body(target: Target) -> None:
    """Line 9: a body that was promised and not sent is never the next request."""
    client = target.client()
    client.send(
        b"PUT /cache/ HTTP/1.1\r\n" + LOCAL + b"Expect: 100-continue\r\nContent-Length: 46\r\n\r\n"
    )
    response = client.read_response()
    assert response.status == 400
    assert response.get(b"Connection") == b"close"
    try:
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n\r\n\r\n")
    except OSError:
        pass  # closed already
    client.assert_closed()
    client.close()
    target.get(b"/fence")
    assert target.origin.count(b"/smuggled") == 0


@pytest.mark.parametrize("expects", [False, True])
def test_early_final_answer_of_the_origin_leaves_no_body_in_the_pipe(
    target: Target, expects: bool
) -> None:
    """Line 9: the origin refuses before the body; what the client still sends stays body."""
    path = target.fresh_path("early")
    target.origin.early_answers[path] = whole(b"no", status=b"403 Forbidden")
    smuggled = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n" % len(smuggled)
    client = target.client()
    client.send(head + (b"Expect: 100-continue\r\n" if expects else b"") + b"\r\n")
    assert client.read_response().status == 403
    try:
        client.send(smuggled)
    except OSError:
        pass  # closed already
    client.assert_closed()
    client.close()
    target.get(b"/fence")
    assert target.origin.count(b"/smuggled") == 0


@pytest.mark.parametrize("value", [b"more", b"100-continue, 100-continue", b"", b"200-ok"])
def test_unknown_expectation_is_refused(target: Target, value: bytes) -> None:
    """Line 9. Source: RFC 9110 section 10.1.1."""
    target.assert_refused(POST + b"Expect: " + value + b"\r\nContent-Length: 5\r\n\r\nhello", 417)
