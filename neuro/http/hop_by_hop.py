"""Hop-by-hop fields: what must not travel on, nor be stored.

Owns the list and the Connection rule. A peer may name further fields in Connection; the ones that
this proxy, its security or its caching depend on are never dropped that way.
"""

from __future__ import annotations

from typing import Final

from neuro.http.fields import Fields

# RFC 9110 section 7.6.1, with the historical Keep-Alive and Proxy-Connection; TE and Trailer
# because the next hop negotiates anew. HTTP2-Settings goes with the Upgrade it belongs to.
HOP_BY_HOP: Final = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"http2-settings"),
    )
)

# Meant for the proxy that asks; a cache must not store them (RFC 9111 section 3.1).
PROXY_FIELDS: Final = frozenset(
    (b"proxy-authenticate", b"proxy-authentication-info", b"proxy-authorization")
)

# Connection may not name fields meant for all recipients (RFC 9110 section 7.6.1: "such as
# Cache-Control"), nor those whose loss would change identity, framing, routing or security.
_KEPT_ALWAYS: Final = frozenset(
    (
        *(b"age", b"authorization", b"cache-control", b"cdn-cache-control", b"cdn-loop"),
        *(b"content-encoding", b"content-length", b"content-location", b"content-range"),
        *(b"content-security-policy", b"content-type", b"cookie", b"date", b"etag", b"expires"),
        *(b"forwarded", b"host", b"if-match", b"if-modified-since", b"if-none-match", b"if-range"),
        *(b"if-unmodified-since", b"last-modified", b"location", b"origin", b"pragma", b"range"),
        *(b"referrer-policy", b"set-cookie", b"strict-transport-security", b"vary", b"via"),
        *(b"www-authenticate", b"x-content-type-options", b"x-forwarded-for", b"x-forwarded-host"),
        *(b"x-forwarded-port", b"x-forwarded-proto", b"x-frame-options", b"x-real-ip"),
    )
)


def connection_names(fields: Fields) -> frozenset[bytes]:
    """Lower-case names that Connection lists and may drop. Source: RFC 9110 section 7.6.1."""
    listed = {member.lower() for member in fields.list_members(b"connection")}
    return frozenset(listed - _KEPT_ALWAYS)


def remove_hop_by_hop(fields: Fields) -> Fields:
    """The end-to-end fields. Source: RFC 9110 section 7.6.1."""
    return fields.without_set(HOP_BY_HOP | connection_names(fields))


def remove_unstorable(fields: Fields, named: frozenset[bytes] = frozenset()) -> Fields:
    """The fields that may be stored: end-to-end, not for one proxy, not in `named`.

    Args:
        named: lower-case names from the qualified forms of no-cache and private.
    Source: RFC 9111 sections 3.1, 5.2.2.4 and 5.2.2.7.
    """
    return remove_hop_by_hop(fields).without_set(PROXY_FIELDS | named)
