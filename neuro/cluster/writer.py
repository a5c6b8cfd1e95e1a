"""The disk's turn: Readies become durable in order, many with one sync, off the event loop.

Owns the queue in front of the log and the thread that writes it. Never blocks the loop, never
reorders, never tries a failed sync again. While one commit runs, Readies gather for the next:
that is the group commit. A full disk is waited for: nothing was written, and a member that
can not write is just slow to the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from neuro.cluster.disk import DiskFull
from neuro.cluster.peers import SnapshotOffer
from neuro.cluster.storage import Storage
from neuro.cluster.wal_format import Base, Record, Reset
from neuro.raft import HardState, Ready, SnapshotMeta

FULL_RETRY_S: Final = 0.25


class Writer:
    """Feeds one member's storage; all methods belong to the event loop."""

    def __init__(
        self,
        storage: Storage,
        on_durable: Callable[[list[Ready]], None],
        on_failed: Callable[[BaseException], None],
        take_offer: Callable[[SnapshotMeta], SnapshotOffer],
        reserve_bytes: int,
    ) -> None:
        """Begins idle.

        Args:
            on_durable: told of Readies, in order, once they and all before are durable.
            on_failed: told once; nothing is written after it.
            reserve_bytes: room that only what is urgent may take.
            take_offer: the verified incoming snapshot that a Ready tells to install.
        """
        self._storage = storage
        self._on_durable = on_durable
        self._on_failed = on_failed
        self._take_offer = take_offer
        self._reserve_bytes = reserve_bytes
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="wal")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="wal-spare")
        self._queue: list[Ready] = []
        self._hint: HardState | None = None
        self._base: SnapshotMeta | None = None
        self._is_writing = False
        self._is_preparing = False
        self._is_over = False
        self.is_full = False
        """True while the disk has no room for what is waiting."""
        self.is_short = False
        """True while the next segment can not be made without touching the reserve."""

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing is under way."""
        return not self._is_writing and not self._queue

    def add(self, ready: Ready) -> None:
        """Takes the next Ready."""
        self._queue.append(ready)
        self._start()

    def compact(self, base: SnapshotMeta) -> None:
        """The log may begin at `base` from the next commit on."""
        self._base = base

    def _start(self) -> None:
        if self._is_writing or self._is_over or not self._queue:
            return
        readies, self._queue = self._queue, []
        for ready in readies:
            self._hint = ready.hard_state or self._hint
        if not any(ready.must_sync for ready in readies):
            # Only the commit hint moved: it goes with the next commit that syncs anyway.
            self._is_writing = True
            self._loop.call_soon(self._finish, readies)
            return
        records, installs = self._collect(readies)
        self._is_writing = True
        self._submit(readies, records, installs)

    def _collect(self, readies: list[Ready]) -> tuple[list[Record], list[SnapshotOffer]]:
        records: list[Record] = []
        installs: list[SnapshotOffer] = []
        for ready in readies:
            if ready.snapshot is not None:
                installs.append(self._take_offer(ready.snapshot))
                records.append(Reset(ready.snapshot))
                self._base = None
            records.extend(ready.entries)
        if self._hint is not None:
            records.append(self._hint)
            self._hint = None
        if self._base is not None:
            records.append(Base(self._base))
            self._base = None
        return records, installs

    def _submit(
        self, readies: list[Ready], records: list[Record], installs: list[SnapshotOffer]
    ) -> None:
        if self._is_over:
            return
        future = self._loop.run_in_executor(self._thread, self._storage.commit, records, installs)

        def finish(done: asyncio.Future[None]) -> None:
            if self._is_over or done.cancelled():
                return
            error = done.exception()
            if error is None:
                self.is_full = False
                self._finish(readies)
            elif isinstance(error, DiskFull):
                self.is_full = True
                self._loop.call_later(FULL_RETRY_S, self._submit, readies, records, installs)
            else:
                self._is_over = True
                self._on_failed(error)

        future.add_done_callback(finish)

    def _finish(self, readies: list[Ready]) -> None:
        self._is_writing = False
        if self._is_over:
            return
        self._on_durable(readies)
        self._start()
        self._prepare_spare()

    def _prepare_spare(self) -> None:
        """Has the next segment made ready, unless that would take the reserve."""
        if self._is_over or self._is_preparing or not self._storage.wal.needs_spare:
            return
        self._is_preparing = True
        spare = self._loop.run_in_executor(self._background, self._make_spare)
        spare.add_done_callback(self._note_spare)

    def _make_spare(self) -> None:
        if self._storage.disk.free_bytes() < self._reserve_bytes:
            raise DiskFull("the reserve would be touched")
        self._storage.wal.prepare_spare()

    def _note_spare(self, done: asyncio.Future[None]) -> None:
        if self._is_over or done.cancelled():
            return
        error = done.exception()
        self.is_short = isinstance(error, DiskFull)
        if error is None:
            self._is_preparing = False
        elif self.is_short:
            self._loop.call_later(FULL_RETRY_S, self._retry_spare)
        else:
            self._is_over = True
            self._on_failed(error)

    def _retry_spare(self) -> None:
        self._is_preparing = False
        self._prepare_spare()

    async def run(self, action: Callable[[], None]) -> None:
        """Does something else on the log's thread, in turn with the commits.

        Raises:
            Whatever the action raises.
        """
        await self._loop.run_in_executor(self._thread, action)

    async def close(self) -> None:
        """Waits for the commit under way; what is queued is dropped."""
        self._is_over = True
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(self._background.shutdown, wait=True, cancel_futures=True)
