"""The entries in memory: the `LogStore` protocol and its pure-Python form.

Owns entries after a base (the last compacted position). Never knows what is committed,
durable or sent: that is `log`. The protocol is the seam for a native twin, of which
`MemoryLogStore` is the oracle.

Source: dissertation sections 3.5 and 5.1.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol

from neuro.checks import check
from neuro.raft.types import Entry, LogIndex, Term


class LogStore(Protocol):
    """A gap-free run of entries after `base_index`."""

    @property
    def base_index(self) -> LogIndex:
        """The last index that is compacted away; 0 at first."""

    @property
    def last_index(self) -> LogIndex:
        """The last index held; equals the base when empty."""

    def term_at(self, index: LogIndex) -> Term | None:
        """The term of that position; None below the base or past the end."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Adds entries right after the last index."""

    def truncate_from(self, index: LogIndex) -> None:
        """Drops that index and everything after it."""

    def compact(self, index: LogIndex) -> None:
        """Drops everything up to and including that index."""

    def reset(self, index: LogIndex, term: Term) -> None:
        """Empties the store and bases it on that position."""

    def entries(self, low: LogIndex, high: LogIndex, bytes_max: int) -> tuple[Entry, ...]:
        """Entries low..high inclusive, cut to the byte budget, never fewer than one."""

    def size_bytes(self, low: LogIndex, high: LogIndex) -> int:
        """Bytes of entries low..high inclusive."""

    def last_with_term_at_most(self, index: LogIndex, term: Term) -> LogIndex:
        """The largest held position <= index whose term is <= term, else the base."""


class MemoryLogStore:
    """A list of entries with running byte totals; slices share the entries."""

    __slots__ = ("_base_index", "_base_term", "_entries", "_totals")

    def __init__(
        self, entries: Iterable[Entry] = (), base_index: LogIndex = 0, base_term: Term = 0
    ) -> None:
        self._base_index = base_index
        self._base_term = base_term
        self._entries: list[Entry] = []
        self._totals: list[int] = [0]
        self.append(tuple(entries))

    @property
    def base_index(self) -> LogIndex:
        return self._base_index

    @property
    def last_index(self) -> LogIndex:
        return self._base_index + len(self._entries)

    def term_at(self, index: LogIndex) -> Term | None:
        offset = index - self._base_index
        if 0 < offset <= len(self._entries):
            return self._entries[offset - 1].term
        return self._base_term if offset == 0 else None

    def append(self, entries: Sequence[Entry]) -> None:
        expected = self.last_index + 1
        term = self._entries[-1].term if self._entries else self._base_term
        total = self._totals[-1]
        for entry in entries:
            check(entry.index == expected, "entries follow each other without a gap")
            check(entry.term >= term, "terms never decrease along the log")
            expected += 1
            term = entry.term
            total += entry.size_bytes
            self._entries.append(entry)
            self._totals.append(total)

    def truncate_from(self, index: LogIndex) -> None:
        offset = index - self._base_index - 1
        check(0 <= offset <= len(self._entries), "truncation lies within the log")
        del self._entries[offset:]
        del self._totals[offset + 1 :]

    def compact(self, index: LogIndex) -> None:
        term = self.term_at(index)
        check(term is not None, "compaction lies within the log")
        offset = index - self._base_index
        del self._entries[:offset]
        del self._totals[:offset]
        self._base_index = index
        self._base_term = term or 0

    def reset(self, index: LogIndex, term: Term) -> None:
        self._entries.clear()
        self._totals = [0]
        self._base_index = index
        self._base_term = term

    def entries(self, low: LogIndex, high: LogIndex, bytes_max: int) -> tuple[Entry, ...]:
        check(low > self._base_index and high <= self.last_index, "slice lies within the log")
        start = low - self._base_index - 1
        stop = high - self._base_index
        if start >= stop:
            return ()
        totals = self._totals
        if totals[stop] - totals[start] > bytes_max:
            cut = bisect_right(totals, totals[start] + bytes_max, start, stop + 1) - 1
            stop = max(cut, start + 1)
        return tuple(self._entries[start:stop])

    def size_bytes(self, low: LogIndex, high: LogIndex) -> int:
        check(low > self._base_index and high <= self.last_index, "range lies within the log")
        if low > high:
            return 0
        base = self._base_index
        return self._totals[high - base] - self._totals[low - base - 1]

    def last_with_term_at_most(self, index: LogIndex, term: Term) -> LogIndex:
        stop = max(0, min(index - self._base_index, len(self._entries)))
        offset = bisect_right(self._entries, term, 0, stop, key=lambda entry: entry.term)
        return self._base_index + offset
