"""Clients that wait: for a command to be applied, for a read index to be reached.

Owns the futures of one member. Never decides an outcome it does not know: NotLeader means that
the command can never take effect, OutcomeUnknown that it may have.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

from neuro.cluster.replica import Applied, OutcomeUnknown
from neuro.errors import NeuroCacheError
from neuro.raft import (
    Busy,
    Code,
    LogIndex,
    NodeId,
    NotLeader,
    PayloadTooLarge,
    ProposalState,
    ReadState,
    RequestId,
    Term,
)

ResultT = TypeVar("ResultT")
RECENT_COUNT_MAX: Final = 8_192
"""Results kept for commands whose place the leader tells after they were applied here."""


class Waiting(Generic[ResultT]):
    """The waiting clients of one member; futures that are done already are left alone."""

    def __init__(self) -> None:
        self._asked: dict[RequestId, tuple[bool, list[asyncio.Future[Applied[ResultT]]]]] = {}
        self._placed: dict[LogIndex, list[tuple[Term, bool, asyncio.Future[Applied[ResultT]]]]] = {}
        self._recent: OrderedDict[LogIndex, tuple[Term, ResultT | None]] = OrderedDict()
        self._reads: dict[RequestId, list[asyncio.Future[LogIndex]]] = {}
        self._ripe: list[tuple[LogIndex, int, list[asyncio.Future[LogIndex]]]] = []
        self._ripe_count = 0

    @property
    def has_forwarded(self) -> bool:
        """True while the place of a forwarded command is not known: results are kept for it."""
        return bool(self._asked)

    # -- commands

    def ask(
        self, request: RequestId, is_local: bool, futures: list[asyncio.Future[Applied[ResultT]]]
    ) -> None:
        """A batch of commands was handed to the core."""
        self._asked[request] = (is_local, futures)

    def place(self, state: ProposalState, applied_index: LogIndex) -> None:
        """The core tells where a batch stands in the log, or why it does not."""
        asked = self._asked.pop(state.request, None)
        if asked is None:
            return
        is_local, futures = asked
        if state.code is not Code.OK:
            error = _refusal(state)
            for future in futures:
                _fail(future, error)
            return
        for index, future in enumerate(futures, state.first_index):
            if index > applied_index:
                self._placed.setdefault(index, []).append((state.term, is_local, future))
            elif index in self._recent:
                term, result = self._recent[index]
                _settle(index, term, result, state.term, is_local, future)
            else:
                _fail(future, OutcomeUnknown("a snapshot covers the command"))

    def note_applied(self, index: LogIndex, term: Term, result: ResultT | None) -> None:
        """An entry took effect; the result is None for what is not a command."""
        if self._asked:
            self._recent[index] = (term, result)
            if len(self._recent) > RECENT_COUNT_MAX:
                self._recent.popitem(last=False)
        elif self._recent:
            self._recent.clear()
        for expected, is_local, future in self._placed.pop(index, ()):
            _settle(index, term, result, expected, is_local, future)

    def note_restored(self, index: LogIndex) -> None:
        """A snapshot skipped entries: what became of those commands is not known here."""
        for skipped in [placed for placed in self._placed if placed <= index]:
            for _, _, future in self._placed.pop(skipped):
                _fail(future, OutcomeUnknown("a snapshot covers the command"))

    def lose_leadership(self) -> None:
        """Nobody is left waiting in silence; the commands may still take effect."""
        placed, self._placed = self._placed, {}
        for waiting in placed.values():
            for _, _, future in waiting:
                _fail(future, OutcomeUnknown("leadership changed with the command under way"))

    # -- reads

    def ask_read(self, request: RequestId, futures: list[asyncio.Future[LogIndex]]) -> None:
        """A batch of reads was handed to the core."""
        self._reads[request] = futures

    def note_read(self, state: ReadState, leader: NodeId) -> None:
        """A batch of reads has its index, or none."""
        futures = self._reads.pop(state.request, [])
        if state.code is Code.OK:
            self._ripe_count += 1
            heappush(self._ripe, (state.index, self._ripe_count, futures))
            return
        error: NeuroCacheError = NotLeader("leadership changed during the read", leader=leader)
        if state.code is Code.BUSY:
            error = Busy("the leader has too many reads waiting", bound="reads_pending_max")
        for future in futures:
            _fail(future, error)

    def serve_reads(self, applied_index: LogIndex) -> None:
        """Lets the reads go that the state has reached."""
        while self._ripe and self._ripe[0][0] <= applied_index:
            for future in heappop(self._ripe)[2]:
                if not future.done():
                    future.set_result(applied_index)

    # -- end

    def fail_all(self, unknown: NeuroCacheError, untouched: NeuroCacheError) -> None:
        """The member ends: commands under way get `unknown`, reads `untouched`."""
        for future in self._all_commands():
            _fail(future, unknown)
        for reads in (*self._reads.values(), *(item[2] for item in self._ripe)):
            for read in reads:
                _fail(read, untouched)
        for holder in (self._asked, self._placed, self._reads, self._ripe, self._recent):
            holder.clear()

    def _all_commands(self) -> Iterator[asyncio.Future[Applied[ResultT]]]:
        for _, futures in self._asked.values():
            yield from futures
        for waiting in self._placed.values():
            for _, _, future in waiting:
                yield future


def _settle(
    index: LogIndex,
    term: Term,
    result: ResultT | None,
    expected: Term,
    is_local: bool,
    future: asyncio.Future[Applied[ResultT]],
) -> None:
    if future.done():
        return
    if term == expected and result is not None:
        future.set_result(Applied(index, term, result))
    elif term == expected:
        future.set_exception(OutcomeUnknown("this member keeps no data"))
    elif is_local:
        future.set_exception(NotLeader("another leader's entry took the place", leader=0))
    else:
        # The network may have delivered the forwarded command twice.
        future.set_exception(OutcomeUnknown("another entry took the place"))


def _refusal(state: ProposalState) -> NeuroCacheError:
    """What became of a forwarded batch that has no place in the log.

    A transport may repeat a message: one copy was refused, another may yet be taken. Only
    what every leader refuses is certain.
    """
    if state.code is Code.TOO_LARGE:
        return PayloadTooLarge("the leader takes no payload of this size")
    return OutcomeUnknown(f"the leader did not take the command ({state.code.name.lower()})")


def _fail(future: asyncio.Future[ResultT], error: NeuroCacheError) -> None:
    if not future.done():
        future.set_exception(error)
