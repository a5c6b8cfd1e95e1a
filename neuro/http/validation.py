"""Validators: entity-tags, conditional requests in both directions, and the merge after a 304.

Owns RFC 9110 sections 8.8 and 13 as far as a cache evaluates them, and RFC 9111 sections 3.2, 4.3.
Never sends anything: the caller does, with the fields built here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from neuro.http.dates import parse_date_s
from neuro.http.directives import CDN_CACHE_CONTROL, response_directives
from neuro.http.fields import FieldLine, Fields, split_list
from neuro.http.freshness import single_date_s
from neuro.http.hop_by_hop import remove_unstorable

_ENTITY_TAG: Final = re.compile(rb'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')

# Preconditions that a cache evaluates, and those that only an origin can (RFC 9111 section 4.3.2).
CACHE_CONDITIONALS: Final = (b"if-none-match", b"if-modified-since")
ORIGIN_CONDITIONALS: Final = (b"if-match", b"if-unmodified-since")

# Describe the stored bytes, not the exchange: a 304 must not change them (RFC 9111 section 3.2).
_KEPT_ON_UPDATE: Final = frozenset(
    (
        *(b"content-encoding", b"content-length", b"content-md5", b"content-range", b"etag"),
        *(b"content-digest", b"repr-digest", b"transfer-encoding", b"vary"),
    )
)

# A 304 carries these and no other representation metadata (RFC 9110 section 15.4.5), and the
# fields that are no representation metadata at all.
_NOT_IN_304: Final = frozenset(
    (
        *(b"content-encoding", b"content-language", b"content-length", b"content-md5"),
        *(b"content-range", b"content-type", b"content-digest", b"repr-digest"),
    )
)


def parse_entity_tag(value: bytes) -> bytes | None:
    """The entity-tag, quotes and W/ included, or None. Source: RFC 9110 section 8.8.3."""
    return value if _ENTITY_TAG.fullmatch(value) else None


def stored_etag(fields: Fields) -> bytes | None:
    """The entity-tag of a response when it has exactly one valid ETag."""
    value = fields.get_single(b"etag")
    return None if value is None else parse_entity_tag(value)


def weakly_equal(one: bytes, other: bytes) -> bool:
    """Weak comparison of two entity-tags. Source: RFC 9110 section 8.8.3.2."""
    return one.removeprefix(b"W/") == other.removeprefix(b"W/")


def strongly_equal(one: bytes, other: bytes) -> bool:
    """Strong comparison of two entity-tags. Source: RFC 9110 section 8.8.3.2."""
    return one == other and not one.startswith(b"W/")


def has_validator(fields: Fields, now_s: int) -> bool:
    """Whether a later conditional request can be built from these response fields."""
    return (
        stored_etag(fields) is not None
        or single_date_s(fields, b"last-modified", now_s) is not None
    )


def validators_of(stored: Fields, now_s: int) -> list[FieldLine]:
    """Precondition lines for a revalidation of the stored response; empty: it has no validator.

    The bytes of Last-Modified are sent back as they came.
    Source: RFC 9111 section 4.3.1.
    """
    lines: list[FieldLine] = []
    etag = stored_etag(stored)
    if etag is not None:
        lines.append((b"If-None-Match", etag))
    if single_date_s(stored, b"last-modified", now_s) is not None:
        lines.append((b"If-Modified-Since", stored.get(b"last-modified") or b""))
    return lines


def matches_none_match(value: bytes, etag: bytes | None) -> bool:
    """Whether If-None-Match names the stored entity-tag (or "*"), so that the answer is 304.

    Source: RFC 9110 section 13.1.2 (weak comparison).
    """
    members = split_list(value)
    if members == [b"*"]:
        return True
    if etag is None:
        return False
    return any(
        weakly_equal(member, etag) for member in members if parse_entity_tag(member) is not None
    )


def is_not_modified(request: Fields, stored: Fields, now_s: int, stored_date_s: int) -> bool:
    """Whether a stored 200 answers this GET or HEAD with 304 (Not Modified).

    If-Modified-Since counts only without If-None-Match; without Last-Modified the stored Date, else
    `stored_date_s` (when the response was received), stands in.
    Source: RFC 9111 section 4.3.2; RFC 9110 sections 13.1.3 and 13.2.2.
    """
    none_match = request.combined(b"if-none-match")
    if none_match is not None:
        return matches_none_match(none_match, stored_etag(stored))
    since = request.get_single(b"if-modified-since")
    since_s = None if since is None else parse_date_s(since, now_s)
    if since_s is None:
        return False
    modified_s = single_date_s(stored, b"last-modified", now_s)
    if modified_s is None:
        modified_s = single_date_s(stored, b"date", now_s)
    return (stored_date_s if modified_s is None else modified_s) <= since_s


def not_modified_fields(stored: Fields) -> Fields:
    """The fields of a 304 made from a stored response. Source: RFC 9110 section 15.4.5."""
    kept = stored.without_set(_NOT_IN_304)
    # With an entity-tag, Last-Modified would only repeat what the tag says better.
    return kept.without(b"last-modified") if stored_etag(stored) is not None else kept


@dataclass(frozen=True, slots=True)
class Selection:
    """What a 304 says of the stored response that its request was built from."""

    is_selected: bool
    reason: str


def select_for_update(stored: Fields, answer: Fields, now_s: int) -> Selection:
    """Whether a 304 may update the stored response that its preconditions came from.

    Strong validators must be the same. A weak validator must correspond. Without any validator the
    304 can only speak of the one response whose validator was sent.
    Source: RFC 9111 section 4.3.4.
    """
    known = stored_etag(stored)
    told = stored_etag(answer)
    if told is not None:
        if told.startswith(b"W/"):
            matches = known is not None and weakly_equal(known, told)
        else:
            matches = known is not None and strongly_equal(known, told)
        return Selection(matches, "etag" if matches else "etag-mismatch")
    told_date_s = single_date_s(answer, b"last-modified", now_s)
    known_date_s = single_date_s(stored, b"last-modified", now_s)
    if told_date_s is not None and known_date_s is not None:
        matches = told_date_s == known_date_s
        return Selection(matches, "last-modified" if matches else "last-modified-mismatch")
    return Selection(True, "sole-candidate")


def merge_fields(
    stored: Fields, update: Fields, targets: tuple[bytes, ...] = (CDN_CACHE_CONTROL,)
) -> Fields:
    """The stored fields after an update: each field of the update replaces all lines of its name.

    Fields that describe the stored bytes, and fields that may not be stored, stay as they were.
    Source: RFC 9111 section 3.2.
    """
    directives = response_directives(update, targets)
    named = directives.named_fields(b"no-cache") | directives.named_fields(b"private")
    fresh = remove_unstorable(update, named).without_set(_KEPT_ON_UPDATE)
    # Age speaks of the update's own journey and is computed anew on every reuse.
    fresh = fresh.without(b"age")
    lines: list[FieldLine] = []
    placed: set[bytes] = set()
    # In place, so that a 304 that changes nothing leaves the stored lines byte for byte.
    for line in stored.without_set({b"age"} | named):
        name = line[0].lower()
        if name not in fresh:
            lines.append(line)
        elif name not in placed:
            placed.add(name)
            lines.extend(update_line for update_line in fresh if update_line[0].lower() == name)
    lines.extend(line for line in fresh if line[0].lower() not in placed)
    return Fields(lines)


def matches_head(stored: Fields, stored_length: int | None, head: Fields) -> bool:
    """Whether a 200 to HEAD describes the stored response, so that it may be updated.

    Every validator received must be equal, and Content-Length too where it is received.
    Source: RFC 9111 section 4.3.5.
    """
    for name in (b"etag", b"last-modified"):
        if name in head and head.get_all(name) != stored.get_all(name):
            return False
    length = head.get(b"content-length")
    return length is None or (stored_length is not None and length == b"%d" % stored_length)
