"""The head of a stored object: what is written beside a body.

Owns the serialised field block, the place of the entity-tag in it and the subset for a 304. Never
touches the slab. This is the last door before the wire: the engine sends the block as it stands,
so each line is checked here whoever made it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from neuro.errors import InvalidArgument
from neuro.http.fields import FieldLine, Fields
from neuro.http.validation import not_modified_fields, stored_etag

PART_BYTES_MAX = 65_535
"""NC_PART_BYTES_MAX: the slab keeps the length of each part in 16 bits."""

SECONDS_MAX = 2**32 - 1
"""Times and windows are 32 bits wide in the slab; as a time this value means "never"."""

# Framing and what is written anew on each answer: stored, they would be sent twice.
_NEVER_STORED = frozenset(
    (b"age", b"cache-status", b"connection", b"content-length", b"transfer-encoding")
)


@dataclass(frozen=True, slots=True)
class RenderedHead:
    """The byte blocks of a head. `etag_length` 0: there is no valid entity-tag."""

    fields: bytes
    fields_304: bytes
    etag_offset: int
    etag_length: int


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """Everything about an object but its key and body. Times are wall seconds, windows seconds.

    `fields` are the lines to be sent, without framing, Age, Cache-Status and Connection; `meta` is
    opaque here.
    """

    status: int
    fields: Iterable[FieldLine]
    born: int
    expires: int
    stale_while_revalidate_s: int = 0
    stale_if_error_s: int = 0
    last_modified: int = 0
    flags: int = 0
    meta: bytes = b""

    def render(self) -> RenderedHead:
        """The blocks as they go to the slab.

        Raises:
            InvalidFieldError: a name is no token, or a value holds CR, LF, NUL or other controls.
            InvalidArgument: a line is written by whoever sends the answer, or a number is out of
                range.
        Source: RFC 9110 sections 5.5 and 15.4.5.
        """
        self._check_numbers()
        fields = Fields.checked(self.fields)
        for name in fields.names():
            if name in _NEVER_STORED:
                raise InvalidArgument(f"field `{name.decode()}` is not stored", argument="fields")
        offset, length = _place_of_etag(fields)
        return RenderedHead(
            fields=fields.to_bytes(),
            fields_304=not_modified_fields(fields).to_bytes(),
            etag_offset=offset,
            etag_length=length,
        )

    def _check_numbers(self) -> None:
        if not 200 <= self.status <= 599:
            raise InvalidArgument(f"status {self.status} is not stored", argument="status")
        for name in (
            "born",
            "expires",
            "stale_while_revalidate_s",
            "stale_if_error_s",
            "last_modified",
        ):
            value = getattr(self, name)
            if not 0 <= value <= SECONDS_MAX:
                raise InvalidArgument(f"{name} {value} is not in 0..{SECONDS_MAX}", argument=name)


def _place_of_etag(fields: Fields) -> tuple[int, int]:
    etag = stored_etag(fields)
    if etag is None:
        return 0, 0
    offset = 0
    for name, value in fields:
        if name.lower() == b"etag":
            return offset + len(name) + 2, len(etag)
        offset += len(name) + len(value) + 4  # ": " and CRLF
    return 0, 0
