"""The life of a request: from what is stored to what must be done.

Owns the order of the questions. The native engine answers fresh plain hits by itself; everything
else is asked here, and what it answers must be what this file would have answered.
"""

from __future__ import annotations

from typing import Final

from neuro.cache.key import variant_key, variant_suffix
from neuro.cache.messages import AUTHORIZED_OK, CacheRequest, StoredResponse
from neuro.cache.plans import Fetch, Outcome, PassThrough, Plan, Refuse, Revalidate, Serve
from neuro.cache.policy import SharedCachePolicy
from neuro.cache.reply import build_reply
from neuro.http.cache_status import CacheStatus
from neuro.http.directives import Directives, request_directives
from neuro.http.fields import Fields
from neuro.http.semantics import CACHEABLE_METHODS, SERVER_ERROR_STATUSES
from neuro.http.validation import ORIGIN_CONDITIONALS, validators_of
from neuro.http.vary import is_match, selecting_values

_CLIENT_CONDITIONALS: Final = (
    *(b"if-none-match", b"if-modified-since", b"if-match", b"if-unmodified-since"),
    *(b"range", b"if-range"),
)
_NO_DIRECTIVES: Final = Directives()


def variant_key_for(request: CacheRequest, marker: StoredResponse) -> bytes | None:
    """The key under which the request's variant would be, given the Vary marker of its URL.

    None: no such key can exist. Source: RFC 9111 section 4.1.
    """
    meta = marker.meta
    values = selecting_values(meta.vary_names, request.fields)
    return variant_key(request.key, meta.nonce, variant_suffix(meta.vary_names, values))


def plan_request(
    request: CacheRequest,
    stored: StoredResponse | None,
    now_s: int,
    policy: SharedCachePolicy,
    *,
    is_uncacheable: bool = False,
) -> Plan:
    """What to do with a request, given the stored response for its key (or its variant's key).

    A marker as `stored` means that the URL is known but this variant is not.

    Args:
        is_uncacheable: the key is remembered as uncacheable, so nobody waits for anybody.
    Source: RFC 9111 section 4.
    """
    bypass = _reason_to_bypass(request)
    if bypass is not None:
        return bypass
    directives = _NO_DIRECTIVES
    if policy.respects_request_directives:
        directives = request_directives(request.fields)
    # A response that the client wants nobody to keep is of no use to those who would wait for it.
    is_uncacheable = is_uncacheable or b"no-store" in directives
    stored, forward = _usable(request, stored)
    plan: Plan
    if stored is None or forward is not None:
        plan = _fetch(request, stored, forward or b"uri-miss", is_uncacheable)
    else:
        plan = _plan_reuse(request, stored, now_s, directives, is_uncacheable)
    if b"only-if-cached" in directives and not isinstance(plan, Serve):
        return Refuse(504, "only-if-cached")
    return plan


def _reason_to_bypass(request: CacheRequest) -> PassThrough | None:
    if request.method not in CACHEABLE_METHODS:
        return PassThrough(request.method, request.fields, b"method", "method")
    if request.has_body:
        # A body could change the answer without being in the key.
        return PassThrough(request.method, request.fields, b"bypass", "request-body")
    if any(name in request.fields for name in ORIGIN_CONDITIONALS):
        return PassThrough(request.method, request.fields, b"bypass", "origin-precondition")
    return None


def _usable(
    request: CacheRequest, stored: StoredResponse | None
) -> tuple[StoredResponse | None, bytes | None]:
    """The stored response if its selecting fields and credentials fit, else the `fwd` reason."""
    if stored is None:
        return None, None
    meta = stored.meta
    if meta.is_marker or not is_match(meta.vary_names, meta.vary_values, request.fields):
        return None, b"vary-miss"
    if b"authorization" in request.fields and not stored.flags & AUTHORIZED_OK:
        return stored, b"bypass"
    return stored, None


def _plan_reuse(
    request: CacheRequest,
    stored: StoredResponse,
    now_s: int,
    directives: Directives,
    is_uncacheable: bool,
) -> Plan:
    ttl_s = stored.ttl_s(now_s)
    is_fresh = stored.is_fresh(now_s) and not stored.meta.must_validate
    objection = _request_objection(stored, now_s, directives)
    if is_fresh and objection is None:
        return serve(request, stored, now_s, Outcome.HIT, "fresh")
    if objection is not None:
        return _revalidate(request, stored, b"request", objection, now_s, is_uncacheable)
    if stored.meta.may_serve_stale:
        stale_s = -ttl_s
        if _accepts_stale(directives, stale_s):
            return serve(request, stored, now_s, Outcome.STALE, "max-stale")
        if stale_s < stored.stale_while_revalidate_s:
            refresh = _background(request, stored, now_s)
            return serve(request, stored, now_s, Outcome.STALE, "stale-while-revalidate", refresh)
    return _revalidate(request, stored, b"stale", "stale", now_s, is_uncacheable)


