"""Hop-by-hop fields and the choice of the origin: lines 28 to 31."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.serving import request, served
from tests.recording_origin import whole
from tests.scenarios.edge.conftest import FRESH, HOST, Target

OURS = [
    *(b"Via", b"CDN-Loop", b"X-Forwarded-For", b"X-Forwarded-Host", b"X-Forwarded-Proto", b"Host"),
    *(b"Authorization", b"Cookie", b"Cache-Control", b"Origin", b"Content-Length"),
]


def test_connection_cannot_drop_what_identifies_and_protects(target: Target) -> None:
    """Line 28."""
    path = target.fresh_path("hop")
    lines = [b"Connection: " + b", ".join(OURS), b"Authorization: Bearer x", b"Cookie: a=b"]
    lines += [b"Cache-Control: max-age=0", b"Origin: http://site.test", b"X-Private: 1"]
    target.ask(
        b"POST " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n".join(lines)
        + b"\r\nConnection: X-Private\r\nContent-Length: 2\r\n\r\nhi"
    )  # fmt: skip
    recorded = next(r for r in target.origin.requests if r.target == path)
    for name in OURS:
        assert recorded.get(name) is not None, name
    assert recorded.body == b"hi"
    assert recorded.get(b"X-Private") is None
    assert b"x-private" not in (recorded.get(b"Connection") or b"").lower()


def test_connection_of_the_origin_cannot_drop_the_caching_rules(target: Target) -> None:
    """Line 28: a private answer stays private, a cookie stays a reason not to store."""
    for line in (b"Cache-Control: private", b"Set-Cookie: a=b"):
        path = target.fresh_path("hop")
        name = line.partition(b":")[0]
        target.origin.answers[path] = whole(
            b"one", line, b"Expires: Tue, 01 Jan 2126 00:00:00 GMT", b"Connection: " + name
        )
        assert target.get(path).get(name) is not None
        target.origin.answers[path] = whole(b"two", line)
        assert target.get(path).body == b"two"


def test_node_without_an_origin_is_no_proxy(tmp_path: Path) -> None:
    """Line 29."""
    with served(tmp_path) as node:
        for path in ("/", "http://127.0.0.1:1/x", f"http://{node.admin}/healthz"):
            status, _, _ = request(node.edge, "GET", path)
            assert status in (400, 404), path


def test_origin_is_never_chosen_by_a_request(target: Target) -> None:
    """Lines 29 and 30: neither by Host, nor by the target, nor by what proxies say."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        address = b"127.0.0.1:%d" % trap.getsockname()[1]
        path = target.fresh_path("ssrf")
        mapped = b"[::ffff:127.0.0.1]:%d" % trap.getsockname()[1]
        for name in (address, mapped, b"169.254.169.254", b"metadata.google.internal"):
            assert target.get(path, host=b"Host: " + name + b"\r\n").body == b"origin: " + path
            absolute = b"GET http://" + name + path + b" HTTP/1.1\r\nHost: " + name + b"\r\n\r\n"
            assert target.ask(absolute).body == b"origin: " + path
        for line in (
            b"X-Forwarded-Host: ",
            b"X-Host: ",
            b"Forwarded: host=",
            b"X-Original-URL: http://",
        ):
            assert target.get(path, line + address).body == b"origin: " + path
        for bad in (
            b"CONNECT " + address,
            b"GET file:///etc/passwd",
            b"GET http://" + address + b"/",
        ):
            target.assert_refused(bad + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400, 501)
        # To the origin Host is what the configuration says.
        assert target.origin.requests[-1].get(b"Host") == b"127.0.0.1:%d" % target.origin.port
        with pytest.raises(TimeoutError):
            trap.accept()


def test_redirect_of_the_origin_goes_to_the_client(target: Target) -> None:
    """Line 30: it is not followed, wherever it points."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        for place in (
            b"http://127.0.0.1:%d/" % trap.getsockname()[1],
            b"http://169.254.169.254/latest/meta-data/",
            b"file:///etc/passwd",
            b"//[::ffff:127.0.0.1]/",
        ):
            path = target.fresh_path("redirect")
            target.origin.answers[path] = whole(
                b"", b"Location: " + place, FRESH, status=b"302 Found"
            )
            response = target.get(path)
            assert (response.status, response.get(b"Location")) == (302, place)
        with pytest.raises(TimeoutError):
            trap.accept()


def test_trace_does_not_show_what_is_added_on_the_way(target: Target) -> None:
    """Line 29."""
    with target.nothing_arrives():
        assert target.get(b"/", method=b"TRACE").status == 405


def test_two_nodes_that_point_at_each_other_stop(tmp_path: Path) -> None:
    """Line 31. Source: RFC 8586 section 2."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(
            served(tmp_path / "a", "--id", "1", "--origin", f"http://127.0.0.1:{port}")
        )
        second = stack.enter_context(
            served(
                tmp_path / "b",
                "--id",
                "2",
                "--origin",
                f"http://{first.edge}",
                "--edge",
                f"127.0.0.1:{port}",
            )
        )
        for node in (first, second):
            status, _, _ = request(node.edge, "GET", f"/loop-{node.edge.port}")
            assert status == 508
            _, document = node.get_json("/api/v1/status")
            assert sum(origin["requests"] for origin in document["origins"]) <= 4


def test_node_that_is_its_own_origin_stops(
    start_target: Callable[..., contextlib.AbstractContextManager[Target]], target: Target
) -> None:
    """Line 31: also where Via alone tells."""
    for line in (
        b"CDN-Loop: neurocache-1",
        b"CDN-Loop: other, NeuroCache-1; x=y",
        b"Via: 1.1 neurocache-1",
    ):
        with target.nothing_arrives():
            assert target.get(target.fresh_path("loop"), line).status == 508
    # A node of another name is none of our affair.
    assert target.get(target.fresh_path("loop"), b"CDN-Loop: other-1").status == 200
