"""From committed entries to the state machine, and back into it from a snapshot.

Owns the order of application, the applied index and the hashes recorded on the way. Never
waits and never reads a disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from neuro.checks import check
from neuro.cluster.control import HASH_INTERVAL, Control, HashCheck
from neuro.cluster.replica import CONTROL_MARK, StateMachine
from neuro.raft import Configuration, Entry, EntryKind, LogIndex

ResultT = TypeVar("ResultT")


class Applier(Generic[ResultT]):
    """The state machine of one member, with the driver's own state beside it."""

    def __init__(self, machine: StateMachine[ResultT]) -> None:
        self.machine = machine
        self.control = Control()
        self.applied_index: LogIndex = 0
        self.bytes_since_snapshot = 0
        self.is_blind = False
        """True on a witness: entries come without their data, the state means nothing."""

    def apply(self, entry: Entry) -> tuple[ResultT | None, HashCheck | None]:
        """Takes the next entry; returns its result and the comparison that became due."""
        check(entry.index == self.applied_index + 1, "entries are applied in order")
        self.applied_index = entry.index
        self.bytes_since_snapshot += entry.size_bytes
        result: ResultT | None = None
        if entry.kind is EntryKind.WITHHELD:
            self.is_blind = True
        elif entry.kind is EntryKind.COMMAND and not self.is_blind:
            if entry.data[:1] == _MARK:
                self.control.apply(entry.data)
            else:
                result = self.machine.apply(entry.index, entry.term, entry.data)
        elif entry.kind is EntryKind.CONFIGURATION:
            self.control.keep_members(Configuration.from_bytes(entry.data))
        due: HashCheck | None = None
        if entry.index % HASH_INTERVAL == 0 and not self.is_blind:
            due = self.control.record_hash(entry.index, self.machine.state_hash)
        return result, due

    def freeze(self) -> tuple[dict[str, object], Iterator[bytes]]:
        """The state as it is now, for a snapshot."""
        self.bytes_since_snapshot = 0
        return self.control.to_fields(), self.machine.snapshot()

    def restore(self, index: LogIndex, control: dict[str, object], chunks: Iterable[bytes]) -> None:
        """Replaces the state by a snapshot of `index`.

        Raises:
            ValueError, SnapshotCorrupt: it is no state.
        """
        self.machine.restore(chunks)
        self.control.restore(control)
        self.applied_index = index
        self.bytes_since_snapshot = 0


_MARK = bytes([CONTROL_MARK])
