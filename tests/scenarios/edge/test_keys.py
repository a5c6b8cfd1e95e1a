"""The cache key and what may poison it: lines 13 to 17, 19 and 20."""

from __future__ import annotations

import itertools

import pytest

from tests.recording_origin import RecordedRequest, whole
from tests.scenarios.edge.conftest import FRESH, HOST, LOCAL, Target


def echo_everything(request: RecordedRequest) -> None:
    """An answer that may be stored and says which request caused it."""
    host = request.get(b"X-Forwarded-Host") or b""
    request.send(whole(host + b" " + request.target, FRESH))


def host(name: bytes) -> bytes:
    return b"Host: " + name + b"\r\n"


def test_hosts_and_queries_never_share_an_answer(target: Target) -> None:
    """Line 13 (CVE-2026-2836)."""
    path = target.fresh_path("key")
    target.origin.answers[path] = echo_everything
    names = (b"a.test", b"b.test", b"a.test:81")
    for name, query in itertools.product(names, (b"", b"?", b"?a=1", b"?a=2")):
        for _ in range(2):
            assert target.get(path + query, host=host(name)).body == name + b" " + path + query
    assert sum(r.target.startswith(path) for r in target.origin.requests) == 12


CLAIMS = [
    *(b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X-Forwarded-Port", b"X-Forwarded-For"),
    *(b"X-Forwarded-Scheme", b"X-Forwarded-Server", b"X-Forwarded-Prefix", b"Forwarded"),
    *(b"X-Original-URL", b"X-Rewrite-URL", b"X-HTTP-Method-Override", b"X-Method-Override"),
    *(b"X-HTTP-Method", b"X-Real-IP", b"True-Client-IP", b"X-Host", b"X_Forwarded_Host"),
    *(b"x-forwarded-HOST", b"X-Original-Host", b"X_Original_URL", b"X-HTTP-Host-Override"),
]


@pytest.mark.parametrize("name", CLAIMS)
def test_claim_of_a_client_never_reaches_the_origin(target: Target, name: bytes) -> None:
    """Line 14."""
    path = target.fresh_path("claim")
    target.get(path, name + b": evil.test")
    recorded = next(r for r in target.origin.requests if r.target == path)
    assert not [value for _, value in recorded.lines if b"evil" in value]
    assert recorded.get(b"X-Forwarded-For") == b"127.0.0.1"
    assert recorded.get(b"X-Forwarded-Host") == b"site.test"
    assert recorded.get(b"X-Forwarded-Proto") == b"http"


@pytest.mark.parametrize("framing", [b"Content-Length: 4", b"Transfer-Encoding: chunked"])
def test_get_with_a_body_neither_stores_nor_uses_a_hit_of_others(
    target: Target, framing: bytes
) -> None:
    """Line 15: fat GET."""
    path = target.fresh_path("fat")
    body = b"evil" if b"Length" in framing else b"4\r\nevil\r\n0\r\n\r\n"
    target.origin.answers[path] = whole(b"made for evil", FRESH)
    target.ask(b"GET " + path + b" HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n" + body)
    target.origin.answers[path] = whole(b"page", FRESH)
    assert target.get(path).body == b"page"


@pytest.mark.parametrize(
    "query",
    [
        b"utm_x=1;callback=evil",
        b"a=1%26b=2",
        b"a=1&a=2",
        b"a=2&a=1",
        b"a=1&b=2",
        b"b=2&a=1",
        b"&a=1",
    ],
)
def test_query_reaches_the_origin_as_it_stands_in_the_key(target: Target, query: bytes) -> None:
    """Line 16: nothing is split, sorted or dropped on one side only."""
    path = b"/query"
    target.origin.answers[path] = echo_everything
    assert target.get(path + b"?" + query).body == b"site.test " + path + b"?" + query
    assert target.get(path + b"?" + query).body == b"site.test " + path + b"?" + query


def test_no_two_different_requests_have_one_key(target: Target) -> None:
    """Line 17: delimiters, encodings and borders between host and path."""
    paths = [
        *(b"/d/b?c", b"/d%2fb?c", b"/d/b%3fc", b"/d//b?c", b"/d/./b?c", b"/d/x/../b?c", b"/D/b?c"),
        *(
            b"/d__b",
            b"/d_b",
            b"/d%0ab",
            b"/d%0a",
            b"/d%00",
            b"/d",
            b"/d/",
            b"/d%2F",
            b"/d%2f",
            b"/d?",
        ),
        *(
            b"/d:80/",
            b"/d;x",
            b"/d,x",
            b"/d|x",
            b"//d",
            b"/d%5f_b",
            b"/site.test/d",
            b"/http://site.test/d",
        ),
    ]
    target.origin.default, usual = echo_everything, target.origin.default
    try:
        for name in (b"k.test", b"k.test:81", b"1.k.test", b"k.test.test"):
            for path in paths:
                for _ in range(2):
                    assert target.get(path, host=host(name)).body == name + b" " + path
    finally:
        target.origin.default = usual


def test_object_api_and_site_never_share_a_key(target: Target) -> None:
    """Line 17: an object below /cache/ is found by its path only, a page only by a path elsewhere."""
    target.origin.default, usual = echo_everything, target.origin.default
    try:
        put = b"PUT /cache/shared HTTP/1.1\r\n" + LOCAL + b"Content-Length: 6\r\n\r\nobject"
        assert target.ask(put).status in (201, 204)
        for path in (
            b"/%63ache/shared",
            b"/cache%2fshared",
            b"//cache/shared",
            b"/Cache/shared",
            b"/x/../cache/shared",
        ):
            assert target.get(path).body == b"site.test " + path
        assert target.get(b"/cache/shared").body == b"object"
    finally:
        target.origin.default = usual


def test_flood_of_variants_is_bounded_and_the_node_goes_on(target: Target) -> None:
    """Line 19."""
    path = target.fresh_path("vary")
    target.origin.answers[path] = whole(b"variant" * 100, FRESH, b"Vary: Accept")
    _, before = target.node.get_json("/api/v1/status")
    client = target.client()
    for number in range(1500):
        client.send(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Accept: text/%d\r\n\r\n" % number)
        assert client.read_response().status == 200
    client.close()
    _, after = target.node.get_json("/api/v1/status")
    assert after["cache"]["objects"] - before["cache"]["objects"] < 40
    before = target.origin.count(path)
    assert target.get(path, b"Accept: text/1499").body == b"variant" * 100
    assert target.origin.count(path) == before, "the newest variant is kept"
    target.get(path, b"Accept: text/0")
    assert target.origin.count(path) == before + 1, "the oldest one was dropped"


@pytest.mark.parametrize(
    "name",
    [
        b"SITE.test",
        b"site.test.",
        b"site.test:80",
        b"Site.Test.:80",
        b"site.test:",
        b"site.test:080",
    ],
)
def test_spellings_of_one_host_share_an_answer(target: Target, name: bytes) -> None:
    """Line 20."""
    path = target.fresh_path("host")
    target.origin.answers[path] = echo_everything
    target.get(path)
    assert target.get(path, host=host(name)).body == b"site.test " + path
    assert target.origin.count(path) == 1


def test_absolute_form_is_the_same_resource_or_refused(target: Target) -> None:
    """Line 20. Source: RFC 9112 section 3.2.2."""
    path = target.fresh_path("absolute")
    target.origin.answers[path] = echo_everything
    target.get(path)
    for prefix in (b"http://site.test", b"HTTP://SITE.TEST:80", b"http://site.test."):
        assert target.get(prefix + path).body == b"site.test " + path
    assert target.origin.count(path) == 1
    for prefix in (
        b"http://other.test",
        b"http://site.test:81",
        b"https://site.test",
        b"http://u@site.test",
    ):
        target.assert_refused(b"GET " + prefix + path + b" HTTP/1.1\r\n" + HOST + b"\r\n", 400)


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b"a b",
        b"a,b",
        b"a/b",
        b"u@a",
        b"a:99999",
        b"a:b",
        b"a..b",
        b".",
        b"\xe4",
        b"a%41",
        b"[::1",
        b"::1",
    ],
)
def test_doubtful_host_is_refused(target: Target, name: bytes) -> None:
    """Line 20. Source: RFC 9112 section 3.2."""
    target.assert_refused(b"GET /a HTTP/1.1\r\n" + host(name) + b"\r\n", 400)
