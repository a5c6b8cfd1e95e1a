"""Freshness: how old a response is and for how long it may be reused without asking.

Owns the arithmetic of RFC 9111 section 4.2 and the windows of RFC 5861. Never decides whether to
store. All times are whole seconds of the wall clock, given by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from neuro.http.dates import format_date, parse_date_s
from neuro.http.directives import (
    CDN_CACHE_CONTROL,
    DELTA_SECONDS_MAX,
    Directives,
    parse_delta_seconds,
    response_directives,
)
from neuro.http.fields import Fields
from neuro.http.semantics import HEURISTIC_STATUSES

# Any of these makes a stale answer a protocol error (RFC 9111 section 4.2.4).
_NO_STALE: Final = (b"must-revalidate", b"proxy-revalidate")


@dataclass(frozen=True, slots=True)
class HeuristicRule:
    """How to guess a lifetime: `percent` of the time since Last-Modified, up to a bound."""

    percent: int = 10
    lifetime_s_max: int = 86_400


@dataclass(frozen=True, slots=True)
class Freshness:
    """What the freshness rules say of one response, measured at the moment it was received.

    `source` names the rule: a field or directive, "default", "heuristic", "no-cache",
    "invalid-age" or "none". `may_serve_stale` is False where the origin forbids stale reuse.
    """

    born_s: int
    lifetime_s: int
    source: str
    is_explicit: bool
    may_serve_stale: bool
    stale_while_revalidate_s: int
    stale_if_error_s: int

    @property
    def expires_s(self) -> int:
        """Wall seconds from which the response is stale."""
        return self.born_s + self.lifetime_s

    def age_s(self, now_s: int) -> int:
        """The current age. Source: RFC 9111 section 4.2.3."""
        return max(0, now_s - self.born_s)


def parse_age_s(fields: Fields) -> int | None:
    """The Age of a response in seconds: 0 when absent, None when it cannot be trusted.

    Of a list in one line the first member counts. The RFC lets a cache ignore a bad Age; we take
    a malformed one, several lines, and a list that repeats itself as "unknown", which makes the
    response stale: somebody upstream has held it for a while, and stale is always safe.

    Source: RFC 9111 section 5.1.
    """
    values = fields.get_all(b"age")
    if not values:
        return 0
    members = values[0].split(b",")
    trimmed = {member.strip(b" \t") for member in members}
    if len(values) > 1 or len(trimmed) < len(members):
        return None
    return parse_delta_seconds(members[0].strip(b" \t"))


def single_date_s(fields: Fields, name: bytes, now_s: int) -> int | None:
    """The HTTP-date of a field that must stand alone; None when absent, repeated or invalid."""
    value = fields.get_single(name)
    return None if value is None else parse_date_s(value, now_s)


def with_date(fields: Fields, response_time_s: int) -> Fields:
    """The fields with a valid Date: the time of reception where it is missing or invalid.

    Source: RFC 9110 section 6.6.1.
    """
    if single_date_s(fields, b"date", response_time_s) is not None:
        return fields
    return fields.replace(b"Date", format_date(response_time_s))


def corrected_initial_age_s(fields: Fields, request_time_s: int, response_time_s: int) -> int:
    """The age at the moment of reception; an invalid Age counts as 0 here.

    The larger of apparent age (from Date) and Age plus the delay of the exchange.
    Source: RFC 9111 section 4.2.3.
    """
    date_s = single_date_s(fields, b"date", response_time_s)
    apparent_age_s = 0 if date_s is None else max(0, response_time_s - date_s)
    response_delay_s = max(0, response_time_s - request_time_s)
    corrected_age_value_s = (parse_age_s(fields) or 0) + response_delay_s
    return min(max(apparent_age_s, corrected_age_value_s), DELTA_SECONDS_MAX)


def explicit_lifetime_s(
    fields: Fields, directives: Directives, response_time_s: int
) -> tuple[int, str] | None:
    """The lifetime that the origin states, with the rule that gave it; None when it states none.

    First match wins: s-maxage, max-age, Expires minus Date. Malformed, repeated and negative
    values give 0. Expires is ignored under a targeted field.
    Source: RFC 9111 section 4.2.1; RFC 9213 section 2.2.
    """
    for name in (b"s-maxage", b"max-age"):
        seconds = directives.seconds(name)
        if seconds is not None:
            return seconds, name.decode("ascii")
    is_targeted = directives.source not in (b"", b"cache-control")
    if is_targeted or b"expires" not in fields:
        return None
    expires_s = single_date_s(fields, b"expires", response_time_s)
    if expires_s is None:
        return 0, "expires"
    date_s = single_date_s(fields, b"date", response_time_s)
    # Without a valid Date the time of reception stands in (RFC 9110 section 6.6.1).
    base_s = response_time_s if date_s is None else date_s
    return min(max(0, expires_s - base_s), DELTA_SECONDS_MAX), "expires"


def heuristic_lifetime_s(
    status: int, fields: Fields, directives: Directives, response_time_s: int, rule: HeuristicRule
) -> int | None:
    """A guessed lifetime, or None where guessing is not allowed or has no ground.

    Source: RFC 9111 section 4.2.2.
    """
    if status not in HEURISTIC_STATUSES and b"public" not in directives:
        return None
    modified_s = single_date_s(fields, b"last-modified", response_time_s)
    if modified_s is None:
        return None
    date_s = single_date_s(fields, b"date", response_time_s)
    since_s = (response_time_s if date_s is None else date_s) - modified_s
    return min(max(0, since_s) * rule.percent // 100, rule.lifetime_s_max)


def compute_freshness(
    status: int,
    fields: Fields,
    *,
    request_time_s: int,
    response_time_s: int,
    default_ttl_s: int = 0,
    heuristic: HeuristicRule | None = None,
    targets: tuple[bytes, ...] = (CDN_CACHE_CONTROL,),
    s_maxage_forbids_stale: bool = True,
) -> Freshness:
    """Lifetime, birth and stale windows of a response just received.

    First match wins: unqualified no-cache (0), a bad Age (0), the explicit lifetime, the heuristic
    if a rule is given, the default TTL where the status may be cached by default.
    Source: RFC 9111 sections 4.2 and 5.2.2; RFC 5861 sections 3 and 4.
    """
    directives = response_directives(fields, targets)
    born_s = response_time_s - corrected_initial_age_s(fields, request_time_s, response_time_s)
    explicit = explicit_lifetime_s(fields, directives, response_time_s)
    is_explicit = explicit is not None
    must_validate = directives.is_unqualified(b"no-cache")
    if must_validate:
        lifetime_s, source = 0, "no-cache"
    elif parse_age_s(fields) is None:
        lifetime_s, source = 0, "invalid-age"
    elif explicit is not None:
        lifetime_s, source = explicit
    else:
        lifetime_s, source = _implicit_lifetime(
            status, fields, directives, response_time_s, default_ttl_s, heuristic
        )
    may_serve_stale = not (
        must_validate
        or any(name in directives for name in _NO_STALE)
        or (s_maxage_forbids_stale and b"s-maxage" in directives)
    )
    return Freshness(
        born_s=born_s,
        lifetime_s=lifetime_s,
        source=source,
        is_explicit=is_explicit,
        may_serve_stale=may_serve_stale,
        stale_while_revalidate_s=_window(directives, b"stale-while-revalidate", may_serve_stale),
        stale_if_error_s=_window(directives, b"stale-if-error", may_serve_stale),
    )


def _implicit_lifetime(
    status: int,
    fields: Fields,
    directives: Directives,
    response_time_s: int,
    default_ttl_s: int,
    heuristic: HeuristicRule | None,
) -> tuple[int, str]:
    if heuristic is not None:
        guessed_s = heuristic_lifetime_s(status, fields, directives, response_time_s, heuristic)
        if guessed_s is not None:
            return guessed_s, "heuristic"
    if default_ttl_s > 0 and status in HEURISTIC_STATUSES:
        return default_ttl_s, "default"
    return 0, "none"


def _window(directives: Directives, name: bytes, may_serve_stale: bool) -> int:
    return (directives.seconds(name) or 0) if may_serve_stale else 0
