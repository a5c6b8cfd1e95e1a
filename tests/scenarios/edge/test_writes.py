"""The object API under attack: lines 32 to 34."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.native.engine_driver import Response
from tests.scenarios.edge.conftest import LOCAL, Target, is_hit

Start = Callable[..., contextlib.AbstractContextManager[Target]]


def put(target: Target, path: bytes, body: bytes, *lines: bytes) -> Response:
    head = b"PUT " + path + b" HTTP/1.1\r\n" + LOCAL + b"".join(line + b"\r\n" for line in lines)
    return target.ask(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def own_address() -> str | None:
    """An address of this machine that is not loopback; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return None if address.startswith("127.") else address


def ask_from_elsewhere(address: str, port: int, data: bytes) -> bytes:
    with socket.create_connection(
        (address, port), timeout=10, source_address=(address, 0)
    ) as client:
        client.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer and (part := client.recv(65536)):
            answer += part
        return answer


@pytest.mark.skipif(own_address() is None, reason="this machine has loopback only")
def test_writing_from_elsewhere_needs_the_token_whatever_the_fields_claim(
    start_target: Start, tmp_path: Path
) -> None:
    """Line 32."""
    address = own_address()
    assert address is not None
    token_file = tmp_path / "token"
    token_file.write_text("correct-horse-battery-staple")
    token_file.chmod(0o600)
    words = ("--edge", "0.0.0.0:0", "--insecure", "--token-file", str(token_file))
    with start_target(*words) as target:
        port = target.node.edge.port
        claims = b"X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\nX-Real-IP: ::1\r\n"
        for method in (b"PUT", b"DELETE"):
            for credentials in (
                b"",
                b"Authorization: Bearer wrong\r\n",
                b"Authorization: Bearer correct-horse-battery-stapl\r\n",
                b"Authorization: Bearer correct-horse-battery-staple2\r\n",
                b"Authorization: Basic correct-horse-battery-staple\r\n",
                b"Authorization: Bearer\r\n",
                b"Authorization: Bearer correct-horse-battery-staple\r\n" * 2,
            ):
                data = method + b" /cache/x HTTP/1.1\r\n" + LOCAL + claims + credentials
                answer = ask_from_elsewhere(address, port, data + b"Content-Length: 0\r\n\r\n")
                assert answer.startswith(b"HTTP/1.1 401 "), (credentials, answer)
        assert target.get(b"/cache/x").status == 404
        data = b"PUT /cache/x HTTP/1.1\r\n" + LOCAL + b"Content-Length: 1\r\n"
        data += b"Authorization: Bearer correct-horse-battery-staple\r\n\r\nx"
        assert ask_from_elsewhere(address, port, data).startswith(b"HTTP/1.1 201 ")


@pytest.mark.parametrize(
    "lines",
    [
        b"Host: evil.test\r\n",
        b"Host: localhost.evil.test\r\n",
        LOCAL + b"X-Forwarded-For: 127.0.0.1\r\n",
        LOCAL + b"X-Real-IP: 192.0.2.7\r\n",
        LOCAL + b"Forwarded: for=192.0.2.7\r\n",
        LOCAL + b"Via: 1.1 front\r\n",
    ],
)
def test_loopback_peer_that_speaks_for_somebody_else_writes_nothing(
    target: Target, lines: bytes
) -> None:
    """Line 32, turned round: a rebound name or a proxy on this machine is not the operator."""
    for method in (b"PUT", b"DELETE"):
        data = method + b" /cache/relayed HTTP/1.1\r\n" + lines + b"Content-Length: 1\r\n\r\nx"
        assert target.ask(data).status == 403
    assert target.get(b"/cache/relayed").status == 404


def test_token_is_asked_of_loopback_too_once_there_is_one(
    start_target: Start, tmp_path: Path
) -> None:
    """Line 32: what stands in front of this node on the same machine has a loopback address."""
    token_file = tmp_path / "token"
    token_file.write_text("correct-horse-battery-staple")
    token_file.chmod(0o600)
    with start_target("--token-file", str(token_file)) as target:
        assert put(target, b"/cache/t", b"x").status == 401
        line = b"Authorization: Bearer correct-horse-battery-staple"
        assert put(target, b"/cache/t", b"x", line).status == 201


