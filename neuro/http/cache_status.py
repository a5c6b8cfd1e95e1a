"""Cache-Status: one line that says what this cache did with a request.

Owns RFC 9211. Never decides anything; the `key` parameter is only given for trusted clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from neuro.http.structured import is_structured_token, serialize_string

CACHE_NAME: Final = b"NeuroCache"
# The values of `fwd` that RFC 9211 section 2.2 registers.
FORWARD_REASONS: Final = frozenset(
    (b"bypass", b"method", b"uri-miss", b"vary-miss", b"miss", b"request", b"stale", b"partial")
)


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """The parameters of one cache's entry; `ttl_s` is negative when stale."""

    is_hit: bool = False
    forward: bytes | None = None
    forward_status: int | None = None
    ttl_s: int | None = None
    is_stored: bool = False
    is_collapsed: bool = False
    key: bytes | None = None
    detail: bytes | None = None

    def to_bytes(self, name: bytes = CACHE_NAME) -> bytes:
        """The list member, for example `NeuroCache; hit; ttl=30`. Source: RFC 9211 section 2."""
        parts = [name if is_structured_token(name) else _string(name)]
        if self.is_hit:
            parts.append(b"hit")
        elif self.forward is not None:
            # hit and fwd exclude each other (RFC 9211 section 2.2).
            parts.append(b"fwd=" + self.forward)
            if self.forward_status is not None:
                parts.append(b"fwd-status=%d" % self.forward_status)
        if self.ttl_s is not None:
            parts.append(b"ttl=%d" % self.ttl_s)
        if self.forward is not None and not self.is_hit:
            if self.is_stored:
                parts.append(b"stored")
            if self.is_collapsed:
                parts.append(b"collapsed")
        if self.key is not None:
            parts.append(b"key=" + _string(self.key))
        if self.detail is not None:
            detail = self.detail
            parts.append(b"detail=" + (detail if is_structured_token(detail) else _string(detail)))
        return b"; ".join(parts)


def _string(value: bytes) -> bytes:
    return serialize_string(value.decode("latin-1"))
