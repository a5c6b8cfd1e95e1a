"""Cache keys: which requests share a stored response.

Owns the form of keys as the engine makes them and the form of variant keys. Never decodes, sorts or
folds a target: the origin receives exactly these bytes (docs/decisions/0010). A key is only ever
hashed and compared, never a file name.
"""

from __future__ import annotations

from typing import Final

from neuro.http.vary import SelectingValues

SITE_PREFIX: Final = b"http://"
OBJECT_PREFIX: Final = b"cache:"
KEY_BYTES_MAX: Final = 16_384
# No site or object key starts so, hence no client can ask for a variant by its key.
_VARIANT_PREFIX: Final = b"vary:"


def site_key(authority: bytes, target: bytes) -> bytes:
    """The primary key of a site's request; the authority is normalised by the parser."""
    return SITE_PREFIX + authority + target


def object_key(path: bytes) -> bytes:
    """The key of the object API; the query, if any, is not part of it."""
    return OBJECT_PREFIX + path.partition(b"?")[0]


def target_uri_key(uri: bytes) -> bytes | None:
    """The primary key of an absolute http or https URI, or None for other schemes."""
    scheme, separator, rest = uri.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https") or not rest:
        return None
    return SITE_PREFIX + rest


def variant_suffix(names: tuple[bytes, ...], values: SelectingValues) -> bytes:
    """Names and values with their lengths before them, so that no value imitates a separator."""
    parts: list[bytes] = []
    for name, value in zip(names, values, strict=True):
        parts.append(b"%d:%b" % (len(name), name))
        parts.append(b"-" if value is None else b"%d:%b" % (len(value), value))
    return b"".join(parts)


def variant_key(primary: bytes, nonce: int, suffix: bytes) -> bytes | None:
    """The key of a variant, or None when it would be longer than a key may be."""
    key = b"%b%d:%b%d:%b" % (_VARIANT_PREFIX, nonce, suffix, len(primary), primary)
    return key if len(key) <= KEY_BYTES_MAX else None
