"""What a broken or careless origin may not do to the cache: lines 11, 18 and 22 to 24."""

from __future__ import annotations

import pytest

from tests.recording_origin import RecordedRequest, whole
from tests.scenarios.edge.conftest import FRESH, HOST, Target, is_hit


def head(*lines: bytes, status: bytes = b"200 OK") -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, FRESH, *lines)) + b"\r\n\r\n"


def say_and_close(data: bytes) -> object:
    def answer(request: RecordedRequest) -> None:
        request.send(data)
        raise ConnectionAbortedError

    return answer


def try_get(target: Target, path: bytes) -> tuple[int, bytes, bool]:
    """Status, body as far as it came, and whether it was whole."""
    client = target.client()
    client.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    try:
        response = client.read_head()
        length = response.get(b"Content-Length")
        if length is not None:
            body = client.read_exactly(int(length))
        else:
            assert response.get(b"Transfer-Encoding") == b"chunked"
            body = b""
            while size := int(client.read_line(), 16):
                body += client.read_exactly(size)
                assert client.read_line() == b""
        return response.status, body, True
    except (AssertionError, ConnectionError):
        return 0, client.buffer, False
    finally:
        client.close()


CHUNKED = b"Transfer-Encoding: chunked"
BROKEN = {
    "length and coding": head(b"Content-Length: 5", CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n",
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 6") + b"hello",
    "length list": head(b"Content-Length: 5, 6") + b"hello",
    "signed length": head(b"Content-Length: +5") + b"hello",
    "two codings": head(CHUNKED, CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n",
    "unknown coding": head(b"Transfer-Encoding: gzip") + b"hello",
    "short body": head(b"Content-Length: 50") + b"hello",
    "short chunk": head(CHUNKED) + b"50\r\nhello",
    "no last chunk": head(CHUNKED) + b"5\r\nhello\r\n",
    "bad chunk size": head(CHUNKED) + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk without its end": head(CHUNKED) + b"5\r\nhelloXX0\r\n\r\n",
    "NUL in a field": head(b"A: \x00", b"Content-Length: 5") + b"hello",
    "space before the colon": head(b"Content-Length : 5") + b"hello",
    "no head": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nCache-Con",
    "no HTTP": b"\x00\x01\x02\x03\r\n\r\n",
    "HTTP/1.0 with a coding": head(CHUNKED).replace(b"1.1", b"1.0", 1) + b"5\r\nhello\r\n0\r\n\r\n",
    "204 with a length": head(b"Content-Length: 5", status=b"204 No Content") + b"hello",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answer_is_an_error_or_cut_and_never_stored(target: Target, name: str) -> None:
    """Line 11."""
    path = target.fresh_path("broken")
    target.origin.answers[path] = say_and_close(BROKEN[name])  # type: ignore[assignment]
    for _ in range(2):
        status, body, is_whole = try_get(target, path)
        assert status in (502, 504) or not is_whole, (status, body)
    target.origin.answers[path] = whole(b"right", FRESH)
    assert target.get(path).body == b"right"
    assert is_hit(target.get(path))


def test_folded_field_of_an_origin_is_sent_on_as_one_line(target: Target) -> None:
    """Line 11. Source: RFC 9112 section 5.2 (a proxy replaces the fold by a space)."""
    path = target.fresh_path("folded")
    target.origin.answers[path] = head(b"A: b", b" Set-Cookie: c", b"Content-Length: 5") + b"hello"
    for _ in range(2):
        response = target.get(path)
        assert (response.get(b"A"), response.body) == (b"b Set-Cookie: c", b"hello")
        assert response.get(b"Set-Cookie") is None


@pytest.mark.parametrize(
    ("status", "extra"),
    [
        (
            b"200 OK",
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 4\r\n\r\nevil",
        ),
        (b"200 OK", b"x"),
        (b"204 No Content", b"body of a 204"),
        (b"304 Not Modified", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
    ],
)
def test_bytes_behind_an_answer_belong_to_nobody(
    target: Target, status: bytes, extra: bytes
) -> None:
    """Line 11: the pooled connection is dropped, so that nobody gets them as their answer."""
    path, after = target.fresh_path("extra"), target.fresh_path("after")
    length = b"" if status[:3] in (b"204", b"304") else b"Content-Length: 5\r\n"
    body = b"hello" if length else b""
    target.origin.answers[path] = (
        b"HTTP/1.1 "
        + status
        + b"\r\nCache-Control: max-age=600\r\n"
        + length
        + b"\r\n"
        + body
        + extra
    )
    before = len(target.origin.streams)
    response = target.get(path)
    assert response.body in (body, b"") or response.status == 502
    assert b"evil" not in response.body
    used = target.origin.requests[-1].connection
    for _ in range(3):
        assert target.get(after).body == b"origin: " + after
    assert all(r.connection != used for r in target.origin.requests if r.target == after)
    assert len(target.origin.streams) > before or used < before
    if not body:
        return
    target.get(path)
    assert target.origin.count(path) == 2, "the answer with extra bytes was stored"


CPDOS = [
    b"X-Oversized: " + b"a" * 9000,
    b"X-Metachar: \x80\xfe",
    b"X-HTTP-Method-Override: DELETE",
    b"X-Forwarded-Port: 99999",
    b"Range: bytes=cow",
]


@pytest.mark.parametrize("line", CPDOS, ids=[line[:12].decode() for line in CPDOS])
@pytest.mark.parametrize(
    "status", [b"400 Bad Request", b"413 Too Large", b"417 No", b"431 Too Large"]
)
def test_error_provoked_by_one_request_is_not_stored_for_others(
    target: Target, line: bytes, status: bytes
) -> None:
    """Line 18: cache-poisoned denial of service."""
    path = target.fresh_path("cpdos")
    target.origin.answers[path] = whole(b"provoked", FRESH, status=status)
    target.get(path, line)
    target.origin.answers[path] = whole(b"page", FRESH)
    response = target.get(path)
    assert (response.status, response.body) == (200, b"page")


@pytest.mark.parametrize("method", [b"FOO", b"get", b"PROPFIND", b"POST", b"DELETE"])
def test_answer_to_another_method_is_not_stored_for_get(target: Target, method: bytes) -> None:
    """Line 18."""
    path = target.fresh_path("method")
    target.origin.answers[path] = whole(b"provoked", FRESH)
    target.get(path, method=method)
    target.origin.answers[path] = whole(b"page", FRESH)
    assert target.get(path).body == b"page"


@pytest.mark.parametrize(
    "suffix", [b"/x.css", b";x.css", b"%2f..%2fx.js", b"%00.css", b"/a.jpg?v=1"]
)
def test_extension_alone_never_makes_a_response_storable(target: Target, suffix: bytes) -> None:
    """Line 22: cache deception."""
    path = target.fresh_path("account") + suffix
    target.origin.answers[path.partition(b"?")[0]] = whole(
        b"private page", b"Content-Type: text/html"
    )
    for _ in range(2):
        assert not is_hit(target.get(path))
    assert target.origin.count(path) == 2


@pytest.mark.parametrize(
    ("control", "is_shared"),
    [
        (b"max-age=600", False),
        (b"max-age=600, public", True),
        (b"s-maxage=600", True),
        (b"max-age=600, must-revalidate", True),
        (b"max-age=600, private", False),
    ],
)
def test_answer_for_one_user_is_reused_only_where_the_origin_says_so(
    target: Target, control: bytes, is_shared: bool
) -> None:
    """Line 23. Source: RFC 9111 section 3.5."""
    path = target.fresh_path("authorized")
    target.origin.answers[path] = whole(b"secret", b"Cache-Control: " + control)
    target.get(path, b"Authorization: Bearer alice")
    target.origin.answers[path] = whole(b"anonymous", b"Cache-Control: " + control)
    assert target.get(path).body == (b"secret" if is_shared else b"anonymous")
    other = target.get(path, b"Authorization: Bearer bob")
    if not is_shared:
        assert target.origin.requests[-1].get(b"Authorization") == b"Bearer bob"
        assert not is_hit(other)


@pytest.mark.parametrize(
    "lines",
    [
        (FRESH, b"Set-Cookie: session=alice"),
        (b"Cache-Control: public, s-maxage=600", b"Set-Cookie: session=alice"),
        (b"Cache-Control: private, max-age=600",),
        (b"Cache-Control: no-store, max-age=600",),
        (b"Cache-Control: max-age=600", b"Cache-Control: No-Store"),
        (FRESH, b"Vary: *"),
        (FRESH, b"CDN-Cache-Control: no-store"),
    ],
)
def test_what_is_not_for_everybody_is_not_stored(target: Target, lines: tuple[bytes, ...]) -> None:
    """Line 24."""
    path = target.fresh_path("personal")
    target.origin.answers[path] = whole(b"alice", *lines)
    assert target.get(path).body == b"alice"
    target.origin.answers[path] = whole(b"bob", *lines)
    assert target.get(path).body == b"bob"


def test_default_ttl_of_the_operator_never_overrules_the_origin(start_target: object) -> None:
    """Line 24: nor does it store what sets cookies."""
    with start_target("--cache-default-ttl", "10m") as target:  # type: ignore[operator]
        for line in (b"Cache-Control: no-store", b"Cache-Control: private", b"Set-Cookie: a=b"):
            path = target.fresh_path("ttl")
            target.origin.answers[path] = whole(b"x", line)
            for count in (1, 2):
                target.get(path)
                assert target.origin.count(path) == count, line
        path = target.fresh_path("ttl")
        target.origin.answers[path] = whole(b"x")
        target.get(path)
        assert is_hit(target.get(path))
