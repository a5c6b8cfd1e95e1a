"""The rule books under arbitrary bytes: no crash, no surprise, round trips."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from neuro.cache import (
    CacheRequest,
    EntryMalformed,
    EntryMeta,
    Fetch,
    Freshen,
    OriginResponse,
    PassThrough,
    Refuse,
    Revalidate,
    Serve,
    SharedCachePolicy,
    StoredResponse,
    StorePlan,
    on_origin_failure,
    plan_request,
    plan_response,
)
from neuro.cache.key import variant_suffix
from neuro.errors import HttpSyntaxError, InvalidFieldError
from neuro.http.cache_status import CacheStatus
from neuro.http.dates import format_date, parse_date_s
from neuro.http.directives import DELTA_SECONDS_MAX, parse_cache_control, parse_delta_seconds
from neuro.http.fields import Fields, is_token, split_list
from neuro.http.forwarding import Hop, is_loop, origin_request_fields
from neuro.http.freshness import HeuristicRule, compute_freshness
from neuro.http.invalidation import same_origin_uri
from neuro.http.ranges import Span, parse_content_range, parse_range
from neuro.http.structured import Item, parse_dictionary, parse_item, serialize_string
from neuro.http.vary import is_match, parse_vary, selecting_values

NOW_S = 1_700_000_000
KEY = b"http://h/x"

values = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"max-age=60", b"no-cache", b"no-store", b"private", b'no-cache="a"', b"s-maxage=9", b"public",
            b"must-revalidate", b"stale-if-error=60, max-age=1", b"stale-while-revalidate=60, max-age=1",
            b"only-if-cached", b"max-stale", b"min-fresh=1", b"0", b"5", b"*", b'"a"', b'W/"a"', b"bytes=0-1",
            b"bytes=-5", b"gzip, br;q=0.5", b"accept-encoding", b"a, b", b"Basic eA==", b"/y",
            format_date(NOW_S), format_date(NOW_S - 99), format_date(NOW_S + 99),
        ]
    ),
)  # fmt: skip
names = st.sampled_from(
    [
        b"Cache-Control", b"CDN-Cache-Control", b"Expires", b"Date", b"Age", b"ETag", b"Last-Modified", b"Vary",
        b"Set-Cookie", b"Authorization", b"Cookie", b"If-None-Match", b"If-Modified-Since", b"If-Match", b"Range",
        b"If-Range", b"Accept-Encoding", b"A", b"B", b"Connection", b"Content-Length", b"Content-Range", b"Pragma",
        b"Location", b"Via", b"CDN-Loop", b"X-Forwarded-For",
    ]
)  # fmt: skip
fields_of = st.lists(st.tuples(names, values), max_size=8).map(Fields)
requests = st.builds(
    CacheRequest,
    st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"POST"]),
    st.just(KEY),
    fields_of,
    st.sampled_from([False, False, False, True]),
)
responses = st.builds(
    OriginResponse,
    st.sampled_from([200, 200, 200, 204, 206, 301, 304, 404, 410, 500, 503, 599]),
    fields_of,
    st.one_of(st.none(), st.integers(0, 1000)),
)
policies = st.builds(
    SharedCachePolicy,
    default_ttl_s=st.sampled_from([0, 60]),
    heuristic=st.sampled_from([None, HeuristicRule()]),
    respects_request_directives=st.booleans(),
    stale_when_disconnected_s=st.sampled_from([0, 60]),
)


@given(st.integers(0, 253_402_300_799))
def test_a_written_date_is_read_back(moment_s: int) -> None:
    assert parse_date_s(format_date(moment_s), NOW_S) == moment_s


@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_break_the_parsers(data: bytes) -> None:
    fields = Fields(((b"Cache-Control", data), (b"Vary", data), (b"Age", data), (b"Expires", data)))
    freshness = compute_freshness(200, fields, request_time_s=NOW_S, response_time_s=NOW_S)
    assert freshness.lifetime_s >= 0
    parse_date_s(data, NOW_S)
    parse_vary(fields)
    parse_content_range(data)
    same_origin_uri(b"http://h/x", data)
    is_loop(Fields(((b"Via", data), (b"CDN-Loop", data))), b"nc")
    for parse in (parse_dictionary, parse_item):
        try:
            parse(data)
        except HttpSyntaxError:
            continue
    try:
        block = Fields.from_bytes(data)
    except InvalidFieldError:
        return
    assert Fields.from_bytes(block.to_bytes()) == block


@given(st.binary(max_size=60))
def test_members_of_a_list_hold_no_outer_blanks_and_are_not_empty(data: bytes) -> None:
    members = split_list(data)
    assert all(member and member == member.strip(b" \t") for member in members)


@given(
    st.lists(
        st.tuples(st.from_regex(r"[a-z-]{1,9}", fullmatch=True), st.integers(0, 2**40)), max_size=5
    )
)
def test_directives_survive_formatting(members: list[tuple[str, int]]) -> None:
    text = ", ".join(f"{name}={value}" for name, value in members).encode()
    parsed = parse_cache_control(Fields(((b"Cache-Control", text),)))
    assert [(m.name.decode(), int(m.argument or b"")) for m in parsed.members] == members


@given(st.binary(max_size=30), st.sampled_from([b"no-store", b"private"]), st.binary(max_size=30))
def test_a_restriction_between_commas_is_never_lost(
    before: bytes, name: bytes, after: bytes
) -> None:
    # Unless a complete quoted string holds it, the directive must be seen, whatever surrounds it.
    text = before.replace(b'"', b"'") + b"," + name + b"," + after
    assert name in parse_cache_control(Fields(((b"Cache-Control", text),)))


@given(st.integers(0, 10**30))
def test_delta_seconds_never_exceed_their_bound(number: int) -> None:
    assert parse_delta_seconds(b"%d" % number) == min(number, DELTA_SECONDS_MAX)


@given(st.text(max_size=30))
def test_a_serialised_string_parses(text: str) -> None:
    item = parse_item(serialize_string(text))
    assert isinstance(item, Item)
    if all(" " <= letter <= "~" for letter in text):
        assert item.value == text


@given(st.binary(max_size=20), st.integers(-(2**31), 2**31))
def test_cache_status_is_always_a_valid_structured_field(key: bytes, ttl_s: int) -> None:
    written = CacheStatus(is_hit=True, ttl_s=ttl_s, key=key, detail=key).to_bytes()
    item = parse_item(written)
    assert item.parameters["ttl"] == ttl_s


@given(st.binary(max_size=20), st.integers(1, 1000))
def test_a_span_lies_within_the_representation(ranges: bytes, total: int) -> None:
    span = parse_range(b"bytes=" + ranges, total)
    if isinstance(span, Span):
        assert span.length >= 1
        assert span.offset >= 0
        assert span.offset + span.length <= total
        assert parse_content_range(span.content_range(total)) == (span, total)


@given(fields_of)
def test_equal_requests_always_choose_the_same_variant(request: Fields) -> None:
    chosen = (b"a", b"accept-encoding", b"b")
    assert is_match(chosen, selecting_values(chosen, request), Fields(iter(request)))


@given(st.lists(st.one_of(st.none(), st.binary(max_size=6)), min_size=2, max_size=2, unique=False),
       st.lists(st.one_of(st.none(), st.binary(max_size=6)), min_size=2, max_size=2, unique=False))  # fmt: skip
def test_variant_suffixes_are_injective(one: list[bytes | None], other: list[bytes | None]) -> None:
    pair = (b"a", b"b")
    same = variant_suffix(pair, tuple(one)) == variant_suffix(pair, tuple(other))
    assert same == (one == other)


@given(fields_of)
def test_the_origin_never_sees_two_hosts_or_a_clients_claim(request: Fields) -> None:
    result = origin_request_fields(request, Hop(b"nc", b"192.0.2.1", b"http", b"h"))
    for name, value in (
        (b"host", b"h"),
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"x-forwarded-proto", b"http"),
    ):
        assert result.get_all(name) == [value]
    assert b"connection" not in result


@given(st.binary(max_size=80))
def test_arbitrary_meta_is_refused_or_read(data: bytes) -> None:
    try:
        meta = EntryMeta.from_bytes(data)
    except EntryMalformed:
        return
    assert EntryMeta.from_bytes(meta.to_bytes()) == meta


def _must_not_be_stored(request: CacheRequest, response: OriginResponse) -> bool:
    """A naive and stricter twin of a few absolute rules, for plain syntax only."""
    if b"cdn-cache-control" in response.fields:
        return False
    words = {
        value.strip()
        for line in response.fields.get_all(b"cache-control")
        for value in line.split(b",")
    }
    return bool(words & {b"no-store", b"private"}) or request.method != b"GET"


@given(requests, responses, requests, responses, policies, st.integers(0, 200))
def test_any_life_of_a_request_keeps_the_absolute_rules(
    first: CacheRequest,
    stored_response: OriginResponse,
    second: CacheRequest,
    answer: OriginResponse,
    policy: SharedCachePolicy,
    later_s: int,
) -> None:
    plan = plan_request(first, None, NOW_S, policy)
    if isinstance(plan, Refuse | Serve):
        assert isinstance(plan, Refuse)
        return
    result = plan_response(first, stored_response, plan, NOW_S, NOW_S, policy, nonce=1)
    if not isinstance(result, StorePlan):
        return
    assert isinstance(plan, Fetch)
    assert not _must_not_be_stored(first, stored_response)
    assert b"set-cookie" not in result.fields
    stored = result.as_stored()
    assert EntryMeta.from_bytes(result.meta.to_bytes()) == result.meta
    now_s = NOW_S + later_s
    _check_reuse(second, stored, answer, now_s, policy)


def _check_reuse(
    request: CacheRequest,
    stored: StoredResponse,
    answer: OriginResponse,
    now_s: int,
    policy: SharedCachePolicy,
) -> None:
    plan = plan_request(request, stored, now_s, policy)
    if isinstance(plan, Serve):
        assert request.method in (b"GET", b"HEAD")
        assert stored.is_fresh(now_s) or stored.meta.may_serve_stale
        assert plan.reply.fields.get_all(b"age") == [b"%d" % stored.age_s(now_s)]
        assert not stored.meta.must_validate
        return
    failed = on_origin_failure(request, stored, now_s, policy)
    if isinstance(failed, Serve) and not stored.is_fresh(now_s):
        assert stored.meta.may_serve_stale
    if isinstance(plan, Refuse):
        return
    assert isinstance(plan, Fetch | Revalidate | PassThrough)
    result = plan_response(request, answer, plan, now_s, now_s, policy, nonce=2)
    if isinstance(result, Freshen):
        assert result.stored.key == stored.key
        assert result.stored.fields.get_all(b"etag") == stored.fields.get_all(b"etag")


def test_names_used_here_are_tokens() -> None:
    assert all(is_token(name) for name in (b"Cache-Control", b"CDN-Loop"))
