"""HTTP-date: the three forms a recipient must read and the one a sender may write.

Owns nothing but these two functions; never asks a clock (the caller passes `now_s`). Written by
hand because `email.utils` accepts nearly anything and `datetime.strptime` follows the locale.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAYS_LONG: Final = (
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
)  # fmt: skip
_MONTHS: Final = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
_CLOCK: Final = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
# "UTC" counts as "GMT" for a cache (RFC 9111 section 4.2); other zones make the date invalid.
_ZONE: Final = "(?:gmt|utc)"
_IMF: Final = re.compile(
    r"(?P<name>[a-z]{3}), (?P<day>\d\d) (?P<month>[a-z]{3}) (?P<year>\d{4}) "
    rf"{_CLOCK} {_ZONE}",
    re.ASCII,
)
_RFC850: Final = re.compile(
    r"(?P<name>[a-z]{6,9}), (?P<day>\d\d)-(?P<month>[a-z]{3})-(?P<year>\d\d) "
    rf"{_CLOCK} {_ZONE}",
    re.ASCII,
)
_ASCTIME: Final = re.compile(
    rf"(?P<name>[a-z]{{3}}) (?P<month>[a-z]{{3}}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})",
    re.ASCII,
)
_LENGTH_MAX: Final = 40  # the longest valid form, "Wednesday, 18-Aug-50 02:01:18 GMT", has 33
_HALF_CENTURY_YEARS: Final = 50


def parse_date_s(value: bytes, now_s: int) -> int | None:
    """Seconds since 1970 (UTC) of an HTTP-date, or None when it is invalid.

    Day, month and zone match without case. A two-digit year more than 50 years after `now_s`
    means the century before. A leap second counts as the second before the next minute.
    The day name is checked for spelling, not against the calendar.

    Source: RFC 9110 section 5.6.7; RFC 9111 section 4.2.
    """
    if len(value) > _LENGTH_MAX:
        return None
    try:
        text = value.decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    match = _IMF.fullmatch(text) or _ASCTIME.fullmatch(text)
    if match is not None:
        names, year = _DAYS, int(match["year"])
    else:
        match = _RFC850.fullmatch(text)
        if match is None:
            return None
        names, year = _DAYS_LONG, int(match["year"])
    if match["name"] not in names or match["month"] not in _MONTHS:
        return None
    if names is _DAYS_LONG:
        return _resolve_two_digit_year(match, year, now_s)
    return _seconds(match, year)


def _resolve_two_digit_year(match: re.Match[str], year: int, now_s: int) -> int | None:
    now = datetime.fromtimestamp(now_s, UTC)
    century = now.year - now.year % 100
    # At a turn of the century "01" may lie in the next one, so start late and walk back.
    candidate = century + 100 + year
    while candidate >= 1:
        moment = _seconds(match, candidate)
        if moment is None or moment <= _add_years_s(now, _HALF_CENTURY_YEARS):
            return moment if moment is not None else _seconds(match, candidate - 100)
        candidate -= 100
    return None


def _add_years_s(moment: datetime, years: int) -> int:
    day = 28 if (moment.month, moment.day) == (2, 29) else moment.day
    return int(moment.replace(year=moment.year + years, day=day).timestamp())


def _seconds(match: re.Match[str], year: int) -> int | None:
    second = int(match["second"])
    try:
        moment = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(second, 59) if second == 60 else second,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return int(moment.timestamp())


def format_date(moment_s: int) -> bytes:
    """The IMF-fixdate of seconds since 1970, up to year 9999. Source: RFC 9110 section 5.6.7."""
    moment = datetime.fromtimestamp(moment_s, UTC)
    return (
        f"{_DAYS[moment.weekday()].title()}, {moment.day:02} {_MONTHS[moment.month - 1].title()} "
        f"{moment.year:04} {moment.hour:02}:{moment.minute:02}:{moment.second:02} GMT"
    ).encode("ascii")
