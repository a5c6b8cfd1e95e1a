"""The store: objects by key, with heads in and heads out.

Owns one slab. Never holds a pin longer than its caller does. Exists so that the layers above speak
of heads and bodies, not of offsets into field blocks.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

from neuro.http.fields import Fields
from neuro.store.head import ObjectHead
from neuro.store.stats import SlabStats

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from neuro.native import Fill, Object, Slab


class StoredObject:
    """A pinned object and its head. `release` (or leaving a `with`) gives the pin back."""

    __slots__ = ("_fields", "pinned")

    def __init__(self, pinned: Object) -> None:
        self.pinned = pinned
        self._fields: Fields | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def key(self) -> bytes:
        """The full cache key."""
        return self.pinned.key

    @property
    def fields(self) -> Fields:
        """The stored field lines, parsed on first use.

        Raises:
            InvalidFieldError: they were not written by an ObjectHead, or are damaged.
        """
        if self._fields is None:
            self._fields = Fields.from_bytes(self.pinned.fields)
        return self._fields

    @property
    def head(self) -> ObjectHead:
        """The head as it would be stored again."""
        pinned = self.pinned
        return ObjectHead(
            status=pinned.status,
            fields=self.fields,
            born=pinned.born,
            expires=pinned.expires,
            stale_while_revalidate_s=pinned.stale_while_revalidate_s,
            stale_if_error_s=pinned.stale_if_error_s,
            last_modified=pinned.last_modified,
            flags=pinned.flags,
            meta=pinned.meta,
        )

    @property
    def body_length(self) -> int | None:
        """Bytes; None while a fill without a promise goes on."""
        return self.pinned.body_length

    def chunks(self) -> Iterator[memoryview]:
        """What is filled now, without copies; each view pins the object for itself."""
        offset = 0
        while len(chunk := self.pinned.chunk(offset)) != 0:
            offset += len(chunk)
            yield chunk

    def release(self) -> None:
        """Gives the pin back. Idempotent."""
        self.pinned.release()


class ObjectStore:
    """Objects by key in one slab, which it closes."""

    def __init__(self, slab: Slab) -> None:
        self.slab = slab

    @classmethod
    def open(cls, arena_bytes: int, *, path: str | None = None, object_bytes_max: int = 0) -> Self:
        """A store over a new slab with a random hash key.

        Raises:
            InvalidArgument: fewer than 8 pages, or more than 256 GiB.
            SlabBusy: another process holds the file at `path`.
            OSError: the file cannot be made or is too large for its disk.
            MemoryError: no memory for the arena or its tables.
        """
        from neuro.native import Slab  # noqa: PLC0415  (the layer above may run without a slab)

        key = (secrets.randbits(64), secrets.randbits(64))
        return cls(Slab(arena_bytes, path=path, object_bytes_max=object_bytes_max, hash_key=key))

    def find(self, key: bytes, *, touch: bool = True) -> StoredObject | None:
        """The live object of a key, pinned; `touch` counts it as an access."""
        pinned = self.slab.acquire(key, touch)
        return None if pinned is None else StoredObject(pinned)

    def begin(self, key: bytes, head: ObjectHead, body_length: int | None) -> Fill:
        """Starts to store an object; None as length: as it comes.

        Raises:
            InvalidFieldError, InvalidArgument: the head may not go to the wire (ObjectHead.render).
            ObjectTooLarge: the body, the fields or the meta exceed their bounds.
            SlabFull: nothing could be evicted.
        """
        rendered = head.render()
        return self.slab.begin_fill(
            key,
            status=head.status,
            fields=rendered.fields,
            fields_304=rendered.fields_304,
            meta=head.meta,
            body_length=body_length,
            etag_offset=rendered.etag_offset,
            etag_length=rendered.etag_length,
            last_modified=head.last_modified,
            born=head.born,
            expires=head.expires,
            stale_while_revalidate_s=head.stale_while_revalidate_s,
            stale_if_error_s=head.stale_if_error_s,
            flags=head.flags,
        )

    def delete(self, key: bytes) -> bool:
        """Removes a key; bytes in flight are finished. False when there was none."""
        return self.slab.delete(key)

    def scan(self) -> Iterator[StoredObject]:
        """Every live object, each released when the next is taken."""
        cursor = 0
        while True:
            pinned, cursor = self.slab.scan(cursor)
            if pinned is None:
                return
            with StoredObject(pinned) as stored:
                yield stored

    def stats(self) -> SlabStats:
        """The counters now."""
        return SlabStats.from_mapping(self.slab.stats())

    def close(self) -> None:
        """Closes the slab. Idempotent.

        Raises:
            SlabBusy: an object is pinned, a fill open, or an engine runs.
        """
        self.slab.close()