def test_large_object_is_refused_by_length_and_by_what_arrives(start_target: Start) -> None:
    """Line 33: the limit holds for a body that does not tell its length, too."""
    with start_target("--object-bytes-max", "100KiB") as target:
        client = target.client()
        client.send(b"PUT /cache/big HTTP/1.1\r\n" + LOCAL + b"Content-Length: 102401\r\n\r\n")
        assert client.read_response().status == 413
        client.close()
        client = target.client()
        client.send(b"PUT /cache/big HTTP/1.1\r\n" + LOCAL + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                client.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert client.read_response().status == 413
        client.close()
        assert target.get(b"/cache/big").status == 404
        assert put(target, b"/cache/big", b"x" * 102_400).status == 201


def test_object_cannot_speak_for_its_host(target: Target) -> None:
    """Line 33: only listed fields are kept."""
    lines = [b"Set-Cookie: a=b", b"Content-Type: text/html", b"Access-Control-Allow-Origin: *"]
    lines += [b"Location: http://evil.test", b"Refresh: 0", b"Clear-Site-Data: *", b"Status: 500"]
    lines += [
        b"Transfer-Encodin: x",
        b"Connection: X-A",
        b"X-A: b",
        b"Strict-Transport-Security: max-age=0",
    ]
    assert put(target, b"/cache/fields", b"<b>", *lines).status in (201, 204)
    response = target.get(b"/cache/fields")
    assert is_hit(response)
    assert response.get(b"X-Content-Type-Options") == b"nosniff"
    for line in lines:
        name = line.partition(b":")[0]
        assert (response.get(name) is None) == (name != b"Content-Type"), name


def test_precondition_that_fails_leaves_the_object_alone(target: Target) -> None:
    """Line 33."""
    put(target, b"/cache/guarded", b"one")
    etag = target.get(b"/cache/guarded").get(b"ETag")
    assert etag is not None
    assert put(target, b"/cache/guarded", b"two", b'If-Match: "other"').status == 412
    assert put(target, b"/cache/guarded", b"two", b"If-None-Match: *").status == 412
    assert put(target, b"/cache/guarded", b"two", b"If-Match: W/" + etag).status == 412
    assert target.get(b"/cache/guarded").body == b"one"
    assert put(target, b"/cache/guarded", b"two", b"If-Match: " + etag).status == 204
    assert target.get(b"/cache/guarded").get(b"ETag") != etag


TRAVERSALS = [
    *(b"../../etc/passwd", b"..%2f..%2fetc%2fpasswd", b"%2e%2e/%2e%2e/x", b"....//x", b"..\\..\\x"),
    *(b"%00", b"a%00b", b"%0d%0aSet-Cookie:%20a=b", b"con", b"-rf", b"~root", b"$(id)", b"a;b|c&d"),
    *(b"/absolute", b"C:\\x", b".", b"..", b"a" * 7_000),
]


def test_key_is_only_ever_hashed(start_target: Start, tmp_path: Path) -> None:
    """Line 34: every spelling is an object of its own, and no file is made or read."""
    with start_target() as target:
        before = sorted(os.walk(tmp_path))
        for number, key in enumerate(TRAVERSALS):
            assert put(target, b"/cache/" + key, b"%d" % number).status == 201, key
        for number, key in enumerate(TRAVERSALS):
            response = target.get(b"/cache/" + key)
            assert response.body == b"%d" % number
            assert response.get(b"Set-Cookie") is None
        assert [walked[0::2] for walked in sorted(os.walk(tmp_path))] == [
            walked[0::2] for walked in before
        ]
        with target.nothing_arrives():
            assert target.get(b"/cache/" + b"b" * 65_536).status == 414


def test_key_with_a_raw_control_byte_is_refused(target: Target) -> None:
    """Line 34."""
    for byte in (b"\x00", b"\n", b"\r", b"\t", b" ", b"\x7f", b"\xff"):
        target.assert_refused(b"PUT /cache/a" + byte + b"b HTTP/1.1\r\n" + LOCAL + b"\r\n", 400)
