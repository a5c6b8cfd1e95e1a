"""What can be answered from: objects in the slab, and fills that are on their way into it.

Owns: finding the response stored for a request (markers of Vary resolved), writing what a StorePlan
or a Freshen says, the list of fills that others may join. Never: whether to store or to reuse.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from neuro.cache import EntryMalformed, StoredResponse, variant_key_for
from neuro.errors import InvalidFieldError, SlabError
from neuro.http.vary import is_match
from neuro.store import ObjectHead
from neuro.store.head import SECONDS_MAX as TIME_NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from neuro.cache import CacheRequest, MarkerPlan, StorePlan
    from neuro.edge.fill import FillRun
    from neuro.native import Fill, Object
    from neuro.store import ObjectStore

_log = logging.getLogger("neuro.edge")

COPY_TURN_BYTES: Final = 1 << 20
"""Body bytes copied in one turn of the event loop: about 0.1 ms."""


class Found:
    """A stored response and the pin that keeps its body. `release` as often as `hold` plus one."""

    __slots__ = ("_holders", "handle", "marker", "pinned", "stored")

    def __init__(
        self,
        stored: StoredResponse,
        handle: int,
        pinned: Object | None,
        marker: StoredResponse | None,
    ) -> None:
        self.stored = stored
        self.handle = handle
        self.pinned = pinned  # None: a fill in progress, or a marker
        self.marker = marker
        self._holders = 1

    @property
    def is_filling(self) -> bool:
        """Whether this is a fill in progress: its handle is good for this turn of the loop only."""
        return self.pinned is None and self.handle != 0

    def hold(self) -> Found:
        """One more holder."""
        self._holders += 1
        return self

    def release(self) -> None:
        """One holder less; the last one drops the pin."""
        self._holders -= 1
        if self._holders == 0 and self.pinned is not None:
            self.pinned.release()


class Shelf:
    """The slab as the life of a request sees it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._runs: dict[bytes, list[FillRun]] = {}
        self.fill_count = 0  # fills in progress, joinable or not

    def find(self, request: CacheRequest, *, joins_fills: bool = True) -> Found | None:
        """The response to plan with; the caller releases it.

        A fill that the request may join goes before a stored object: it is newer. The marker alone
        is given where the URL is known and this variant is not.
        """
        for run in self._runs.get(request.key, ()) if joins_fills else ():
            meta = run.stored.meta
            if run.is_shared and is_match(meta.vary_names, meta.vary_values, request.fields):
                return Found(run.stored, run.handle, None, run.marker)
        found = self._acquire(request.key, None)
        if found is None or not found.stored.meta.is_marker:
            return found
        found.release()
        marker = found.stored
        key = variant_key_for(request, marker)
        variant = None if key is None else self._acquire(key, marker)
        return variant if variant is not None else Found(marker, 0, None, marker)

    def delete(self, keys: Iterable[bytes]) -> None:
        """Drops keys; fills in progress for them are not joined any more, nor published."""
        for key in keys:
            self._store.delete(key)
            for run in self._runs.pop(key, ()):
                run.spoil()

    # --------------------------------------------------------------- fills

    def begin(self, plan: StorePlan) -> Fill:
        """Room for a response.

        Raises:
            SlabFull, ObjectTooLarge: there is none.
            InvalidFieldError: a field may not go to the wire.
        """
        return self._begin(plan.as_stored(), plan.body_length, plan.last_modified_s)

    def add_run(self, primary_key: bytes, run: FillRun) -> None:
        """Notes a fill; requests for its key join it if it is shared."""
        self._runs.setdefault(primary_key, []).append(run)

    def remove_run(self, primary_key: bytes, run: FillRun) -> None:
        """Ends that. Idempotent."""
        runs = self._runs.get(primary_key)
        if runs is not None and run in runs:
            runs.remove(run)
            if not runs:
                del self._runs[primary_key]

    def store_marker(self, marker: MarkerPlan) -> None:
        """Stores a Vary marker; without room for it the variant is simply not found."""
        try:
            head = ObjectHead(
                status=200,
                fields=(),
                born=marker.born_s,
                expires=TIME_NEVER,
                flags=marker.flags,
                meta=marker.meta.to_bytes(),
            )
            fill = self._store.begin(marker.key, head, 0)
            fill.publish().release()
        except (SlabError, EntryMalformed) as error:
            _log.warning("no room for a Vary marker: %s", error)

    async def rewrite(self, found: Found, stored: StoredResponse) -> None:
        """Stores a body again under new field lines. Without room the old object stays."""
        source = found.pinned
        if source is None or source.body_length is None:
            return
        try:
            fill = self._begin(stored, source.body_length, source.last_modified)
        except SlabError as error:
            _log.warning("no room for updated fields: %s", error)
            return
        try:
            position = copied = 0
            while position < source.body_length:
                with source.chunk(position) as view:
                    fill.write(view)
                    position += len(view)
                if position - copied >= COPY_TURN_BYTES:
                    copied = position
                    await asyncio.sleep(0)
            fill.publish().release()
        except BaseException:
            fill.abort()
            raise

    # ------------------------------------------------------------- helpers

    def _acquire(self, key: bytes, marker: StoredResponse | None) -> Found | None:
        pinned = self._store.slab.acquire(key)
        if pinned is None:
            return None
        try:
            stored = StoredResponse.from_object(pinned)
        except (EntryMalformed, InvalidFieldError) as error:
            pinned.release()
            self._store.delete(key)
            _log.warning("dropped an object that cannot be read: %s", error)
            return None
        return Found(
            stored, pinned.handle, pinned, marker or (stored if stored.meta.is_marker else None)
        )

    def _begin(self, stored: StoredResponse, body_length: int | None, last_modified_s: int) -> Fill:
        head = ObjectHead(
            status=stored.status,
            fields=stored.fields,
            born=stored.born_s,
            expires=stored.expires_s,
            stale_while_revalidate_s=stored.stale_while_revalidate_s,
            stale_if_error_s=stored.stale_if_error_s,
            last_modified=last_modified_s,
            flags=stored.flags,
            meta=stored.meta.to_bytes(),
        )
        return self._store.begin(stored.key, head, body_length)
