"""RFC 9111 sections 3.2, 4.1, 4.3 and 4.4, with the parts of RFC 9110 they use."""

from __future__ import annotations

import pytest

from neuro.http.dates import format_date
from neuro.http.fields import Fields
from neuro.http.invalidation import same_origin_uri, spoiled_uris
from neuro.http.ranges import Span, Unsatisfiable, if_range_holds, parse_range, select_span
from neuro.http.validation import (
    is_not_modified,
    matches_head,
    matches_none_match,
    merge_fields,
    not_modified_fields,
    select_for_update,
    validators_of,
)
from neuro.http.vary import is_match, parse_vary, selecting_values

NOW_S = 1_700_000_000


def make(*lines: tuple[str, str]) -> Fields:
    return Fields((name.encode("latin-1"), value.encode("latin-1")) for name, value in lines)


def date(offset_s: int) -> str:
    return format_date(NOW_S + offset_s).decode()


def test_4_3_1_a_conditional_request_sends_both_stored_validators() -> None:
    stored = make(("ETag", 'W/"a"'), ("Last-Modified", date(-50)))
    assert validators_of(stored, NOW_S) == [
        (b"If-None-Match", b'W/"a"'),
        (b"If-Modified-Since", format_date(NOW_S - 50)),
    ]


@pytest.mark.parametrize(
    "lines", [[], [("ETag", "a")], [("ETag", '"a"'), ("ETag", '"b"')], [("Last-Modified", "0")]]
)
def test_4_3_1_no_condition_without_a_valid_validator(lines: list[tuple[str, str]]) -> None:
    assert validators_of(make(*lines), NOW_S) == []


@pytest.mark.parametrize(
    ("value", "etag", "expected"),
    [
        (b'"a"', b'"a"', True),
        (b'W/"a"', b'"a"', True),
        (b'"a"', b'W/"a"', True),
        (b'"x", "a", "y"', b'"a"', True),
        (b'"x,a"', b'"a"', False),
        (b"a", b'"a"', False),
        (b'"A"', b'"a"', False),
        (b'w/"a"', b'"a"', False),
        (b"*", None, True),
        (b'"a"', None, False),
    ],
)
def test_9110_13_1_2_if_none_match_compares_weakly(
    value: bytes, etag: bytes | None, expected: bool
) -> None:
    assert matches_none_match(value, etag) is expected


def test_4_3_2_if_none_match_takes_precedence_over_if_modified_since() -> None:
    stored = make(("ETag", '"a"'), ("Last-Modified", date(-10)))
    newer = make(("If-None-Match", '"b"'), ("If-Modified-Since", date(0)))
    assert not is_not_modified(newer, stored, NOW_S, NOW_S)
    older = make(("If-None-Match", '"a"'), ("If-Modified-Since", date(-99)))
    assert is_not_modified(older, stored, NOW_S, NOW_S)


@pytest.mark.parametrize(("since_s", "expected"), [(-11, False), (-10, True), (-9, True)])
def test_4_3_2_if_modified_since_compares_with_last_modified(since_s: int, expected: bool) -> None:
    stored = make(("Last-Modified", date(-10)), ("Date", date(0)))
    request = make(("If-Modified-Since", date(since_s)))
    assert is_not_modified(request, stored, NOW_S, NOW_S) is expected


def test_4_3_2_date_then_reception_stand_in_for_last_modified() -> None:
    request = make(("If-Modified-Since", date(-5)))
    assert is_not_modified(request, make(("Date", date(-6))), NOW_S, NOW_S)
    assert not is_not_modified(request, make(("Date", date(-4))), NOW_S, NOW_S)
    assert is_not_modified(request, make(), NOW_S, NOW_S - 5)
    assert not is_not_modified(request, make(), NOW_S, NOW_S - 4)


def test_9110_13_1_3_an_invalid_if_modified_since_is_ignored() -> None:
    stored = make(("Last-Modified", date(-10)))
    assert not is_not_modified(make(("If-Modified-Since", "yesterday")), stored, NOW_S, NOW_S)
    twice = make(("If-Modified-Since", date(0)), ("If-Modified-Since", date(0)))
    assert not is_not_modified(twice, stored, NOW_S, NOW_S)


