"""Storability: may a shared cache keep this response?

Owns the conditions of RFC 9111 section 3 and our stricter defaults, each with a word that says
which rule decided. Never looks at sizes or at room in the slab: that is admission.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from neuro.http.directives import CDN_CACHE_CONTROL, Directives, response_directives
from neuro.http.fields import Fields
from neuro.http.semantics import (
    FORBIDDEN_STATUSES,
    HEURISTIC_STATUSES,
    REQUEST_FAULT_STATUSES,
    UNDERSTOOD_STATUSES,
)
from neuro.http.vary import parse_vary

# Directives that let a shared cache keep a response to a request with Authorization.
_AUTHORIZED: Final = (b"must-revalidate", b"public", b"s-maxage")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a response may be stored, and the rule that decided."""

    storable: bool
    reason: str


def allows_authorized(directives: Directives) -> bool:
    """Whether the response may be reused across credentials. Source: RFC 9111 section 3.5."""
    return any(name in directives for name in _AUTHORIZED)


def judge_storability(
    method: bytes,
    request: Fields,
    status: int,
    response: Fields,
    *,
    targets: tuple[bytes, ...] = (CDN_CACHE_CONTROL,),
    allow_set_cookie: bool = False,
    request_no_store: bool = False,
) -> Verdict:
    """The verdict of a shared cache on one final response.

    Args:
        allow_set_cookie: stores responses with Set-Cookie; only for an operator who strips it.
        request_no_store: the request said no-store and the policy listens to requests.
    Source: RFC 9111 section 3; RFC 6585 for statuses that never may; RFC 9213 section 2.2.
    """
    directives = response_directives(response, targets)
    denial = _method_or_status_denial(method, status, directives)
    if denial is None:
        denial = _directive_denial(directives, request_no_store)
    if denial is None:
        denial = _content_denial(request, response, directives, allow_set_cookie)
    if denial is not None:
        return Verdict(False, denial)
    return _permission(status, response, directives)


def _method_or_status_denial(method: bytes, status: int, directives: Directives) -> str | None:
    if method != b"GET":
        return "method"
    if not 200 <= status <= 599:
        return "status-not-final"
    if status == 206:
        return "partial-content"
    if status == 304:
        return "not-modified"
    if status in FORBIDDEN_STATUSES or status in REQUEST_FAULT_STATUSES:
        return "status-never-stored"
    if b"must-understand" in directives and status not in UNDERSTOOD_STATUSES:
        return "must-understand"
    return None


def _directive_denial(directives: Directives, request_no_store: bool) -> str | None:
    # must-understand overrides no-store where the status is understood, which was checked before.
    if b"no-store" in directives and b"must-understand" not in directives:
        return "no-store"
    if directives.is_unqualified(b"private"):
        return "private"
    if request_no_store:
        return "request-no-store"
    return None


def _content_denial(
    request: Fields, response: Fields, directives: Directives, allow_set_cookie: bool
) -> str | None:
    if b"authorization" in request and not allows_authorized(directives):
        return "authorization"
    named = directives.named_fields(b"no-cache") | directives.named_fields(b"private")
    sets_cookie = any(
        name in response and name not in named for name in (b"set-cookie", b"set-cookie2")
    )
    if sets_cookie and not allow_set_cookie:
        return "set-cookie"
    if parse_vary(response) is None:
        return "vary-star"
    return None


def _permission(status: int, response: Fields, directives: Directives) -> Verdict:
    if b"public" in directives:
        return Verdict(True, "public")
    for name in (b"s-maxage", b"max-age"):
        if name in directives:
            return Verdict(True, name.decode("ascii"))
    is_targeted = directives.source not in (b"", b"cache-control")
    if b"expires" in response and not is_targeted:
        return Verdict(True, "expires")
    if status in HEURISTIC_STATUSES:
        return Verdict(True, "status")
    return Verdict(False, "no-explicit-freshness")