def _request_objection(stored: StoredResponse, now_s: int, directives: Directives) -> str | None:
    """The request directive that forbids plain reuse. Source: RFC 9111 section 5.2.1."""
    if b"no-cache" in directives:
        return "request-no-cache"
    max_age_s = directives.seconds(b"max-age")
    if max_age_s is not None and stored.age_s(now_s) > max_age_s:
        return "request-max-age"
    min_fresh_s = directives.seconds(b"min-fresh")
    if min_fresh_s is not None and stored.ttl_s(now_s) < min_fresh_s:
        return "request-min-fresh"
    return None


def _accepts_stale(directives: Directives, stale_s: int) -> bool:
    """Whether max-stale covers this staleness; without argument it covers any."""
    members = directives.all(b"max-stale")
    if len(members) == 1 and members[0].argument is None and not members[0].is_malformed:
        return True
    limit_s = directives.seconds(b"max-stale")
    return limit_s is not None and stale_s <= limit_s


def serve(
    request: CacheRequest,
    stored: StoredResponse,
    now_s: int,
    outcome: Outcome,
    reason: str,
    refresh: Revalidate | None = None,
) -> Serve:
    """An answer from the stored response that counts as a hit in Cache-Status."""
    detail = None if reason == "fresh" else reason.encode("ascii")
    status = CacheStatus(is_hit=True, ttl_s=stored.ttl_s(now_s), detail=detail)
    return Serve(stored, build_reply(request, stored, now_s, status), outcome, reason, refresh)


def _revalidate(
    request: CacheRequest,
    stored: StoredResponse,
    forward: bytes,
    reason: str,
    now_s: int,
    is_uncacheable: bool,
) -> Plan:
    validators = validators_of(stored.fields, now_s)
    if not validators:
        return _fetch(request, stored, forward, is_uncacheable)
    fields = request.fields.without(*_CLIENT_CONDITIONALS).extend(validators)
    may_collapse = _may_collapse(request, is_uncacheable)
    return Revalidate(stored, request.method, fields, forward, reason, may_collapse)


def _background(request: CacheRequest, stored: StoredResponse, now_s: int) -> Revalidate:
    # Always a GET for the whole response: it renews what is stored, whoever noticed the need.
    fields = request.fields.without(*_CLIENT_CONDITIONALS)
    fields = fields.extend(validators_of(stored.fields, now_s))
    return Revalidate(stored, b"GET", fields, b"stale", "stale-while-revalidate", True)


def _fetch(
    request: CacheRequest, stored: StoredResponse | None, forward: bytes, is_uncacheable: bool
) -> Fetch:
    may_collapse = _may_collapse(request, is_uncacheable) and b"range" not in request.fields
    fields: Fields = request.fields
    if may_collapse:
        # Others wait for this answer and it is to be stored: ask for the whole response.
        fields = fields.without(*_CLIENT_CONDITIONALS)
    reason = forward.decode("ascii")
    return Fetch(request.method, fields, forward, reason, may_collapse, stored)


def _may_collapse(request: CacheRequest, is_uncacheable: bool) -> bool:
    return (
        request.method == b"GET" and not is_uncacheable and b"authorization" not in request.fields
    )


def on_origin_failure(
    request: CacheRequest,
    stored: StoredResponse | None,
    now_s: int,
    policy: SharedCachePolicy,
    *,
    status: int | None = None,
    is_timeout: bool = False,
) -> Serve | Refuse:
    """What to answer when the origin gave an error `status` (500, 502 to 504) or nothing at all.

    A stale answer needs stale-if-error, or no answer at all and an operator who allows it; an
    origin that forbids stale answers gets its way in every case.
    Source: RFC 9111 sections 4.2.4 and 5.2.2.2 (504 where validation is compulsory); RFC 5861
    section 4.
    """
    refusal = Refuse(
        504 if is_timeout else 502, "origin-timeout" if is_timeout else "origin-failed"
    )
    if stored is None or request.method not in CACHEABLE_METHODS or request.has_body:
        return refusal
    usable, objection = _usable(request, stored)
    if usable is None or objection is not None:
        return refusal
    if not usable.meta.may_serve_stale:
        return Refuse(504, "must-revalidate") if status is None else refusal
    stale_s = -usable.ttl_s(now_s)
    if stale_s <= 0 and status is None:
        return serve(request, usable, now_s, Outcome.HIT, "origin-failed")
    covered = status is None or status in SERVER_ERROR_STATUSES
    if covered and stale_s < usable.stale_if_error_s:
        return serve(request, usable, now_s, Outcome.STALE, "stale-if-error")
    if status is None and stale_s < policy.stale_when_disconnected_s:
        return serve(request, usable, now_s, Outcome.STALE, "disconnected")
    return refusal
