"""Forwarding: the request as the origin sees it, and loops that must end here.

Owns Via, CDN-Loop and X-Forwarded-*. Never picks an origin. A client's own statements about who it
is and what it asked for are removed, because an origin that trusts them would let the client write
into everybody's cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from neuro.http.fields import Fields
from neuro.http.freshness import with_date
from neuro.http.hop_by_hop import PROXY_FIELDS, remove_hop_by_hop

# Client statements that no origin may see unverified.
_CLAIMS: Final = frozenset(
    (
        *(b"forwarded", b"front-end-https", b"true-client-ip", b"x-client-ip", b"x-forwarded"),
        *(b"x-host", b"x-http-host-override", b"x-http-method", b"x-http-method-override"),
        *(b"x-method-override", b"x-real-ip", b"x-rewrite-url"),
    )
)
_CLAIM_PREFIXES: Final = (b"x-forwarded-", b"x-original-")


@dataclass(frozen=True, slots=True)
class Hop:
    """This proxy and the client in front of it. `cdn_id` is a host name or a pseudonym token.

    `authority` is what the client asked for; `origin_host` goes into Host where it differs.
    """

    cdn_id: bytes
    client_address: bytes
    scheme: bytes
    authority: bytes
    minor_version: int = 1
    origin_host: bytes | None = None


def is_client_claim(name: bytes) -> bool:
    """Whether a field states what only a proxy can know: who asks, for which host and method.

    Underscores count as hyphens, because CGI-like origins cannot tell them apart.
    """
    plain = name.lower().replace(b"_", b"-")
    return plain in _CLAIMS or plain.startswith(_CLAIM_PREFIXES)


def is_loop(request: Fields, cdn_id: bytes) -> bool:
    """Whether the request has passed this proxy before: 508.

    Source: RFC 8586 section 2; RFC 9110 section 7.6.3 for Via.
    """
    wanted = cdn_id.lower()
    for member in request.list_members(b"cdn-loop"):
        if member.split(b";", 1)[0].strip(b" \t").lower() == wanted:
            return True
    return any(
        len(words := member.split()) > 1 and words[1].lower() == wanted
        for member in request.list_members(b"via")
    )


def origin_request_fields(request: Fields, hop: Hop) -> Fields:
    """The end-to-end request fields for the origin, with Via, CDN-Loop and X-Forwarded-* written.

    Content-Length and Expect are left out: framing and 100-continue belong to whoever sends. Host
    is replaced by the authority that was parsed, so that the origin and the cache key agree.
    Source: RFC 9110 sections 7.6.1, 7.6.3 and 7.2; RFC 8586 section 2.
    """
    claims = {name for name in request.names() if is_client_claim(name)}
    kept = remove_hop_by_hop(request).without_set(
        claims | PROXY_FIELDS | {b"content-length", b"expect", b"host"}
    )
    loop = kept.combined(b"cdn-loop")
    via = kept.combined(b"via")
    entry = b"1.%d %b" % (hop.minor_version, hop.cdn_id)
    return Fields(
        (
            (b"Host", hop.authority if hop.origin_host is None else hop.origin_host),
            *kept.without(b"cdn-loop", b"via"),
            (b"Via", entry if via is None else via + b", " + entry),
            (b"CDN-Loop", hop.cdn_id if loop is None else loop + b", " + hop.cdn_id),
            (b"X-Forwarded-For", hop.client_address),
            (b"X-Forwarded-Host", hop.authority),
            (b"X-Forwarded-Proto", hop.scheme),
        )
    )


def client_response_fields(
    response: Fields,
    cdn_id: bytes,
    minor_version: int = 1,
    *,
    response_time_s: int | None = None,
) -> Fields:
    """The end-to-end fields of an origin's response, with this proxy in Via.

    Given the time of reception, a missing or invalid Date is filled in.

    Source: RFC 9110 sections 6.6.1, 7.6.1 and 7.6.3.
    """
    kept = remove_hop_by_hop(response)
    if response_time_s is not None:
        kept = with_date(kept, response_time_s)
    via = kept.combined(b"via")
    entry = b"1.%d %b" % (minor_version, cdn_id)
    return kept.without(b"via").append(b"Via", entry if via is None else via + b", " + entry)
