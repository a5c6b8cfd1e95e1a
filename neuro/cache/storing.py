"""What to do with an origin's response: store it, stream it, or freshen what is stored.

Owns the second half of the life of a request. Never touches the slab: a StorePlan says exactly what
to put there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from neuro.cache.entry import EntryMeta
from neuro.cache.key import target_uri_key
from neuro.cache.lifecycle import on_origin_failure
from neuro.cache.messages import (
    AUTHORIZED_OK,
    BODILESS,
    TIME_MAX_S,
    CacheRequest,
    OriginResponse,
    StoredResponse,
)
from neuro.cache.plans import (
    Fetch,
    Freshen,
    PassThrough,
    ResponsePlan,
    Revalidate,
    Serve,
    StorePlan,
    StreamOnly,
    Write,
)
from neuro.cache.policy import SharedCachePolicy
from neuro.cache.variants import place_variant
from neuro.http.directives import request_directives, response_directives
from neuro.http.fields import Fields
from neuro.http.freshness import Freshness, compute_freshness, single_date_s, with_date
from neuro.http.hop_by_hop import remove_unstorable
from neuro.http.invalidation import spoiled_uris
from neuro.http.semantics import SERVER_ERROR_STATUSES
from neuro.http.storability import Verdict, allows_authorized, judge_storability
from neuro.http.validation import has_validator, matches_head, merge_fields, select_for_update
from neuro.http.vary import parse_vary

# Written anew on every answer, or by whoever frames the message; never stored.
_WRITTEN_ANEW: Final = (b"age", b"cache-status", b"content-length")


def plan_response(
    request: CacheRequest,
    response: OriginResponse,
    plan: Fetch | Revalidate | PassThrough,
    request_time_s: int,
    response_time_s: int,
    policy: SharedCachePolicy,
    *,
    marker: StoredResponse | None = None,
    nonce: int = 0,
) -> ResponsePlan:
    """What to do with the final head of an origin's response to `plan`.

    Args:
        request_time_s: when the request was sent; with `response_time_s` it corrects the age.
        marker: the Vary marker that is at the primary key now, if any.
        nonce: a number that was never used before (0 to 2^63), for a marker to be made.

    Source: RFC 9111 sections 3, 4.3 and 4.4.
    """
    if isinstance(plan, PassThrough):
        return StreamOnly(plan.reason, delete=_spoiled_keys(request, plan.method, response))
    times = (request_time_s, response_time_s)
    if response.status in SERVER_ERROR_STATUSES and plan.stored is not None:
        fallback = on_origin_failure(
            request, plan.stored, response_time_s, policy, status=response.status
        )
        if isinstance(fallback, Serve):
            return fallback
    if response.status == 304:
        if isinstance(plan, Revalidate):
            return _freshen_by_304(request, response, plan.stored, times, policy)
        return StreamOnly("client-precondition")
    if plan.method == b"HEAD":
        return _after_head(request, response, plan.stored, times, policy)
    return _store_or_stream(request, response, plan, times, policy, marker, nonce)


def _spoiled_keys(
    request: CacheRequest, method: bytes, response: OriginResponse
) -> tuple[bytes, ...]:
    # Site keys are target URIs themselves; the object API invalidates by its own rules.
    keys = [
        target_uri_key(uri)
        for uri in spoiled_uris(method, request.key, response.status, response.fields)
    ]
    return tuple(key for key in keys if key is not None)


def _freshness(
    status: int, fields: Fields, times: tuple[int, int], policy: SharedCachePolicy
) -> Freshness:
    default_ttl_s = policy.negative_ttl_s if status >= 400 else policy.default_ttl_s
    return compute_freshness(
        status,
        fields,
        request_time_s=times[0],
        response_time_s=times[1],
        default_ttl_s=default_ttl_s,
        heuristic=policy.heuristic,
        targets=policy.targets,
        s_maxage_forbids_stale=policy.s_maxage_forbids_stale,
    )


def _judge(
    request: CacheRequest, status: int, fields: Fields, policy: SharedCachePolicy
) -> Verdict:
    no_store = policy.respects_request_directives and (
        b"no-store" in request_directives(request.fields)
    )
    return judge_storability(
        b"GET",
        request.fields,
        status,
        fields,
        targets=policy.targets,
        allow_set_cookie=policy.stores_set_cookie,
        request_no_store=no_store,
    )


def _storable_fields(fields: Fields, response_time_s: int, policy: SharedCachePolicy) -> Fields:
    directives = response_directives(fields, policy.targets)
    named = directives.named_fields(b"no-cache") | directives.named_fields(b"private")
    kept = remove_unstorable(fields, named).without(*_WRITTEN_ANEW)
    return with_date(kept, response_time_s)


def _clamp_s(moment_s: int) -> int:
    return min(max(0, moment_s), TIME_MAX_S)


def _freshen_by_304(
    request: CacheRequest,
    response: OriginResponse,
    stored: StoredResponse,
    times: tuple[int, int],
    policy: SharedCachePolicy,
) -> Freshen:
    selection = select_for_update(stored.fields, response.fields, times[1])
    if not selection.is_selected:
        # The origin confirmed the validator that was sent, so this one reuse is right; to update
        # from a 304 that speaks of another representation is not (RFC 9111 section 4.3.4).
        return Freshen(stored, Write.NOTHING, selection.reason, False)
    return _freshen(request, response, stored, times, policy, selection.reason)


def _freshen(
    request: CacheRequest,
    response: OriginResponse,
    stored: StoredResponse,
    times: tuple[int, int],
    policy: SharedCachePolicy,
    reason: str,
) -> Freshen:
    """The stored response under the fields of a 304, or of a 200 to HEAD.

    Source: RFC 9111 sections 3.2, 4.3.4 and 4.3.5.
    """
    update = with_date(response.fields, times[1])
    merged = merge_fields(stored.fields, update, policy.targets)
    age_lines = ((b"Age", value) for value in response.fields.get_all(b"age"))
    freshness = _freshness(stored.status, merged.extend(age_lines), times, policy)
    kept = _storable_fields(merged, times[1], policy)
    fresh = replace(
        stored,
        fields=kept,
        born_s=_clamp_s(freshness.born_s),
        expires_s=_clamp_s(freshness.expires_s),
        stale_while_revalidate_s=freshness.stale_while_revalidate_s,
        stale_if_error_s=freshness.stale_if_error_s,
        flags=_flags(stored.status, merged, policy),
        meta=_with_facts(stored.meta, freshness, times),
    )
    verdict = _judge(request, stored.status, merged, policy)
    if not verdict.storable:
        return Freshen(fresh, Write.NOTHING, verdict.reason, False, delete=(stored.key,))
    is_same = kept == stored.fields and fresh.flags == stored.flags
    is_same = is_same and fresh.meta.must_validate == stored.meta.must_validate
    is_same = is_same and fresh.meta.may_serve_stale == stored.meta.may_serve_stale
    write = Write.TIMES if is_same else Write.FIELDS
    return Freshen(fresh, write, reason, freshness.expires_s > times[1])


def _with_facts(meta: EntryMeta, freshness: Freshness, times: tuple[int, int]) -> EntryMeta:
    return replace(
        meta,
        request_time_s=times[0],
        response_time_s=times[1],
        freshness_source=freshness.source,
        is_explicit=freshness.is_explicit,
        may_serve_stale=freshness.may_serve_stale,
        must_validate=freshness.source == "no-cache",
    )


def _flags(status: int, fields: Fields, policy: SharedCachePolicy) -> int:
    flags = 0
    if allows_authorized(response_directives(fields, policy.targets)):
        flags |= AUTHORIZED_OK
    if status == 204:
        flags |= BODILESS
    return flags


def _after_head(
    request: CacheRequest,
    response: OriginResponse,
    stored: StoredResponse | None,
    times: tuple[int, int],
    policy: SharedCachePolicy,
) -> ResponsePlan:
    if stored is None or stored.status != 200 or response.status != 200:
        return StreamOnly("method")
    if b"authorization" in request.fields and not stored.flags & AUTHORIZED_OK:
        return StreamOnly("authorization")
    if not matches_head(stored.fields, stored.body_length, response.fields):
        return StreamOnly("head-mismatch", delete=(stored.key,))
    return _freshen(request, response, stored, times, policy, "head")


def _store_or_stream(
    request: CacheRequest,
    response: OriginResponse,
    plan: Fetch | Revalidate,
    times: tuple[int, int],
    policy: SharedCachePolicy,
    marker: StoredResponse | None,
    nonce: int,
) -> StorePlan | StreamOnly:
    verdict = _judge(request, response.status, response.fields, policy)
    if not verdict.storable:
        return _refusal(verdict.reason, request, response, plan)
    freshness = _freshness(response.status, response.fields, times, policy)
    fields = _storable_fields(response.fields, times[1], policy)
    denial = _uselessness(request, response, freshness, fields, times[1], policy)
    if denial is not None:
        return _refusal(denial, request, response, plan)
    names = parse_vary(response.fields) or ()
    meta = _with_facts(EntryMeta(vary_names=names), freshness, times)
    place = place_variant(request, meta, marker, nonce, times[1], policy)
    if isinstance(place, str):
        return _refusal(place, request, response, plan)
    modified_s = single_date_s(fields, b"last-modified", times[1])
    return StorePlan(
        key=place.key,
        status=response.status,
        fields=fields,
        body_length=0 if response.status == 204 else response.body_length,
        born_s=_clamp_s(freshness.born_s),
        expires_s=_clamp_s(freshness.expires_s),
        stale_while_revalidate_s=freshness.stale_while_revalidate_s,
        stale_if_error_s=freshness.stale_if_error_s,
        last_modified_s=0 if modified_s is None else _clamp_s(modified_s),
        flags=_flags(response.status, response.fields, policy),
        meta=place.meta,
        reason=verdict.reason,
        may_share=freshness.expires_s > times[1],
        marker=place.marker,
        delete=place.delete,
    )


def _uselessness(
    request: CacheRequest,
    response: OriginResponse,
    freshness: Freshness,
    fields: Fields,
    now_s: int,
    policy: SharedCachePolicy,
) -> str | None:
    """Why a response that may be stored is not worth it, or None."""
    if response.body_length is not None and response.body_length > policy.object_bytes_max:
        return "too-large"
    window_s = max(freshness.stale_while_revalidate_s, freshness.stale_if_error_s)
    if freshness.expires_s + window_s > now_s:
        return None
    if not policy.stores_for_validation or not has_validator(fields, now_s):
        return "no-freshness-no-validator"
    if freshness.source == "none" and b"cookie" in request.fields:
        # A sloppy origin compares dates of a template, not of the page it made for this user.
        return "cookie-without-freshness"
    return None


def _refusal(
    reason: str, request: CacheRequest, response: OriginResponse, plan: Fetch | Revalidate
) -> StreamOnly:
    # What was stored is superseded by a definite answer, but survives an error of the origin.
    delete: tuple[bytes, ...] = ()
    is_definite = response.status < 500
    is_ours = b"authorization" not in request.fields and b"range" not in plan.fields
    if plan.stored is not None and is_definite and is_ours:
        delete = (plan.stored.key,)
    return StreamOnly(reason, delete=delete, is_uncacheable=is_definite and is_ours)
