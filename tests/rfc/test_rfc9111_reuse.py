"""RFC 9111 section 4 and RFC 5861 through the life of a request. One test a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from neuro.cache import (
    AUTHORIZED_OK,
    NEEDS_PYTHON,
    CacheRequest,
    Fetch,
    Freshen,
    OriginResponse,
    Outcome,
    PassThrough,
    Refuse,
    Revalidate,
    Serve,
    SharedCachePolicy,
    StoredResponse,
    StorePlan,
    StreamOnly,
    Write,
    on_origin_failure,
    plan_request,
    plan_response,
    variant_key_for,
)
from neuro.http.dates import format_date
from neuro.http.fields import Fields

NOW_S = 1_700_000_000
KEY = b"http://h/x"
POLICY = SharedCachePolicy()
LISTENING = SharedCachePolicy(respects_request_directives=True)


def make(*lines: tuple[str, str]) -> Fields:
    return Fields((name.encode(), value.encode()) for name, value in lines)


def get(*lines: tuple[str, str], method: bytes = b"GET", has_body: bool = False) -> CacheRequest:
    return CacheRequest(method, KEY, make(*lines), has_body)


def respond(*lines: tuple[str, str], status: int = 200, length: int = 10) -> OriginResponse:
    return OriginResponse(status, make(*lines), length)


def store(
    *lines: tuple[str, str],
    request: CacheRequest | None = None,
    status: int = 200,
    at_s: int = NOW_S,
    policy: SharedCachePolicy = POLICY,
) -> StoredResponse:
    request = request or get()
    plan = plan_request(request, None, at_s, policy)
    assert isinstance(plan, Fetch)
    stored = plan_response(
        request, respond(*lines, status=status), plan, at_s, at_s, policy, nonce=1
    )
    assert isinstance(stored, StorePlan), stored
    return stored.as_stored()


def cache_status(plan: Serve) -> bytes:
    return plan.reply.fields.get_all(b"cache-status")[-1]


def test_4_a_fresh_response_is_reused_with_its_age() -> None:
    stored = store(("Cache-Control", "max-age=60"), ("Age", "5"), ("A", "1"))
    plan = plan_request(get(), stored, NOW_S + 7, POLICY)
    assert isinstance(plan, Serve)
    assert plan.outcome is Outcome.HIT
    assert plan.reply.fields.get_all(b"age") == [b"12"]
    assert plan.reply.fields.get(b"a") == b"1"
    assert cache_status(plan) == b"NeuroCache; hit; ttl=48"


def test_4_the_stored_date_is_not_changed_by_reuse() -> None:
    stored = store(("Cache-Control", "max-age=60"), ("Date", format_date(NOW_S).decode()))
    plan = plan_request(get(), stored, NOW_S + 9, POLICY)
    assert isinstance(plan, Serve)
    assert plan.reply.fields.get_all(b"date") == [format_date(NOW_S)]


def test_9110_6_6_1_a_missing_date_is_appended_before_storing() -> None:
    assert store(("Cache-Control", "max-age=60")).fields.get(b"date") == format_date(NOW_S)


def test_4_a_stale_response_is_validated_before_reuse() -> None:
    stored = store(("Cache-Control", "max-age=2"), ("ETag", '"a"'))
    plan = plan_request(get(("If-Match", "x")), stored, NOW_S + 2, POLICY)
    assert isinstance(plan, PassThrough)
    plan = plan_request(
        get(("If-None-Match", '"z"'), ("Range", "bytes=0-1")), stored, NOW_S + 2, POLICY
    )
    assert isinstance(plan, Revalidate)
    assert plan.fields == make(("If-None-Match", '"a"'))
    assert (plan.forward, plan.may_collapse) == (b"stale", True)


def test_4_a_stale_response_without_validator_is_fetched_anew() -> None:
    plan = plan_request(get(), store(("Cache-Control", "max-age=2")), NOW_S + 2, POLICY)
    assert isinstance(plan, Fetch)
    assert plan.forward == b"stale"


def test_4_3_1_the_selecting_fields_of_the_request_travel_with_the_validation() -> None:
    request = get(("Abc", "123"))
    stored = store(("Expires", "0"), ("ETag", '"a"'), ("Vary", "Abc"), request=request)
    plan = plan_request(request, stored, NOW_S + 2, POLICY)
    assert isinstance(plan, Revalidate)
    assert plan.fields.get(b"abc") == b"123"


def test_5_2_2_4_no_cache_is_stored_but_validated_before_every_reuse() -> None:
    stored = store(
        ("Cache-Control", "no-cache, max-age=60, stale-while-revalidate=60"), ("ETag", '"a"')
    )
    assert stored.expires_s <= NOW_S
    assert isinstance(plan_request(get(), stored, NOW_S, POLICY), Revalidate)


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"FOO"])
def test_4_other_methods_are_written_through(method: bytes) -> None:
    plan = plan_request(get(method=method), store(("Cache-Control", "max-age=9")), NOW_S, POLICY)
    assert isinstance(plan, PassThrough)
    assert plan.forward == b"method"


def test_a_get_with_a_body_neither_uses_nor_fills_the_cache() -> None:
    plan = plan_request(get(has_body=True), store(("Cache-Control", "max-age=9")), NOW_S, POLICY)
    assert isinstance(plan, PassThrough)
    answer = respond(("Cache-Control", "max-age=9"))
    assert isinstance(
        plan_response(get(has_body=True), answer, plan, NOW_S, NOW_S, POLICY), StreamOnly
    )


def test_4_4_a_successful_post_drops_the_target_and_its_locations() -> None:
    request = get(method=b"POST")
    plan = plan_request(request, None, NOW_S, POLICY)
    assert isinstance(plan, PassThrough)
    answer = respond(("Location", "/y?z"), ("Content-Location", "w"), status=201)
    result = plan_response(request, answer, plan, NOW_S, NOW_S, POLICY)
    assert isinstance(result, StreamOnly)
    assert result.delete == (KEY, b"http://h/y?z", b"http://h/w")
    failed = plan_response(request, respond(status=500), plan, NOW_S, NOW_S, POLICY)
    assert isinstance(failed, StreamOnly)
    assert failed.delete == ()


def test_3_5_a_response_without_permission_is_not_reused_for_authorized_requests() -> None:
    authorized = get(("Authorization", "Basic eA=="))
    stored = store(("Cache-Control", "max-age=60"))
    assert not stored.flags & AUTHORIZED_OK
    plan = plan_request(authorized, stored, NOW_S, POLICY)
    assert isinstance(plan, Fetch)
    assert (plan.forward, plan.may_collapse) == (b"bypass", False)
    public = store(("Cache-Control", "max-age=60, public"), request=authorized)
    assert public.flags & AUTHORIZED_OK
    assert isinstance(plan_request(authorized, public, NOW_S, POLICY), Serve)
    assert isinstance(plan_request(get(), public, NOW_S, POLICY), Serve)


def test_3_5_an_authorized_answer_does_not_evict_what_others_use() -> None:
    authorized = get(("Authorization", "Basic eA=="))
    stored = store(("Cache-Control", "max-age=60"))
    plan = plan_request(authorized, stored, NOW_S, POLICY)
    assert isinstance(plan, Fetch)
    result = plan_response(
        authorized, respond(("Cache-Control", "max-age=60")), plan, NOW_S, NOW_S, POLICY
    )
    assert result == StreamOnly("authorization")


def test_4_1_another_selecting_value_is_a_miss() -> None:
    stored = store(("Cache-Control", "max-age=60"), ("Vary", "Foo"), request=get(("Foo", "1")))
    assert isinstance(plan_request(get(("Foo", "1")), stored, NOW_S, POLICY), Serve)
    plan = plan_request(get(("Foo", "2")), stored, NOW_S, POLICY)
    assert isinstance(plan, Fetch)
    assert (plan.forward, plan.stored) == (b"vary-miss", None)


def test_4_3_3_a_304_freshens_and_replaces_fields() -> None:
    stored = store(("Cache-Control", "max-age=2"), ("ETag", '"a"'), ("A", "1"), ("B", "1"))
    plan = plan_request(get(), stored, NOW_S + 5, POLICY)
    assert isinstance(plan, Revalidate)
    answer = respond(("Cache-Control", "max-age=60"), ("ETag", '"a"'), ("A", "2"), status=304)
    result = plan_response(get(), answer, plan, NOW_S + 5, NOW_S + 6, POLICY)
    assert isinstance(result, Freshen)
    assert (result.write, result.may_share) == (Write.FIELDS, True)
    assert result.stored.fields.get_all(b"a") == [b"2"]
    assert result.stored.fields.get_all(b"b") == [b"1"]
    assert result.stored.fields.get_all(b"date") == [format_date(NOW_S + 6)]
    # The delay of the exchange counts as age (section 4.2.3).
    assert (result.stored.born_s, result.stored.expires_s) == (NOW_S + 5, NOW_S + 65)


def test_4_3_4_a_304_with_the_same_fields_renews_only_the_times() -> None:
    lines = (("Cache-Control", "max-age=2"), ("ETag", '"a"'), ("Date", format_date(NOW_S).decode()))
    stored = store(*lines)
    plan = plan_request(get(), stored, NOW_S + 2, POLICY)
    assert isinstance(plan, Revalidate)
    result = plan_response(get(), respond(*lines, status=304), plan, NOW_S + 2, NOW_S + 2, POLICY)
    assert isinstance(result, Freshen)
    assert result.write is Write.TIMES


def test_4_3_4_a_304_about_another_strong_validator_updates_nothing() -> None:
    stored = store(("Cache-Control", "max-age=2"), ("ETag", '"a"'))
    plan = plan_request(get(), stored, NOW_S + 2, POLICY)
    assert isinstance(plan, Revalidate)
    answer = respond(("Cache-Control", "max-age=60"), ("ETag", '"b"'), status=304)
    result = plan_response(get(), answer, plan, NOW_S + 2, NOW_S + 2, POLICY)
    assert result == Freshen(stored, Write.NOTHING, "etag-mismatch", False)


@pytest.mark.parametrize(
    "line", [("Cache-Control", "no-store"), ("Cache-Control", "private"), ("Set-Cookie", "a=b")]
)
def test_4_3_4_a_304_that_forbids_storing_drops_the_stored_response(line: tuple[str, str]) -> None:
    stored = store(("Cache-Control", "max-age=2"), ("ETag", '"a"'))
    plan = plan_request(get(), stored, NOW_S + 2, POLICY)
    assert isinstance(plan, Revalidate)
    result = plan_response(get(), respond(line, status=304), plan, NOW_S + 2, NOW_S + 2, POLICY)
    assert isinstance(result, Freshen)
    assert (result.write, result.delete, result.may_share) == (Write.NOTHING, (KEY,), False)


def test_4_3_3_a_full_response_to_a_validation_replaces_the_stored_one() -> None:
    stored = store(("Cache-Control", "max-age=2"), ("ETag", '"a"'))
    plan = plan_request(get(), stored, NOW_S + 2, POLICY)
    assert isinstance(plan, Revalidate)
    answer = respond(("Cache-Control", "max-age=9"), ("ETag", '"b"'))
    result = plan_response(get(), answer, plan, NOW_S + 2, NOW_S + 2, POLICY)
    assert isinstance(result, StorePlan)
    assert (result.key, result.fields.get(b"etag")) == (KEY, b'"b"')
    denied = plan_response(
        get(), respond(("Cache-Control", "no-store")), plan, NOW_S, NOW_S, POLICY
    )
    assert denied == StreamOnly("no-store", delete=(KEY,), is_uncacheable=True)


def test_4_3_3_a_server_error_on_validation_is_forwarded_or_hidden_by_stale_if_error() -> None:
    bare = store(("Cache-Control", "max-age=2"), ("ETag", '"a"'))
    covered = store(("Cache-Control", "max-age=2, stale-if-error=60"), ("ETag", '"a"'))
    for stored, expected in ((bare, StreamOnly), (covered, Serve)):
        plan = plan_request(get(), stored, NOW_S + 2, POLICY)
        assert isinstance(plan, Revalidate)
        result = plan_response(get(), respond(status=503), plan, NOW_S + 2, NOW_S + 2, POLICY)
        assert isinstance(result, expected)
        if isinstance(result, StreamOnly):
            assert result.delete == ()


def test_5861_3_stale_while_revalidate_serves_stale_and_refreshes_in_the_background() -> None:
    stored = store(("Cache-Control", "max-age=2, stale-while-revalidate=10"), ("ETag", '"a"'))
    plan = plan_request(get(), stored, NOW_S + 5, POLICY)
    assert isinstance(plan, Serve)
    assert (plan.outcome, plan.reply.fields.get(b"age")) == (Outcome.STALE, b"5")
    assert plan.refresh is not None
    assert plan.refresh.fields.get(b"if-none-match") == b'"a"'
    assert cache_status(plan) == b"NeuroCache; hit; ttl=-3; detail=stale-while-revalidate"
    assert isinstance(plan_request(get(), stored, NOW_S + 12, POLICY), Revalidate)


def test_5861_3_the_background_refresh_of_a_head_is_a_get() -> None:
    stored = store(("Cache-Control", "max-age=2, stale-while-revalidate=10"), ("ETag", '"a"'))
    plan = plan_request(get(method=b"HEAD"), stored, NOW_S + 5, POLICY)
    assert isinstance(plan, Serve)
    assert plan.refresh is not None
    assert plan.refresh.method == b"GET"


@pytest.mark.parametrize(
    ("value", "offset_s", "expected"),
    [
        ("max-age=2, stale-if-error=60", 61, "stale-if-error"),
        ("max-age=2, stale-if-error=60", 62, None),
        ("max-age=2", 3, None),
        ("max-age=2, must-revalidate, stale-if-error=60", 3, None),
        ("s-maxage=2, stale-if-error=60", 3, None),
        ("max-age=2, proxy-revalidate", 3, None),
    ],
)
def test_4_2_4_stale_answers_need_permission(
    value: str, offset_s: int, expected: str | None
) -> None:
    stored = store(("Cache-Control", value), ("ETag", '"a"'))
    result = on_origin_failure(get(), stored, NOW_S + offset_s, POLICY)
    assert (result.reason if isinstance(result, Serve) else None) == expected


def test_4_2_4_a_disconnected_cache_may_serve_stale_where_the_operator_allows_it() -> None:
    policy = SharedCachePolicy(stale_when_disconnected_s=60)
    stored = store(("Cache-Control", "max-age=2"))
    result = on_origin_failure(get(), stored, NOW_S + 5, policy)
    assert isinstance(result, Serve)
    assert (result.outcome, result.reason) == (Outcome.STALE, "disconnected")
    strict = store(("Cache-Control", "max-age=2, must-revalidate"), ("ETag", '"a"'))
    assert on_origin_failure(get(), strict, NOW_S + 5, policy) == Refuse(504, "must-revalidate")


def test_9110_15_6_failures_without_anything_stored_are_502_and_504() -> None:
    assert on_origin_failure(get(), None, NOW_S, POLICY) == Refuse(502, "origin-failed")
    timeout = on_origin_failure(get(), None, NOW_S, POLICY, is_timeout=True)
    assert timeout == Refuse(504, "origin-timeout")


def test_4_3_2_client_preconditions_are_answered_from_the_stored_response() -> None:
    stored = store(("Cache-Control", "max-age=60"), ("ETag", '"a"'), ("Content-Type", "text/css"))
    plan = plan_request(get(("If-None-Match", 'W/"a"')), stored, NOW_S + 1, POLICY)
    assert isinstance(plan, Serve)
    assert (plan.reply.status, plan.reply.length) == (304, None)
    assert plan.reply.fields.get(b"etag") == b'"a"'
    assert plan.reply.fields.get(b"age") == b"1"
    assert b"content-type" not in plan.reply.fields


def test_9110_13_2_1_preconditions_do_not_apply_to_stored_errors() -> None:
    stored = store(("Cache-Control", "max-age=60"), ("ETag", '"a"'), status=404)
    plan = plan_request(get(("If-None-Match", "*")), stored, NOW_S, POLICY)
    assert isinstance(plan, Serve)
    assert plan.reply.status == 404


def test_9110_14_ranges_are_cut_from_the_stored_whole() -> None:
    stored = store(("Cache-Control", "max-age=60"), ("A", "1"))
    plan = plan_request(get(("Range", "bytes=2-4")), stored, NOW_S, POLICY)
    assert isinstance(plan, Serve)
    assert (plan.reply.status, plan.reply.offset, plan.reply.length) == (206, 2, 3)
    assert plan.reply.fields.get(b"content-range") == b"bytes 2-4/10"
    assert plan.reply.fields.get(b"a") == b"1"
    plan = plan_request(get(("Range", "bytes=10-")), stored, NOW_S, POLICY)
    assert isinstance(plan, Serve)
    assert (plan.reply.status, plan.reply.length) == (416, 0)
    assert plan.reply.fields.get(b"content-range") == b"bytes */10"


def test_9110_14_4_a_stray_content_range_does_not_survive_in_a_206() -> None:
    stored = store(("Cache-Control", "max-age=60"), ("Content-Range", "bytes 0-1/2"))
    plan = plan_request(get(("Range", "bytes=2-4")), stored, NOW_S, POLICY)
    assert isinstance(plan, Serve)
    assert plan.reply.fields.get_all(b"content-range") == [b"bytes 2-4/10"]


def test_a_range_on_a_miss_is_forwarded_alone_and_its_part_not_stored() -> None:
    request = get(("Range", "bytes=0-1"))
    plan = plan_request(request, None, NOW_S, POLICY)
    assert isinstance(plan, Fetch)
    assert (plan.may_collapse, plan.fields.get(b"range")) == (False, b"bytes=0-1")
    answer = respond(("Cache-Control", "max-age=9"), ("Content-Range", "bytes 0-1/9"), status=206)
    result = plan_response(request, answer, plan, NOW_S, NOW_S, POLICY)
    assert result == StreamOnly("partial-content")


def test_a_collapsible_miss_asks_for_the_whole_without_the_clients_conditions() -> None:
    request = get(("If-None-Match", '"a"'), ("If-Modified-Since", "x"), ("A", "1"))
    plan = plan_request(request, None, NOW_S, POLICY)
    assert isinstance(plan, Fetch)
    assert (plan.fields, plan.may_collapse) == (make(("A", "1")), True)


def test_a_key_known_as_uncacheable_keeps_the_clients_conditions_and_waits_for_nobody() -> None:
    request = get(("If-None-Match", '"a"'))
    plan = plan_request(request, None, NOW_S, POLICY, is_uncacheable=True)
    assert isinstance(plan, Fetch)
    assert (plan.fields, plan.may_collapse) == (request.fields, False)
    result = plan_response(request, respond(status=304), plan, NOW_S, NOW_S, POLICY)
    assert result == StreamOnly("client-precondition")


def test_9110_9_3_2_head_is_answered_from_a_stored_get() -> None:
    stored = store(("Cache-Control", "max-age=60"))
    plan = plan_request(get(method=b"HEAD"), stored, NOW_S, POLICY)
    assert isinstance(plan, Serve)
    assert (plan.reply.status, plan.reply.length) == (200, 10)


def test_4_3_5_a_head_response_freshens_or_drops_the_stored_get() -> None:
    stored = store(("Cache-Control", "max-age=2"), ("A", "1"))
    request = get(method=b"HEAD")
    plan = plan_request(request, stored, NOW_S + 3, POLICY)
    assert isinstance(plan, Fetch)
    assert (plan.method, plan.may_collapse) == (b"HEAD", False)
    answer = respond(("Cache-Control", "max-age=60"), ("A", "2"))
    result = plan_response(request, answer, plan, NOW_S + 3, NOW_S + 3, POLICY)
    assert isinstance(result, Freshen)
    assert result.stored.is_fresh(NOW_S + 60)
    assert result.stored.fields.get(b"a") == b"2"
    other = plan_response(request, respond(("Content-Length", "11")), plan, NOW_S, NOW_S, POLICY)
    assert other == StreamOnly("head-mismatch", delete=(KEY,))
    gone = plan_response(request, respond(status=410), plan, NOW_S, NOW_S, POLICY)
    assert gone == StreamOnly("method")


@pytest.mark.parametrize(
    ("value", "offset_s", "expected"),
    [
        ("no-cache", 0, Revalidate),
        ("max-age=5", 6, Revalidate),
        ("max-age=5", 5, Serve),
        ("max-age=x", 1, Revalidate),
        ("min-fresh=10", 51, Revalidate),
        ("min-fresh=10", 50, Serve),
        ("max-stale", 99_999, Serve),
        ("max-stale=10", 70, Serve),
        ("max-stale=10", 71, Revalidate),
        ("max-stale=x", 61, Revalidate),
        ("max-age=5, max-stale=99", 70, Revalidate),
    ],
)
def test_5_2_1_request_directives_are_obeyed_where_the_policy_listens(
    value: str, offset_s: int, expected: type
) -> None:
    stored = store(("Cache-Control", "max-age=60"), ("ETag", '"a"'))
    request = get(("Cache-Control", value))
    assert isinstance(plan_request(request, stored, NOW_S + offset_s, LISTENING), expected)


def test_5_2_1_request_directives_are_ignored_by_default() -> None:
    stored = store(("Cache-Control", "max-age=60"))
    request = get(("Cache-Control", "no-cache, only-if-cached"), ("Pragma", "no-cache"))
    assert isinstance(plan_request(request, stored, NOW_S, POLICY), Serve)


def test_5_2_1_7_only_if_cached_is_answered_with_504_when_nothing_fits() -> None:
    request = get(("Cache-Control", "only-if-cached"))
    assert plan_request(request, None, NOW_S, LISTENING) == Refuse(504, "only-if-cached")


def test_5_4_pragma_counts_only_without_cache_control() -> None:
    stored = store(("Cache-Control", "max-age=60"), ("ETag", '"a"'))
    alone = get(("Pragma", "no-cache"))
    assert isinstance(plan_request(alone, stored, NOW_S, LISTENING), Revalidate)
    both = get(("Pragma", "no-cache"), ("Cache-Control", "max-age=60"))
    assert isinstance(plan_request(both, stored, NOW_S, LISTENING), Serve)


def test_5_2_1_4_max_stale_does_not_override_must_revalidate() -> None:
    stored = store(("Cache-Control", "max-age=60, must-revalidate"), ("ETag", '"a"'))
    request = get(("Cache-Control", "max-stale"))
    assert isinstance(plan_request(request, stored, NOW_S + 61, LISTENING), Revalidate)


def test_5_2_1_5_a_no_store_request_neither_stores_nor_makes_others_wait() -> None:
    request = get(("Cache-Control", "no-store"))
    plan = plan_request(request, None, NOW_S, LISTENING)
    assert isinstance(plan, Fetch)
    assert not plan.may_collapse
    result = plan_response(
        request, respond(("Cache-Control", "max-age=9")), plan, NOW_S, NOW_S, LISTENING
    )
    assert isinstance(result, StreamOnly)


def test_a_response_without_lifetime_is_kept_only_for_validation() -> None:
    stored = store(("ETag", '"a"'))
    assert isinstance(plan_request(get(), stored, NOW_S, POLICY), Revalidate)
    fetch = plan_request(get(), None, NOW_S, POLICY)
    assert isinstance(fetch, Fetch)
    bare = plan_response(get(), respond(), fetch, NOW_S, NOW_S, POLICY)
    assert bare == StreamOnly("no-freshness-no-validator", is_uncacheable=True)
    with_cookie = get(("Cookie", "a=b"))
    result = plan_response(with_cookie, respond(("ETag", '"a"')), fetch, NOW_S, NOW_S, POLICY)
    assert isinstance(result, StreamOnly)
    assert result.reason == "cookie-without-freshness"


def test_only_a_response_fresh_on_arrival_may_be_shared_with_those_who_wait() -> None:
    fetch = plan_request(get(), None, NOW_S, POLICY)
    assert isinstance(fetch, Fetch)
    for value, expected in (("max-age=60", True), ("no-cache", False), ("max-age=0", False)):
        answer = respond(("Cache-Control", value), ("ETag", '"a"'))
        result = plan_response(get(), answer, fetch, NOW_S, NOW_S, POLICY)
        assert isinstance(result, StorePlan)
        assert result.may_share is expected


def test_framing_age_and_cache_status_are_never_stored() -> None:
    stored = store(
        ("Cache-Control", "max-age=60"), ("Content-Length", "10"), ("Age", "1"),
        ("Cache-Status", "x; hit"), ("Connection", "close"), ("Transfer-Encoding", "chunked"),
    )  # fmt: skip
    assert stored.fields.names() == (b"cache-control", b"date")


def test_a_body_beyond_the_bound_is_not_stored() -> None:
    fetch = plan_request(get(), None, NOW_S, POLICY)
    assert isinstance(fetch, Fetch)
    answer = respond(("Cache-Control", "max-age=60"), length=POLICY.object_bytes_max + 1)
    result = plan_response(get(), answer, fetch, NOW_S, NOW_S, POLICY)
    assert result == StreamOnly("too-large", is_uncacheable=True)


def test_errors_do_not_make_a_key_uncacheable() -> None:
    fetch = plan_request(get(), None, NOW_S, POLICY)
    assert isinstance(fetch, Fetch)
    result = plan_response(get(), respond(status=502), fetch, NOW_S, NOW_S, POLICY)
    assert result == StreamOnly("no-explicit-freshness")


def test_times_stay_within_the_slab() -> None:
    stored = store(("Cache-Control", "max-age=99999999999"), at_s=4_294_900_000)
    assert stored.expires_s == 2**32 - 2


def test_4_1_variants_live_under_a_marker_and_are_found_again() -> None:
    def ask(value: str) -> CacheRequest:
        return get(("Foo", value))

    fetch = plan_request(ask("1"), None, NOW_S, POLICY)
    assert isinstance(fetch, Fetch)
    answer = respond(("Cache-Control", "max-age=60"), ("Vary", "foo"))
    one = plan_response(ask("1"), answer, fetch, NOW_S, NOW_S, POLICY, nonce=7)
    assert isinstance(one, StorePlan)
    assert one.marker is not None
    assert (one.marker.key, one.marker.flags) == (KEY, NEEDS_PYTHON)
    marker = replace(one.as_stored(), key=KEY, meta=one.marker.meta, flags=NEEDS_PYTHON)
    assert variant_key_for(ask("1"), marker) == one.key
    assert variant_key_for(ask("2"), marker) != one.key
    miss = plan_request(ask("2"), marker, NOW_S, POLICY)
    assert isinstance(miss, Fetch)
    assert miss.forward == b"vary-miss"
    again = plan_response(ask("1"), answer, fetch, NOW_S, NOW_S, POLICY, marker=marker, nonce=8)
    assert isinstance(again, StorePlan)
    assert (again.key, again.marker) == (one.key, None)
