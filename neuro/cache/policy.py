"""What an operator decides where RFC 9111 leaves a choice, and the limits of a shared cache.

Owns values only. Never reads configuration: neuro.config fills this in. Defaults are the careful
ones, so that a cache without a configuration file never leaks and never guesses.
"""

from __future__ import annotations

from dataclasses import dataclass

from neuro.http.directives import CDN_CACHE_CONTROL
from neuro.http.freshness import HeuristicRule


@dataclass(frozen=True, slots=True)
class SharedCachePolicy:
    """The choices and limits of one site; times in seconds, sizes in bytes."""

    # Lifetime of responses that state none; 0: such responses are validated before every reuse.
    default_ttl_s: int = 0
    # Lifetime of error responses (4xx, 5xx) that state none; 0: never without explicit freshness.
    negative_ttl_s: int = 0
    # Guessing from Last-Modified (RFC 9111 section 4.2.2); None: off.
    heuristic: HeuristicRule | None = None
    # Larger bodies are streamed, not stored.
    object_bytes_max: int = 100 * 2**20
    # Cache-Control of requests; ignored by default, or any client could make the origin work.
    respects_request_directives: bool = False
    # Stored responses with Vary for one URL; the oldest goes. Bounds a flood of field values.
    variants_max: int = 16
    # Field names in one Vary; more make the response uncacheable.
    vary_names_max: int = 8
    # Responses with Set-Cookie are not stored, unless the operator strips it.
    stores_set_cookie: bool = False
    # Keep responses without a lifetime but with a validator, to save transfers by revalidation.
    stores_for_validation: bool = True
    # Stale answers when the origin cannot be reached and forbids nothing; 0: only stale-if-error.
    stale_when_disconnected_s: int = 0
    # s-maxage implies proxy-revalidate (RFC 9111 section 5.2.2.10); False lets
    # stale-while-revalidate and stale-if-error win over it, as some hosted CDNs do.
    s_maxage_forbids_stale: bool = True
    # Targeted cache control (RFC 9213), first match wins.
    targets: tuple[bytes, ...] = (CDN_CACHE_CONTROL,)