def test_9110_15_4_5_a_304_carries_etag_but_no_representation_metadata() -> None:
    stored = make(
        ("ETag", '"a"'), ("Date", date(0)), ("Content-Type", "text/plain"), ("Vary", "A"),
        ("Content-Location", "/x"), ("Cache-Control", "max-age=1"), ("Last-Modified", date(-9)),
    )  # fmt: skip
    assert not_modified_fields(stored).names() == (
        *(b"etag", b"date", b"vary", b"content-location", b"cache-control"),
    )


@pytest.mark.parametrize(
    ("stored", "answer", "expected"),
    [
        ([("ETag", '"a"')], [("ETag", '"a"')], True),
        ([("ETag", '"a"')], [("ETag", '"b"')], False),
        ([("ETag", 'W/"a"')], [("ETag", '"a"')], False),
        ([("ETag", '"a"')], [("ETag", 'W/"a"')], True),
        ([("ETag", 'W/"b"')], [("ETag", 'W/"a"')], False),
        ([("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")], [("ETag", '"a"')], False),
        (
            [("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
            [("Last-Modified", "Sunday, 06-Nov-94 08:49:37 GMT")],
            True,
        ),
        (
            [("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
            [("Last-Modified", "Sun, 06 Nov 1994 08:49:38 GMT")],
            False,
        ),
        ([("ETag", '"a"')], [], True),
        ([], [], True),
    ],
)
def test_4_3_4_a_304_updates_only_what_its_validators_identify(
    stored: list[tuple[str, str]], answer: list[tuple[str, str]], expected: bool
) -> None:
    assert select_for_update(make(*stored), make(*answer), NOW_S).is_selected is expected


def test_3_2_each_field_of_the_update_replaces_all_lines_of_its_name() -> None:
    stored = make(("A", "1"), ("A", "2"), ("B", "1"), ("Age", "5"))
    update = make(("a", "3"), ("C", "4"), ("Age", "9"))
    assert merge_fields(stored, update) == make(("a", "3"), ("B", "1"), ("C", "4"))


@pytest.mark.parametrize(
    "name", ["Content-Encoding", "Content-Length", "Content-MD5", "Content-Range", "ETag"]
)
def test_3_2_fields_that_describe_the_stored_bytes_stay(name: str) -> None:
    assert merge_fields(make((name, "old")), make((name, "new"))) == make((name, "old"))


@pytest.mark.parametrize("name", ["Content-Type", "Cache-Control", "Expires", "X-Frame-Options"])
def test_3_2_other_fields_are_updated(name: str) -> None:
    assert merge_fields(make((name, "old")), make((name, "new"))) == make((name, "new"))


def test_3_2_fields_that_may_not_be_stored_are_not_added() -> None:
    update = make(("Connection", "X"), ("X", "1"), ("Cache-Control", 'no-cache="y"'), ("Y", "1"))
    assert merge_fields(make(("Y", "0")), update) == make(("Cache-Control", 'no-cache="y"'))


def test_4_3_5_a_head_response_updates_only_what_it_describes() -> None:
    stored = make(("ETag", '"a"'), ("Last-Modified", date(-9)))
    assert matches_head(stored, 7, make(("Content-Length", "7"), ("ETag", '"a"')))
    assert matches_head(stored, 7, make())
    assert not matches_head(stored, 7, make(("Content-Length", "8")))
    assert not matches_head(stored, 7, make(("ETag", '"b"')))
    assert not matches_head(stored, 7, make(("Last-Modified", date(-8))))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([("Foo", "1")], [("Foo", "1")], True),
        ([("Foo", "1")], [("foo", "1")], True),
        ([("Foo", "1")], [("Foo", "2")], False),
        ([("Foo", "1")], [], False),
        ([], [], True),
        ([("Foo", "")], [], False),
        ([("Foo", "1, 2")], [("Foo", "1"), ("Foo", "2")], True),
        ([("Foo", "1,2")], [("Foo", " 1 ,  2 ")], True),
        ([("Foo", "1,2")], [("Foo", "2,1")], False),
        ([("Foo", '"1,2"')], [("Foo", '"1, 2"')], False),
        ([("Foo", "a")], [("Foo", "A")], False),
    ],
)
def test_4_1_selecting_fields_must_match_after_normalising(
    one: list[tuple[str, str]], other: list[tuple[str, str]], expected: bool
) -> None:
    names = parse_vary(make(("Vary", "foo"))) or ()
    stored = selecting_values(names, make(*one))
    assert is_match(names, stored, make(*other)) is expected


@pytest.mark.parametrize(
    ("name", "one", "other", "expected"),
    [
        ("Accept-Encoding", "gzip, br", "BR,gzip", True),
        ("Accept-Encoding", "gzip;q=1.0", "gzip", True),
        ("Accept-Encoding", "gzip, br;q=0", "gzip", True),
        ("Accept-Encoding", "*, br;q=0", "*", False),
        ("Accept-Encoding", "identity;q=0, gzip", "gzip", False),
        ("Accept-Encoding", "gzip;q=0.5, br", "gzip, br;q=0.5", False),
        ("Accept-Encoding", "gzip;q=0.50", "gzip;q=0.5", True),
        ("Accept-Encoding", "gzip;q=x", "gzip", False),
        ("Accept-Language", "en, de", "de, EN", True),
        ("Accept-Language", "en, de;q=0", "en", False),
    ],
)
def test_4_1_known_fields_are_normalised_by_their_meaning(
    name: str, one: str, other: str, expected: bool
) -> None:
    names = (name.lower().encode(),)
    stored = selecting_values(names, make((name, one)))
    assert is_match(names, stored, make((name, other))) is expected


def test_9110_12_5_5_vary_is_a_list_over_lines_without_case() -> None:
    assert parse_vary(make(("Vary", "Foo, bar"), ("Vary", "FOO"))) == (b"bar", b"foo")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"M-SEARCH"])
