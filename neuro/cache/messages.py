"""The messages that cache decisions look at: a request, an origin's response, a stored response.

Owns plain frozen values. Never holds bodies: a body is only ever a length here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from neuro.cache.entry import EntryMeta
from neuro.http.fields import Fields

# Object flags of the native library; tests/unit/cache compares them with neuro._core.slab.
NEEDS_PYTHON: Final = 1
AUTHORIZED_OK: Final = 2
BODILESS: Final = 4

# Wall seconds fit 32 bits in the slab; the last value means "never".
TIME_MAX_S: Final = 2**32 - 2


@dataclass(frozen=True, slots=True)
class CacheRequest:
    """A request as the engine parsed it; `key` is its primary cache key, `has_body` its content."""

    method: bytes
    key: bytes
    fields: Fields
    has_body: bool = False


@dataclass(frozen=True, slots=True)
class OriginResponse:
    """The final head of an origin's response, as it came."""

    status: int
    fields: Fields
    body_length: int | None = None


class ObjectView(Protocol):
    """What a slab object must show to be read as a stored response."""

    @property
    def key(self) -> bytes: ...
    @property
    def status(self) -> int: ...
    @property
    def fields(self) -> bytes: ...
    @property
    def meta(self) -> bytes: ...
    @property
    def body_length(self) -> int | None: ...
    @property
    def born(self) -> int: ...
    @property
    def expires(self) -> int: ...
    @property
    def stale_while_revalidate_s(self) -> int: ...
    @property
    def stale_if_error_s(self) -> int: ...
    @property
    def flags(self) -> int: ...


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A stored response, or a Vary marker (`meta.is_marker`); times in wall seconds."""

    key: bytes
    status: int
    fields: Fields
    body_length: int | None
    born_s: int
    expires_s: int
    stale_while_revalidate_s: int
    stale_if_error_s: int
    flags: int
    meta: EntryMeta

    @classmethod
    def from_object(cls, view: ObjectView) -> StoredResponse:
        """Reads a slab object; copies nothing but its field lines and meta.

        Raises:
            EntryMalformed: the object's meta is not ours or of another version.
            InvalidFieldError: the field lines are damaged.
        """
        return cls(
            key=view.key,
            status=view.status,
            fields=Fields.from_bytes(view.fields),
            body_length=view.body_length,
            born_s=view.born,
            expires_s=view.expires,
            stale_while_revalidate_s=view.stale_while_revalidate_s,
            stale_if_error_s=view.stale_if_error_s,
            flags=view.flags,
            meta=EntryMeta.from_bytes(view.meta),
        )

    def age_s(self, now_s: int) -> int:
        """The current age, 0 or more. Source: RFC 9111 section 4.2.3."""
        return max(0, now_s - self.born_s)

    def ttl_s(self, now_s: int) -> int:
        """Seconds of freshness left; 0 or less means stale. Source: RFC 9111 section 4.2."""
        return self.expires_s - now_s

    def is_fresh(self, now_s: int) -> bool:
        """Whether the response may be reused without validation. Source: RFC 9111 section 4.2."""
        return now_s < self.expires_s
