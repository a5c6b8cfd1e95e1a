"""Byte ranges: the part of a stored representation that a request asks for.

Owns RFC 9110 section 14 and If-Range. Never reads a body. Several ranges in one request are
answered with the whole representation: the RFC allows it, and it amplifies no attack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from neuro.http.dates import parse_date_s
from neuro.http.fields import Fields, split_list
from neuro.http.freshness import single_date_s
from neuro.http.validation import stored_etag, strongly_equal

_SPEC: Final = re.compile(rb"([0-9]*)-([0-9]*)")
_POSITION_DIGITS_MAX: Final = 19  # 2^63 has 19 digits
_CONTENT_RANGE: Final = re.compile(
    rb"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.IGNORECASE
)
# Seconds by which Date must be later than Last-Modified for the latter to be strong.
_STRONG_DATE_GAP_S: Final = 1


@dataclass(frozen=True, slots=True)
class Span:
    """`length` bytes from `offset`."""

    offset: int
    length: int

    def content_range(self, total: int) -> bytes:
        """The Content-Range of a 206 with this span. Source: RFC 9110 section 14.4."""
        return b"bytes %d-%d/%d" % (self.offset, self.offset + self.length - 1, total)


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """The range lies outside the representation: 416."""


def unsatisfied_content_range(total: int) -> bytes:
    """The Content-Range of a 416. Source: RFC 9110 section 14.4."""
    return b"bytes */%d" % total


def parse_range(value: bytes, total: int) -> Span | Unsatisfiable | None:
    """The one span that a Range value asks of `total` bytes; None: ignore it and send the whole.

    Ignored: other units, malformed values, several ranges.
    Source: RFC 9110 sections 14.1.2 and 14.2.
    """
    unit, equals, ranges = value.partition(b"=")
    if not equals or unit.lower() != b"bytes":
        return None
    members = split_list(ranges)
    if len(members) != 1:
        return None
    match = _SPEC.fullmatch(members[0])
    if match is None:
        return None
    first, last = match.groups()
    if len(first) > _POSITION_DIGITS_MAX or len(last) > _POSITION_DIGITS_MAX:
        return None
    if not first:
        return _suffix(last, total)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= total:
        return Unsatisfiable()
    end = min(int(last), total - 1) if last else total - 1
    return Span(start, end - start + 1)


def _suffix(digits: bytes, total: int) -> Span | Unsatisfiable | None:
    if not digits:
        return None
    length = min(int(digits), total)
    return Span(total - length, length) if length > 0 else Unsatisfiable()


def if_range_holds(value: bytes | None, stored: Fields, now_s: int) -> bool:
    """Whether If-Range lets the Range apply: absent, or a strong match with the stored validator.

    Source: RFC 9110 section 13.1.5 and 8.8.2.2.
    """
    if value is None:
        return True
    if value.startswith((b'"', b"W/")):
        etag = stored_etag(stored)
        return etag is not None and strongly_equal(value, etag)
    wanted_s = parse_date_s(value, now_s)
    modified_s = single_date_s(stored, b"last-modified", now_s)
    date_s = single_date_s(stored, b"date", now_s)
    if wanted_s is None or modified_s is None or date_s is None:
        return False
    return wanted_s == modified_s and date_s - modified_s >= _STRONG_DATE_GAP_S


def select_span(
    method: bytes, request: Fields, stored: Fields, total: int, now_s: int
) -> Span | Unsatisfiable | None:
    """What the Range of a GET asks of a stored 200 of `total` bytes; None: the whole.

    Source: RFC 9110 sections 13.2.2 and 14.2 (Range means nothing outside GET).
    """
    values = request.get_all(b"range")
    if method != b"GET" or len(values) != 1:
        return None
    tags = request.get_all(b"if-range")
    if len(tags) > 1 or not if_range_holds(tags[0] if tags else None, stored, now_s):
        return None
    return parse_range(values[0], total)


def parse_content_range(value: bytes) -> tuple[Span, int | None] | None:
    """Span and total (None for "*") of a 206's Content-Range; None when malformed.

    Source: RFC 9110 section 14.4.
    """
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == b"*" else int(match[3])
    if last < first or (total is not None and last >= total):
        return None
    return Span(first, last - first + 1), total
