"""Snapshots in a running member: its own, taken aside, and those its leader sends.

Owns the thread that writes and verifies them, and the step from a stored snapshot to a
shorter log. Never holds up proposals: the state is frozen in one call, and drained elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from neuro.cluster.disk import DiskFull
from neuro.cluster.peers import SnapshotOffer
from neuro.cluster.pump import Pump
from neuro.cluster.replica import NoSpace, ReplicaError, ReplicaStopped
from neuro.cluster.snapshot_format import SnapshotCorrupt
from neuro.cluster.snapshots import StoredSnapshot


class Snapshotter:
    """The snapshots of one member; all methods belong to its event loop."""

    def __init__(self, pump: Pump[Any]) -> None:
        self._pump = pump
        self._store = pump.storage.snapshots
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._task: asyncio.Task[StoredSnapshot] | None = None

    async def close(self) -> None:
        """Waits for what is under way."""
        await asyncio.to_thread(self._thread.shutdown, wait=True)
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    # -- our own

    def is_due(self) -> bool:
        """True when enough was applied since the last one, and none is under way."""
        pump, settings = self._pump, self._pump.settings
        latest = self._store.latest
        since = pump.applier.applied_index - (latest.meta.index if latest else 0)
        is_much = (
            since >= settings.snapshot_entry_count
            or pump.applier.bytes_since_snapshot >= settings.snapshot_log_bytes
        )
        return is_much and self._task is None and not pump.node.is_installing

    def begin(self) -> asyncio.Task[StoredSnapshot]:
        """Freezes the state and begins to store it; a failing disk ends the member."""
        applier = self._pump.applier
        meta = self._pump.node.note_snapshot(applier.applied_index)
        control, chunks = applier.freeze()
        store = self._store.write

        async def write() -> StoredSnapshot:
            try:
                stored = await self._pump.loop.run_in_executor(
                    self._thread, store, meta, control, chunks
                )
            except DiskFull:
                raise
            except Exception as error:
                self._pump.fail(error)
                raise
            self._compact(stored)
            return stored

        self._task = self._pump.loop.create_task(write())
        self._task.add_done_callback(self._note_done)
        return self._task

    async def take(self) -> StoredSnapshot:
        """Stores the state as it is now.

        Raises:
            NoSpace, ReplicaStopped: the disk is full, or failed.
            ReplicaError: there is no state yet.
        """
        while self._task is not None:
            await asyncio.wait([self._task])
        pump = self._pump
        if pump.is_over:
            raise ReplicaStopped("the member ended")
        if pump.applier.applied_index == 0 or pump.node.is_installing:
            raise ReplicaError("there is nothing to store yet")
        try:
            return await asyncio.shield(self.begin())
        except DiskFull as error:
            raise NoSpace("no room for a snapshot", nodes=(pump.node.id,)) from error
        except OSError as error:
            raise ReplicaStopped(f"the disk failed ({error})") from error

    def _compact(self, stored: StoredSnapshot) -> None:
        pump = self._pump
        if pump.is_over or pump.node.is_installing:
            return
        pump.node.keep_snapshot(stored.meta)
        kept = pump.node.suggest_compaction(pump.settings.entry_count_kept)
        pump.writer.compact(pump.node.compact(kept))

    def _note_done(self, task: asyncio.Task[StoredSnapshot]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()

    # -- the leader's

    def begin_incoming(self, offer: SnapshotOffer) -> int:
        """See `PeerReceiver.begin_snapshot`."""
        if offer.message.witness:
            return 0
        if offer.size_bytes > self._pump.storage.disk.free_bytes():
            raise NoSpace("no room for an incoming snapshot", nodes=(self._pump.node.id,))
        return self._guard(lambda: self._store.begin_incoming(offer))

    def write_incoming(self, offer: SnapshotOffer, offset: int, data: bytes) -> int:
        """See `PeerReceiver.write_snapshot`."""
        return self._guard(lambda: self._store.write_incoming(offer, offset, data))

    async def finish_incoming(self, offer: SnapshotOffer) -> None:
        """See `PeerReceiver.finish_snapshot`."""
        pump = self._pump
        if not offer.message.witness:
            verify = self._store.verify_incoming
            try:
                await pump.loop.run_in_executor(self._thread, verify, offer)
            except SnapshotCorrupt as error:
                raise ReplicaError(f"the snapshot arrived damaged ({error})") from error
            except OSError as error:
                pump.fail(error)
        if pump.is_over:
            raise ReplicaStopped("the member ended")
        pump.incoming[offer.message.snapshot] = offer
        pump.step_snapshot(offer.message)

    def _guard(self, action: Callable[[], int]) -> int:
        try:
            return action()
        except DiskFull as error:
            nodes = (self._pump.node.id,)
            raise NoSpace("no room for an incoming snapshot", nodes=nodes) from error
        except OSError as error:
            self._pump.fail(error)
            raise ReplicaStopped(f"the disk failed ({error})") from error
