"""HTTP-date: three forms in, one out."""

from __future__ import annotations

import pytest

from neuro.http.dates import format_date, parse_date_s

NOW_S = 1_700_000_000  # Tue, 14 Nov 2023
EXAMPLE_S = 784_111_777


@pytest.mark.parametrize(
    "value",
    [
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
        b"SUN, 06 nov 1994 08:49:37 gMT",
        b"Sun, 06 Nov 1994 08:49:37 UTC",
    ],
)
def test_every_form_is_read_without_case(value: bytes) -> None:
    assert parse_date_s(value, NOW_S) == EXAMPLE_S


@pytest.mark.parametrize(
    "value",
    [
        b"", b"0", b"784111777", b"Sun, 06 Nov 94 08:49:37 GMT", b"Sun 06 Nov 1994 08:49:37 GMT",
        b"Sun, 06  Nov 1994 08:49:37 GMT", b"Sun, 06-Nov-1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08.49.37 GMT", b"Sun, 06 Nov 1994 8:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 AEST", b"Sun, 06 Nov 1994 08:49:37", b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT", b"Sun, 06 Nov 1994 08:60:00 GMT", b"Sun, 06 Nov 1994 08:00:61 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT", b"Foo, 06 Nov 1994 08:49:37 GMT", b"Sun, 06 Foo 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 GMT ", b"Sun, 06 Nov 1994 08:49:37 GMT\xff", b"Sun Nov 6 08:49:37 1994",
        b"Sun, \xd9\xa0\xd9\xa6 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 GMT" * 9,
    ],
)  # fmt: skip
def test_anything_else_is_invalid(value: bytes) -> None:
    assert parse_date_s(value, NOW_S) is None


@pytest.mark.parametrize(
    ("year", "expected"),
    [(b"50", 2050), (b"73", 2073), (b"74", 1974), (b"94", 1994), (b"00", 2000)],
)
def test_two_digit_years_lie_at_most_fifty_years_ahead(year: bytes, expected: int) -> None:
    value = b"Monday, 01-Jan-" + year + b" 00:00:00 GMT"
    wanted = b"Mon, 01 Jan %d 00:00:00 GMT" % expected
    assert parse_date_s(value, NOW_S) == parse_date_s(wanted, NOW_S)


def test_a_two_digit_year_may_lie_in_the_next_century() -> None:
    end_of_2099_s = parse_date_s(b"Thu, 31 Dec 2099 00:00:00 GMT", NOW_S)
    assert end_of_2099_s is not None
    value = parse_date_s(b"Friday, 01-Jan-01 00:00:00 GMT", end_of_2099_s)
    assert value == parse_date_s(b"Sat, 01 Jan 2101 00:00:00 GMT", NOW_S)


def test_a_leap_second_is_not_a_minute_later() -> None:
    leap = parse_date_s(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW_S)
    assert leap == parse_date_s(b"Sat, 31 Dec 2016 23:59:59 GMT", NOW_S)


def test_dates_are_written_as_imf_fixdate() -> None:
    assert format_date(EXAMPLE_S) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert format_date(0) == b"Thu, 01 Jan 1970 00:00:00 GMT"
