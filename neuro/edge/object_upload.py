"""The body of a PUT on its way into the slab.

Owns: receiving, counting and hashing a body of any length within a bound. Never: HTTP preconditions
and answers (object_api.py).

The entity-tag is the hash of the body, and stands in field lines that the slab wants before the
body. So a small body waits in memory, and a large one in a fill that is never indexed and from
which the final one is copied, page by page, when the hash is known. Only the final one is ever
visible.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import TYPE_CHECKING, Final

from neuro.errors import ObjectTooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from neuro.native import Fill, Object, Slab

MEMORY_BYTES_MAX: Final = 262_144
"""A body up to this length waits in memory."""

COPY_TURN_BYTES: Final = 1 << 20
"""What is copied in one turn of the event loop: about 0.1 ms."""

_SPOOL_KEY: Final = b"spool:"  # no client can ask for it: keys start with http://, cache: or vary:


class Upload:
    """A body received in full. `close` gives its space back; idempotent."""

    def __init__(self, slab: Slab, bytes_max: int) -> None:
        self._slab = slab
        self._bytes_max = bytes_max
        self._hash = hashlib.sha256()
        self._memory = bytearray()
        self._spool_fill: Fill | None = None
        self._spool: Object | None = None
        self.length = 0

    @property
    def digest(self) -> bytes:
        """SHA-256 of what was received."""
        return self._hash.digest()

    @property
    def etag(self) -> bytes:
        """A strong entity-tag that is equal for equal bodies."""
        text = base64.urlsafe_b64encode(self.digest).rstrip(b"=")
        return b'"sha256-' + text + b'"'

    async def receive(self, body: AsyncIterator[bytes]) -> None:
        """Takes a body to its end.

        Raises:
            ObjectTooLarge: it is longer than the bound.
            SlabFull: there is no room for it now.
        """
        async for data in body:
            self.length += len(data)
            if self.length > self._bytes_max:
                raise ObjectTooLarge(
                    "body exceeds the limit", requested_bytes=self.length, bytes_max=self._bytes_max
                )
            self._hash.update(data)
            if self._spool_fill is None and self.length <= MEMORY_BYTES_MAX:
                self._memory += data
                continue
            if self._spool_fill is None:
                self._spool_fill = self._begin_spool()
                self._spool_fill.write(self._memory)
                self._memory = bytearray()
            self._spool_fill.write(data)
        if self._spool_fill is not None:
            self._spool = self._spool_fill.complete_unindexed()

    async def copy_into(self, fill: Fill) -> None:
        """Writes the body into a fill."""
        if self._spool is None:
            fill.write(self._memory)
            return
        position = 0
        turn_end = COPY_TURN_BYTES
        while position < self.length:
            with self._spool.chunk(position) as view:
                fill.write(view)
                position += len(view)
            if position >= turn_end:
                turn_end = position + COPY_TURN_BYTES
                await asyncio.sleep(0)

    def close(self) -> None:
        """Drops what was received."""
        if self._spool is not None:
            self._spool.release()
        elif self._spool_fill is not None:
            self._spool_fill.abort()
        self._spool = self._spool_fill = None

    def _begin_spool(self) -> Fill:
        return self._slab.begin_fill(
            _SPOOL_KEY + b"%d" % id(self),
            status=200,
            fields=b"",
            fields_304=b"",
            meta=b"",
            body_length=None,
            born=0,
            expires=0,
        )