def test_4_4_unsafe_methods_invalidate_the_target_and_same_origin_locations(method: bytes) -> None:
    response = make(("Location", "/a?b#c"), ("Content-Location", "http://h:80/d"))
    uris = spoiled_uris(method, b"http://h/x/y", 201, response)
    assert uris == [b"http://h/x/y", b"http://h/a?b", b"http://h/d"]


@pytest.mark.parametrize(
    ("method", "status"),
    [(b"GET", 200), (b"HEAD", 200), (b"OPTIONS", 200), (b"POST", 500), (b"POST", 404)],
)
def test_4_4_safe_methods_and_errors_invalidate_nothing(method: bytes, status: int) -> None:
    assert spoiled_uris(method, b"http://h/x", status, make(("Location", "/y"))) == []


@pytest.mark.parametrize(
    "reference",
    [
        b"http://other/",
        b"https://h/",
        b"http://h:81/",
        b"//other/x",
        b"http://[/",
        b"",
        b"mailto:x",
    ],
)
def test_4_4_another_origin_must_not_be_invalidated(reference: bytes) -> None:
    assert same_origin_uri(b"http://h/x", reference) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"bytes=0-1", Span(0, 2)),
        (b"bytes=1-", Span(1, 9)),
        (b"bytes=-1", Span(9, 1)),
        (b"bytes=-99", Span(0, 10)),
        (b"bytes=5-99", Span(5, 5)),
        (b"BYTES=0-0", Span(0, 1)),
        (b"bytes=10-", Unsatisfiable()),
        (b"bytes=-0", Unsatisfiable()),
        (b"bytes=2-1", None),
        (b"bytes=0-1,3-4", None),
        (b"bytes=", None),
        (b"bytes=-", None),
        (b"bytes=a-b", None),
        (b"bytes=+1-2", None),
        (b"bytes = 0-1", None),
        (b"lines=0-1", None),
        (b"bytes=0-" + b"9" * 5000, None),
    ],
)
def test_9110_14_1_2_byte_ranges(value: bytes, expected: Span | Unsatisfiable | None) -> None:
    assert parse_range(value, 10) == expected


def test_9110_14_2_range_means_nothing_outside_get() -> None:
    request = make(("Range", "bytes=0-1"))
    assert select_span(b"HEAD", request, make(), 10, NOW_S) is None
    assert select_span(b"GET", request, make(), 10, NOW_S) == Span(0, 2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, True),
        (b'"a"', True),
        (b'"b"', False),
        (b'W/"a"', False),
        (date(-10).encode(), True),
        (date(-9).encode(), False),
        (b"garbage", False),
    ],
)
def test_9110_13_1_5_if_range_needs_a_strong_match(value: bytes | None, expected: bool) -> None:
    stored = make(("ETag", '"a"'), ("Last-Modified", date(-10)), ("Date", date(0)))
    assert if_range_holds(value, stored, NOW_S) is expected


def test_9110_8_8_2_2_a_date_equal_to_last_modified_is_weak() -> None:
    stored = make(("Last-Modified", date(-10)), ("Date", date(-10)))
    assert not if_range_holds(date(-10).encode(), stored, NOW_S)
