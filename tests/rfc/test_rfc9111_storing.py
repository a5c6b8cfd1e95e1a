"""RFC 9111 sections 3 and 5.2.2: what a shared cache may store. One test a sentence."""

from __future__ import annotations

import pytest

from neuro.http.fields import Fields
from neuro.http.hop_by_hop import remove_hop_by_hop, remove_unstorable
from neuro.http.storability import Verdict, judge_storability


def judge(
    *lines: tuple[str, str],
    method: bytes = b"GET",
    status: int = 200,
    request: tuple[tuple[bytes, bytes], ...] = (),
    allow_set_cookie: bool = False,
    request_no_store: bool = False,
) -> Verdict:
    response = Fields((name.encode(), value.encode()) for name, value in lines)
    return judge_storability(
        method,
        Fields(request),
        status,
        response,
        allow_set_cookie=allow_set_cookie,
        request_no_store=request_no_store,
    )


CACHEABLE = ("Cache-Control", "max-age=60")
AUTHORIZED = ((b"Authorization", b"Basic eA=="),)


def test_3_the_request_method_must_be_understood() -> None:
    assert judge(CACHEABLE).storable
    for method in (b"POST", b"PUT", b"M-SEARCH", b"get", b"HEAD"):
        assert judge(CACHEABLE, method=method).reason == "method"


def test_3_the_response_must_be_final() -> None:
    assert not judge(CACHEABLE, status=103).storable


@pytest.mark.parametrize("status", [206, 304])
def test_3_partial_and_not_modified_need_support_that_storing_whole_has_not(status: int) -> None:
    assert not judge(CACHEABLE, status=status).storable


@pytest.mark.parametrize("status", [200, 203, 204, 299, 301, 302, 404, 410, 499, 500, 503, 599])
def test_3_any_final_status_with_explicit_freshness_may_be_stored(status: int) -> None:
    assert judge(CACHEABLE, status=status).storable


@pytest.mark.parametrize("status", [428, 429, 431, 511])
def test_6585_these_statuses_must_not_be_stored(status: int) -> None:
    assert judge(CACHEABLE, status=status).reason == "status-never-stored"


@pytest.mark.parametrize("status", [400, 408, 413, 421])
def test_a_fault_of_one_request_is_not_stored_for_everybody(status: int) -> None:
    assert judge(CACHEABLE, status=status).reason == "status-never-stored"


@pytest.mark.parametrize("value", ["no-store", "No-StOrE", "max-age=60, no-store", "no-store=x"])
def test_5_2_2_5_no_store_must_not_be_stored(value: str) -> None:
    assert judge(("Cache-Control", value)).reason == "no-store"


@pytest.mark.parametrize("value", ['x="a, no-store', "no-store ; a", '"no-store"'])
def test_5_2_2_5_no_store_in_broken_syntax_still_forbids(value: str) -> None:
    assert judge(("Cache-Control", value), CACHEABLE).reason == "no-store"


@pytest.mark.parametrize("value", ["private", "PRIVATE, max-age=60", 'private=""', 'private="a b"'])
def test_5_2_2_7_unqualified_or_broken_private_must_not_be_stored(value: str) -> None:
    assert judge(("Cache-Control", value)).reason == "private"


def test_5_2_2_7_qualified_private_limits_only_the_listed_fields() -> None:
    assert judge(
        ("Cache-Control", 'private="set-cookie", max-age=60'), ("Set-Cookie", "a=b")
    ).storable
    assert judge(("Cache-Control", 'private="x"'), ("Cache-Control", "private")).reason == "private"


def test_5_2_2_3_must_understand_overrides_no_store_for_understood_statuses() -> None:
    value = ("Cache-Control", "must-understand, no-store, max-age=60")
    assert judge(value).storable
    assert judge(value, status=599).reason == "must-understand"


def test_3_5_authorized_responses_need_permission() -> None:
    assert judge(CACHEABLE, request=AUTHORIZED).reason == "authorization"


@pytest.mark.parametrize("directive", ["public", "s-maxage=60", "must-revalidate"])
def test_3_5_these_directives_permit_reuse_of_authorized_responses(directive: str) -> None:
    assert judge(("Cache-Control", f"max-age=60, {directive}"), request=AUTHORIZED).storable


def test_3_permission_comes_from_public_lifetime_expires_or_status() -> None:
    assert judge(status=200).reason == "status"
    assert judge(status=302).reason == "no-explicit-freshness"
    assert judge(("Cache-Control", "public"), status=302).reason == "public"
    assert judge(("Expires", "0"), status=302).reason == "expires"


def test_9213_2_2_expires_gives_no_permission_under_a_target() -> None:
    assert not judge(("CDN-Cache-Control", "foo"), ("Expires", "0"), status=302).storable


@pytest.mark.parametrize("value", ["no-store", "private", "no-store=1", "max-age=9, no-store"])
def test_9213_2_2_a_target_can_forbid(value: str) -> None:
    assert not judge(("CDN-Cache-Control", value), CACHEABLE).storable


def test_9213_2_2_a_target_ignores_no_store_of_cache_control() -> None:
    assert judge(("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=9")).storable


def test_set_cookie_is_not_stored_unless_the_operator_says_so() -> None:
    assert judge(CACHEABLE, ("Set-Cookie", "a=b")).reason == "set-cookie"
    assert judge(CACHEABLE, ("Set-Cookie", "a=b"), allow_set_cookie=True).storable


@pytest.mark.parametrize(
    "values", [["*"], ["*, *"], [", *"], ["", "*"], ["*, Foo"], ["Foo", "*"], ["a b"]]
)
def test_4_1_vary_star_never_matches_and_is_not_stored(values: list[str]) -> None:
    assert judge(CACHEABLE, *(("Vary", value) for value in values)).reason == "vary-star"


def test_5_2_1_5_request_no_store_forbids_where_requests_are_heard() -> None:
    assert judge(CACHEABLE, request_no_store=True).reason == "request-no-store"


def test_3_1_connection_and_the_fields_it_lists_are_not_stored() -> None:
    fields = Fields.from_bytes(
        b"Connection: a, B, close\r\na: 1\r\nb: 2\r\nc: 3\r\nKeep-Alive: x\r\nTE: x\r\n"
        b"Transfer-Encoding: chunked\r\nUpgrade: x\r\nProxy-Connection: x\r\nTrailer: x\r\n"
    )
    assert remove_hop_by_hop(fields) == Fields(((b"c", b"3"),))


def test_3_1_fields_specific_to_the_proxy_are_not_stored() -> None:
    lines = [(b"Proxy-Authenticate", b"x"), (b"Proxy-Authentication-Info", b"x")]
    lines += [(b"Proxy-Authorization", b"x"), (b"ETag", b'"a"')]
    assert remove_unstorable(Fields(lines)) == Fields(((b"ETag", b'"a"'),))


def test_5_2_2_4_fields_named_by_no_cache_are_not_stored() -> None:
    fields = Fields(((b"A", b"1"), (b"B", b"2")))
    assert remove_unstorable(fields, frozenset((b"a",))) == Fields(((b"B", b"2"),))


@pytest.mark.parametrize(
    "name", [b"Authorization", b"X-Forwarded-For", b"Cache-Control", b"Via", b"CDN-Loop", b"Vary"]
)
def test_9110_7_6_1_connection_cannot_drop_what_we_depend_on(name: bytes) -> None:
    fields = Fields(((b"Connection", name), (name, b"kept")))
    assert remove_hop_by_hop(fields).get(name) == b"kept"
