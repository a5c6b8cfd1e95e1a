"""Forwarding and Cache-Status: what the origin and the client see of this proxy."""

from __future__ import annotations

import pytest

from neuro.http.cache_status import CacheStatus
from neuro.http.fields import Fields
from neuro.http.forwarding import (
    Hop,
    client_response_fields,
    is_client_claim,
    is_loop,
    origin_request_fields,
)

HOP = Hop(b"nc-1", b"192.0.2.7", b"https", b"example.org:8443")


def test_client_claims_are_removed_or_overwritten() -> None:
    request = Fields(
        (
            (b"Host", b"evil"),
            (b"X-Forwarded-For", b"127.0.0.1"),
            (b"X_Forwarded_Host", b"evil"),
            (b"X-Forwarded-Proto", b"http"),
            (b"Forwarded", b"for=127.0.0.1"),
            (b"X-Original-URL", b"/admin"),
            (b"X-Rewrite-URL", b"/admin"),
            (b"X-HTTP-Method-Override", b"DELETE"),
            (b"Accept", b"*/*"),
        )
    )
    assert origin_request_fields(request, HOP) == Fields(
        (
            (b"Host", b"example.org:8443"),
            (b"Accept", b"*/*"),
            (b"Via", b"1.1 nc-1"),
            (b"CDN-Loop", b"nc-1"),
            (b"X-Forwarded-For", b"192.0.2.7"),
            (b"X-Forwarded-Host", b"example.org:8443"),
            (b"X-Forwarded-Proto", b"https"),
        )
    )


def test_connection_cannot_remove_what_this_proxy_writes_or_needs() -> None:
    names = b"X-Forwarded-For, Authorization, CDN-Loop, Via, X"
    request = Fields(((b"Connection", names), (b"Authorization", b"a"), (b"X", b"1")))
    result = origin_request_fields(request, HOP)
    assert result.get(b"authorization") == b"a"
    assert result.get(b"x-forwarded-for") == b"192.0.2.7"
    assert b"x" not in result
    assert b"connection" not in result


def test_chains_of_via_and_cdn_loop_grow_at_the_end() -> None:
    request = Fields(((b"Via", b"1.0 a"), (b"CDN-Loop", b"b; x=1"), (b"Via", b"1.1 c")))
    result = origin_request_fields(request, HOP)
    assert result.get_all(b"via") == [b"1.0 a, 1.1 c, 1.1 nc-1"]
    assert result.get_all(b"cdn-loop") == [b"b; x=1, nc-1"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"CDN-Loop", b"nc-1", True),
        (b"CDN-Loop", b'a; b="x", NC-1 ; c', True),
        (b"CDN-Loop", b'a; b="x, nc-1"', False),
        (b"CDN-Loop", b"nc-10", False),
        (b"Via", b"HTTP/1.1 nc-1 (comment)", True),
        (b"Via", b"1.1 other", False),
        (b"Via", b"nc-1", False),
    ],
)
def test_a_loop_is_recognised(name: bytes, value: bytes, expected: bool) -> None:
    assert is_loop(Fields(((name, value),)), b"nc-1") is expected


def test_what_we_send_is_recognised_when_it_comes_back() -> None:
    assert is_loop(origin_request_fields(Fields(), HOP), b"nc-1")


def test_the_origins_host_may_differ_from_the_clients() -> None:
    hop = Hop(b"nc-1", b"192.0.2.7", b"http", b"a", origin_host=b"b:9000")
    result = origin_request_fields(Fields(), hop)
    assert (result.get(b"host"), result.get(b"x-forwarded-host")) == (b"b:9000", b"a")


def test_a_response_gets_via_and_a_date() -> None:
    result = client_response_fields(Fields(((b"Via", b"1.1 o"),)), b"nc-1", response_time_s=0)
    assert result.get(b"via") == b"1.1 o, 1.1 nc-1"
    assert result.get(b"date") == b"Thu, 01 Jan 1970 00:00:00 GMT"


def test_ordinary_fields_are_no_claims() -> None:
    assert not any(is_client_claim(name) for name in (b"Accept", b"X-Requested-With", b"Cookie"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (CacheStatus(is_hit=True, ttl_s=-3), b"NeuroCache; hit; ttl=-3"),
        (CacheStatus(is_hit=True, forward=b"stale"), b"NeuroCache; hit"),
        (
            CacheStatus(forward=b"uri-miss", forward_status=200, is_stored=True, is_collapsed=True),
            b"NeuroCache; fwd=uri-miss; fwd-status=200; stored; collapsed",
        ),
        (CacheStatus(forward=b"bypass", detail=b'a "b"'), b'NeuroCache; fwd=bypass; detail="a \\"b\\""'),
        (CacheStatus(is_hit=True, key=b"http://h/\xff", detail=b"peer-2"), b'NeuroCache; hit; key="http://h/?"; detail=peer-2'),
    ],
)  # fmt: skip
def test_cache_status_is_written_as_rfc_9211_has_it(status: CacheStatus, expected: bytes) -> None:
    assert status.to_bytes() == expected
