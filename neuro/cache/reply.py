"""Replies made from stored responses: 200 as stored, 304, 206, 416, each with Age and Cache-Status.

Owns the head and the choice of bytes. Never checks whether the stored response may be used at all:
the life of a request did that.
"""

from __future__ import annotations

from dataclasses import replace

from neuro.cache.messages import CacheRequest, StoredResponse
from neuro.cache.plans import Reply
from neuro.http.cache_status import CacheStatus
from neuro.http.dates import format_date
from neuro.http.fields import Fields
from neuro.http.ranges import Span, Unsatisfiable, select_span, unsatisfied_content_range
from neuro.http.validation import is_not_modified, not_modified_fields


def build_reply(
    request: CacheRequest, stored: StoredResponse, now_s: int, status: CacheStatus
) -> Reply:
    """Answers a GET or HEAD from a stored response: preconditions first, then the range.

    Source: RFC 9110 section 13.2.2; RFC 9111 sections 4, 4.3.2 and 5.1.
    """
    fields = stored.fields
    if 200 <= stored.status < 300 and is_not_modified(
        request.fields, fields, now_s, stored.meta.response_time_s
    ):
        head = _with_age(not_modified_fields(fields), stored, now_s, status)
        return Reply(304, head, 0, None)
    span = None
    if stored.status == 200 and stored.body_length is not None:
        span = select_span(request.method, request.fields, fields, stored.body_length, now_s)
    if isinstance(span, Span):
        total = stored.body_length or 0
        partial = fields.replace(b"Content-Range", span.content_range(total))
        head = _with_age(partial, stored, now_s, status)
        return Reply(206, head, span.offset, span.length)
    if isinstance(span, Unsatisfiable):
        total = stored.body_length or 0
        head = Fields(
            (
                (b"Date", format_date(now_s)),
                (b"Content-Range", unsatisfied_content_range(total)),
            )
        )
        return Reply(416, _with_age(head, stored, now_s, status), 0, 0)
    return Reply(stored.status, _with_age(fields, stored, now_s, status), 0, stored.body_length)


def build_first_reply(
    request: CacheRequest,
    head: Fields,
    stored: StoredResponse,
    now_s: int,
    status: CacheStatus,
) -> Reply:
    """Answers the request whose response is being stored, from that response's own fields.

    Args:
        head: the fields for the client (`neuro.http.forwarding.client_response_fields`); unlike
            the stored ones they still hold what is meant for this client only.
    """
    own = head.without(b"content-length", b"cache-status")
    return build_reply(request, replace(stored, fields=own), now_s, status)


def _with_age(fields: Fields, stored: StoredResponse, now_s: int, status: CacheStatus) -> Fields:
    # Ours is the last member of Cache-Status, nearest to the client (RFC 9211 section 2).
    return fields.without(b"age").extend(
        ((b"Age", b"%d" % stored.age_s(now_s)), (b"Cache-Status", status.to_bytes()))
    )
