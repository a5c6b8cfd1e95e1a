"""Invalidation: which stored URIs an unsafe request spoils.

Owns RFC 9111 section 4.4. Gives target URIs; `neuro.cache.key` turns them into keys.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

from neuro.http.fields import Fields, is_field_value
from neuro.http.semantics import is_non_error, is_safe

_LOCATIONS: Final = (b"location", b"content-location")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def spoiled_uris(method: bytes, target_uri: bytes, status: int, response: Fields) -> list[bytes]:
    """Absolute URIs to invalidate after a response: the target, then same-origin locations.

    Empty for safe methods and error responses. Methods we do not know count as unsafe.
    Source: RFC 9111 section 4.4.
    """
    if is_safe(method) or not is_non_error(status):
        return []
    uris = [target_uri]
    for name in _LOCATIONS:
        for value in response.get_all(name):
            uri = same_origin_uri(target_uri, value)
            if uri is not None and uri not in uris:
                uris.append(uri)
    return uris


def same_origin_uri(base: bytes, reference: bytes) -> bytes | None:
    """The reference resolved against the base, without fragment, or None for another origin.

    Source: RFC 9111 section 4.4 (a different origin must not be invalidated); RFC 6454 section 4.
    """
    if not reference or not is_field_value(reference):
        return None
    try:
        base_text = base.decode("latin-1")
        joined = urljoin(base_text, reference.decode("latin-1"))
        parts, origin = urlsplit(joined), urlsplit(base_text)
        if (parts.scheme, parts.hostname) != (origin.scheme, origin.hostname):
            return None
        default = _DEFAULT_PORTS.get(origin.scheme)
        if (parts.port or default) != (origin.port or default):
            return None
    except ValueError:
        return None
    # The authority is written as the base writes it, so that equal URIs are equal bytes.
    path = parts.path or "/"
    query = f"?{parts.query}" if parts.query or joined.partition("#")[0].endswith("?") else ""
    return f"{origin.scheme}://{origin.netloc}{path}{query}".encode("latin-1")
