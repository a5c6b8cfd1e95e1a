"""What is remembered beside a stored response: facts that later decisions need.

Owns the msgpack form of an object's meta. Never holds field lines or bodies. Versioned and bounded:
an object of another version, or a damaged one, is a miss and not a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgpack

from neuro.errors import NeuroCacheError

META_VERSION: Final = 1
META_BYTES_MAX: Final = 65_536
_ITEMS_MAX: Final = 1024


class EntryMalformed(NeuroCacheError):
    """Meta bytes that are not a known EntryMeta; treat the object as absent."""

    code = "entry_malformed"


@dataclass(frozen=True, slots=True)
class EntryMeta:
    """Facts of a stored response or of a Vary marker.

    `vary_names` and `vary_values` are the selecting fields (sorted, lower case) and the request's
    normalised values. A marker lists the names and, in `variants`, the suffixes of the variant keys
    that exist, oldest first; `nonce` is part of these keys, so that to forget the marker is to
    forget every variant.
    """

    request_time_s: int = 0
    response_time_s: int = 0
    freshness_source: str = "none"
    is_explicit: bool = False
    may_serve_stale: bool = True
    must_validate: bool = False
    is_marker: bool = False
    nonce: int = 0
    vary_names: tuple[bytes, ...] = ()
    vary_values: tuple[bytes | None, ...] = ()
    variants: tuple[bytes, ...] = field(default=())
    content_hash: bytes = b""

    def to_bytes(self) -> bytes:
        """The msgpack form.

        Raises:
            EntryMalformed: it would exceed META_BYTES_MAX.
        """
        packed: bytes = msgpack.packb(
            [
                META_VERSION,
                self.request_time_s,
                self.response_time_s,
                self.freshness_source,
                self.is_explicit,
                self.may_serve_stale,
                self.must_validate,
                self.is_marker,
                self.nonce,
                list(self.vary_names),
                list(self.vary_values),
                list(self.variants),
                self.content_hash,
            ],
            use_bin_type=True,
        )
        if len(packed) > META_BYTES_MAX:
            raise EntryMalformed(f"meta of {len(packed)} bytes exceeds {META_BYTES_MAX}")
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> EntryMeta:
        """Reads the msgpack form.

        Raises:
            EntryMalformed: other version, wrong types, damaged or too large.
        """
        if len(data) > META_BYTES_MAX:
            raise EntryMalformed(f"meta of {len(data)} bytes exceeds {META_BYTES_MAX}")
        try:
            values = msgpack.unpackb(
                data, raw=False, max_array_len=_ITEMS_MAX, max_map_len=0, max_ext_len=0
            )
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            raise EntryMalformed("meta is not msgpack") from error
        if not isinstance(values, list) or len(values) != len(_TYPES) or values[0] != META_VERSION:
            raise EntryMalformed("meta is of another version")
        for value, kind in zip(values, _TYPES, strict=True):
            if type(value) is not kind:
                raise EntryMalformed("meta holds a wrong type")
        names, selected, variants = _tuples(values[9], values[10], values[11])
        return cls(
            request_time_s=values[1],
            response_time_s=values[2],
            freshness_source=values[3],
            is_explicit=values[4],
            may_serve_stale=values[5],
            must_validate=values[6],
            is_marker=values[7],
            nonce=values[8],
            vary_names=names,
            vary_values=selected,
            variants=variants,
            content_hash=values[12],
        )


_TYPES: Final = (
    *(int, int, int, str, bool, bool, bool, bool, int),
    *(list, list, list, bytes),
)


def _tuples(
    names: list[Any], values: list[Any], variants: list[Any]
) -> tuple[tuple[bytes, ...], tuple[bytes | None, ...], tuple[bytes, ...]]:
    if not all(isinstance(item, bytes) for item in (*names, *variants)):
        raise EntryMalformed("meta holds a name that is not bytes")
    if not all(item is None or isinstance(item, bytes) for item in values):
        raise EntryMalformed("meta holds a value that is not bytes")
    if len(values) not in (0, len(names)):
        raise EntryMalformed("meta holds values without names")
    return tuple(names), tuple(values), tuple(variants)
