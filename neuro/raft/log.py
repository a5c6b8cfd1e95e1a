"""The replicated log of one node: what is held, durable, committed and applied.

Owns the four watermarks and the history of configurations in the log. Never sends and
never decides what is committed.

    base <= applied <= min(commit, stable)     stable <= last     commit <= last
    (a freshly installed snapshot is committed before it is stable)

A configuration takes effect when its entry is appended, and loses it when that entry is
truncated (dissertation section 4.1), so the history is kept beside the entries.

Writes are acknowledged by Ready number, never by index: an index may be truncated and
written again, even with the same term, while the first write is still under way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from neuro.checks import check
from neuro.raft.configuration import Configuration
from neuro.raft.log_store import LogStore
from neuro.raft.types import Entry, EntryKind, LogIndex, SnapshotMeta, Term


class RaftLog:
    """Entries and their watermarks; all indices are absolute."""

    def __init__(
        self, store: LogStore, base: Configuration, commit: LogIndex, applied: LogIndex
    ) -> None:
        check(store.base_index <= applied <= commit, "what is applied is committed")
        check(commit <= store.last_index, "a committed entry was lost from the log")
        self.store = store
        self.commit_index = commit
        self.applied_index = applied
        self.stable_index = store.last_index
        self.snapshot: SnapshotMeta | None = None
        self.has_withheld = False
        self._taken_index = store.last_index
        self._writes: deque[tuple[int, LogIndex]] = deque()
        self._configurations: list[tuple[LogIndex, Configuration]] = [(store.base_index, base)]
        if store.last_index > store.base_index:
            held = store.entries(store.base_index + 1, store.last_index, 1 << 62)
            self._note_kinds(held)

    @property
    def last_index(self) -> LogIndex:
        """The last index held, durable or not."""
        return self.store.last_index

    @property
    def first_index(self) -> LogIndex:
        """The first index that can still be sent as an entry."""
        return self.store.base_index + 1

    @property
    def last_term(self) -> Term:
        """The term of the last position."""
        return self.store.term_at(self.store.last_index) or 0

    @property
    def configuration(self) -> Configuration:
        """The configuration in force: the latest in the log, committed or not."""
        return self._configurations[-1][1]

    @property
    def configuration_index(self) -> LogIndex:
        """Where the configuration in force stands."""
        return self._configurations[-1][0]

    def configuration_at(self, index: LogIndex) -> Configuration:
        """The configuration as of that index, which is not compacted away."""
        return next(held for at, held in reversed(self._configurations) if at <= index)

    def matches(self, index: LogIndex, term: Term) -> bool:
        """True when that position is held with that term."""
        return self.store.term_at(index) == term

    def is_up_to_date(self, index: LogIndex, term: Term) -> bool:
        """True when a log ending there is at least as up to date as this one.

        Source: dissertation section 3.6.1.
        """
        return (term, index) >= (self.last_term, self.last_index)

    def append(self, entries: Sequence[Entry]) -> None:
        """Adds entries after the last."""
        self.store.append(entries)
        self._note_kinds(entries)

    def merge(self, entries: Sequence[Entry]) -> LogIndex:
        """Takes over the leader's entries; returns the last index known to match.

        Entries already held stay, so a stale subset truncates nothing. A conflict cuts the
        log, and is never below the commit index.

        Source: dissertation section 3.5, AppendEntries steps 3 and 4.
        """
        if not entries:
            return 0
        position = 0
        for entry in entries:
            if self.store.term_at(entry.index) != entry.term:
                break
            position += 1
        if position < len(entries):
            first = entries[position].index
            if first <= self.last_index:
                self.truncate_from(first)
            self.append(entries[position:])
        return entries[-1].index

    def truncate_from(self, index: LogIndex) -> None:
        """Drops uncommitted entries, their configurations and claims of durability."""
        check(index > self.commit_index, "a committed entry is never truncated")
        self.store.truncate_from(index)
        while self._configurations[-1][0] >= index:
            self._configurations.pop()
        self.stable_index = min(self.stable_index, index - 1)
        self._taken_index = min(self._taken_index, index - 1)
        self._writes = deque((number, min(last, index - 1)) for number, last in self._writes)

    def commit_to(self, index: LogIndex) -> bool:
        """Raises the commit index; a lower one changes nothing. True when it moved."""
        if index <= self.commit_index:
            return False
        check(index <= self.last_index, "what is committed is held")
        self.commit_index = index
        return True

    def install(self, snapshot: SnapshotMeta) -> None:
        """Replaces the whole log, and the configuration, by a snapshot.

        Source: dissertation section 5.1, InstallSnapshot steps 6 to 8.
        """
        check(snapshot.index > self.commit_index, "a snapshot never takes back a commit")
        self.store.reset(snapshot.index, snapshot.term)
        self._configurations = [(snapshot.index, snapshot.configuration)]
        self.commit_index = snapshot.index
        self.applied_index = snapshot.index
        self.stable_index = 0
        self._taken_index = snapshot.index
        self._writes = deque((number, 0) for number, _ in self._writes)
        self.snapshot = snapshot

    def compact(self, index: LogIndex) -> None:
        """Drops entries up to `index`, which a durable snapshot covers."""
        if index <= self.store.base_index:
            return
        check(index <= min(self.applied_index, self.stable_index), "only applied entries go")
        in_force = self.configuration_at(index)
        later = [item for item in self._configurations if item[0] > index]
        self._configurations = [(index, in_force), *later]
        self.store.compact(index)

    def take_unstable(self) -> tuple[Entry, ...]:
        """Entries to persist that no Ready has carried yet."""
        first = max(self._taken_index + 1, self.first_index)
        self._taken_index = self.last_index
        if first > self.last_index:
            return ()
        return self.store.entries(first, self.last_index, 1 << 62)

    def take_committed(self, bytes_max: int) -> tuple[Entry, ...]:
        """Durable committed entries not handed out yet, within the byte budget."""
        high = min(self.commit_index, self.stable_index)
        if high <= self.applied_index:
            return ()
        entries = self.store.entries(self.applied_index + 1, high, bytes_max)
        self.applied_index = entries[-1].index
        return entries

    def has_output(self) -> bool:
        """True when a Ready would carry entries, a snapshot or committed entries."""
        return (
            self._taken_index < self.last_index
            or self.snapshot is not None
            or min(self.commit_index, self.stable_index) > self.applied_index
        )

    def begin_write(self, number: int) -> None:
        """Notes that Ready `number` carries everything up to the last index."""
        self._writes.append((number, self._taken_index))

    def end_write(self, number: int) -> None:
        """Everything up to Ready `number` is durable."""
        while self._writes and self._writes[0][0] <= number:
            _, last = self._writes.popleft()
            self.stable_index = max(self.stable_index, last)

    def size_after_commit(self) -> int:
        """Bytes of the uncommitted tail."""
        return self.store.size_bytes(self.commit_index + 1, self.last_index)

    def _note_kinds(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.kind is EntryKind.CONFIGURATION:
                decoded = Configuration.from_bytes(entry.data)
                self._configurations.append((entry.index, decoded))
            elif entry.kind is EntryKind.WITHHELD:
                self.has_withheld = True
