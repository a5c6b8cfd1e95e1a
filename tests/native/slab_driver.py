"""Self-describing bodies and short calls for the slab's tests.

Owns: how a body tells which key and version it belongs to. Never: expectations.
"""

from __future__ import annotations

from neuro._core.slab import Fill, Object, Slab

MIB = 1 << 20
FIELDS = b'Content-Type: text/plain\r\nETag: "v1"\r\n'
ETAG_OFFSET = FIELDS.index(b'"v1"')


def body_of(key: bytes, version: int, length: int) -> bytes:
    """Bytes that no other key, version or length has at any 16 of its places."""
    unit = b"<%b.%d.%d>" % (key, version, length)
    return (unit * (length // len(unit) + 1))[:length]


def begin(slab: Slab, key: bytes, length: int | None, meta: bytes = b"") -> Fill:
    """A fill with a fixed head."""
    return slab.begin_fill(
        key,
        status=200,
        fields=FIELDS,
        fields_304=b'ETag: "v1"\r\n',
        meta=meta,
        body_length=length,
        etag_offset=ETAG_OFFSET,
        etag_length=4,
        born=1000,
        expires=2000,
    )


def put(slab: Slab, key: bytes, body: bytes, *, is_length_known: bool = True) -> Object:
    """Stores a body; the caller releases the object."""
    fill = begin(slab, key, len(body) if is_length_known else None)
    fill.write(body)
    return fill.publish()


def read(slab: Slab, key: bytes) -> bytes | None:
    """The body stored for a key."""
    found = slab.acquire(key)
    if found is None:
        return None
    try:
        return found.read()
    finally:
        found.release()
