"""Methods and status codes: what RFC 9110 says of each that a cache must know.

Owns the sets; never decides alone. Kept in one place so that "understood" means one thing.
"""

from __future__ import annotations

from typing import Final

SAFE_METHODS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
IDEMPOTENT_METHODS: Final = SAFE_METHODS | {b"PUT", b"DELETE"}
# May be answered from a stored GET response (RFC 9110 section 9.2.3; POST caching is not offered).
CACHEABLE_METHODS: Final = frozenset((b"GET", b"HEAD"))

# May be stored without explicit freshness (RFC 9110 section 15.1), less 206: partial content is
# not stored.
HEURISTIC_STATUSES: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))

# Final status codes whose caching requirements this cache implements (RFC 9111 section 3). Not 206
# and 304, which are handled apart, nor codes that a cache must never store.
UNDERSTOOD_STATUSES: Final = frozenset(
    (
        *(200, 201, 202, 203, 204, 205),
        *(300, 301, 302, 303, 305, 307, 308),
        *(401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 414, 415, 422, 451),
        *(500, 501, 502, 503, 504, 505),
    )
)

# "MUST NOT be stored by a cache": RFC 6585 sections 3 to 6.
FORBIDDEN_STATUSES: Final = frozenset((428, 429, 431, 511))

# Blame the request's header fields or content, which are not in the cache key: one client's bad
# request must not become everybody's answer (cache-poisoned denial of service).
REQUEST_FAULT_STATUSES: Final = frozenset((400, 408, 412, 413, 416, 417, 421, 425, 426))

BODILESS_STATUSES: Final = frozenset((204, 205, 304))

# Answers that stale-if-error covers: RFC 5861 section 4.
SERVER_ERROR_STATUSES: Final = frozenset((500, 502, 503, 504))


def is_safe(method: bytes) -> bool:
    """Whether the method asks for no change. Source: RFC 9110 section 9.2.1."""
    return method in SAFE_METHODS


def is_non_error(status: int) -> bool:
    """Whether the status is 2xx or 3xx. Source: RFC 9111 section 4.4."""
    return 200 <= status < 400
