"""Requests with many answers: watches, and the bytes of a snapshot.

Owns the waking of watches and the shape of events. A watch that has nothing to say costs one
waiting task and no memory for changes: it reads them from the machine's history when it is woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from neuro.cluster.api_requests import Message, describe, take_flag, take_key, take_number
from neuro.cluster.client_errors import Compacted

if TYPE_CHECKING:
    from neuro.cluster.machine import Change, KeyValueMachine, Outcome, Watch
    from neuro.cluster.replica import Replica

EVENT_CHANGE_COUNT: Final = 256
"""Changes of one event, about: a revision is never divided."""
PROGRESS_S: Final = 10.0
"""A quiet watch says this often how far it has looked, for whoever resumes it."""
_END: Final = b""


class Streams:
    """The operations that are answered by a sequence of events."""

    names: Final = frozenset({"watch", "snapshot_save"})

    def __init__(self, replica: Replica[Outcome], machine: KeyValueMachine) -> None:
        self._replica = replica
        self._machine = machine
        self._news = asyncio.Event()
        self._leave: Callable[[], None] | None = None

    def start(self) -> None:
        """Begins to wake watches."""
        self._leave = self._replica.subscribe(self)

    def close(self) -> None:
        """Wakes no more."""
        if self._leave is not None:
            self._leave()
            self._leave = None

    def on_applied(self, _index: int) -> None:
        """Wakes who waits: each looks at the history on its own."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def on_restored(self, index: int) -> None:
        """The history is another one, with the same revisions."""
        self.on_applied(index)

    def on_leadership(self, _term: int, _leader: int, _is_leader: bool) -> None:
        """Watches read local state: who leads does not matter to them."""

    def open(self, message: Message) -> AsyncIterator[Message]:
        """The events of a stream."""
        if message["op"] == "watch":
            return self._watch(message)
        return self._save_snapshot()

    async def _watch(self, message: Message) -> AsyncIterator[Message]:
        is_prefix = take_flag(message, "prefix")
        key = take_key(message, may_be_empty=is_prefix)
        with_previous = take_flag(message, "previous")
        first = take_number(message, "from_revision")
        if first == 0:
            # "From now on" must mean after everything that is acknowledged, here or elsewhere.
            await self._replica.read_barrier()
            first = self._machine.revision + 1
        watch = self._machine.watch(key, is_prefix=is_prefix, next_revision=first)
        self._check(watch)
        yield {"ok": True, "event": "start", "next_revision": first}
        told = 0
        while True:
            news = self._news
            batch = watch.take(EVENT_CHANGE_COUNT)
            if batch is None:
                self._check(watch)
                continue
            if batch.changes:
                changes = [
                    describe_change(revision, change, with_previous=with_previous)
                    for revision, change in batch.changes
                ]
                told = batch.revision
                yield {"event": "changes", "revision": told, "changes": changes}
            if batch.has_more:
                await asyncio.sleep(0)
            elif not await _wait(news, PROGRESS_S) and batch.revision > told:
                told = batch.revision
                yield {"event": "progress", "revision": told}

    def _check(self, watch: Watch) -> None:
        compacted = watch.find_compacted()
        if compacted is not None:
            raise Compacted(
                f"revisions up to {compacted} are forgotten",
                details={"compacted": compacted},
                remote_code="compacted",
            )

    async def _save_snapshot(self) -> AsyncIterator[Message]:
        info = await self._replica.take_snapshot()
        chunks = self._replica.open_snapshot()
        loop = asyncio.get_running_loop()
        yield {"ok": True, "event": "start", "index": info.index, "size_bytes": info.size_bytes}
        while data := await loop.run_in_executor(None, _read_chunk, chunks):
            yield {"event": "chunk", "data": data}
        yield {"event": "end"}


def _read_chunk(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, _END)


async def _wait(news: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await news.wait()
    except TimeoutError:
        return False
    return True


def describe_change(revision: int, change: Change, *, with_previous: bool) -> dict[str, Any]:
    """A change as watchers see it."""
    key, record, previous = change
    shown: dict[str, Any] = {"kind": "delete" if record is None else "put", "revision": revision}
    shown.update({"key": key} if record is None else describe(key, record))
    if with_previous:
        shown["previous"] = None if previous is None else describe(key, previous)
    return shown
