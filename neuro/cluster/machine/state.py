"""The state itself: records, their order, leases, sessions, history, time.

Owns the few steps by which records change, so that order, leases and sizes always fit them. Never
judges a command: `execution` does.
"""

from __future__ import annotations

from neuro.cluster.machine.history import Change, History, Record, make_group
from neuro.cluster.machine.leases import Leases
from neuro.cluster.machine.limits import RECORD_OVERHEAD_BYTES
from neuro.cluster.machine.ordered_keys import OrderedKeys
from neuro.cluster.machine.sessions import Sessions

CHAIN_START = bytes(16)


class State:
    """Everything that a snapshot holds."""

    __slots__ = (
        "applied_index",
        "chain",
        "history",
        "keys",
        "leases",
        "records",
        "sessions",
        "size_bytes",
        "time_ms",
    )

    def __init__(self) -> None:
        self.applied_index = 0
        self.chain = CHAIN_START
        self.time_ms = 0
        self.records: dict[str, Record] = {}
        self.keys = OrderedKeys()
        self.history = History()
        self.leases = Leases()
        self.sessions = Sessions()
        self.size_bytes = 0

    @property
    def revision(self) -> int:
        """Rises by one with each command that changes a key."""
        return self.history.revision

    def put(self, key: str, value: bytes, lease: int, revision: int) -> Change:
        """Sets a key as of `revision`; the caller puts the change into the history."""
        previous = self.records.get(key)
        if previous is None:
            record = Record(value, revision, revision, 1, lease)
            self.keys.add(key)
            self.size_bytes += measure(key, record)
        else:
            record = Record(value, previous.create_revision, revision, previous.version + 1, lease)
            self.size_bytes += len(value) - len(previous.value)
            if previous.lease != lease:
                self.leases.detach(previous.lease, key)
        if previous is None or previous.lease != lease:
            self.leases.attach(lease, key)
        self.records[key] = record
        return Change(key, record, previous)

    def delete(self, key: str) -> Change:
        """Removes a key that exists; the caller puts the change into the history."""
        previous = self.records.pop(key)
        self.keys.remove(key)
        self.leases.detach(previous.lease, key)
        self.size_bytes -= measure(key, previous)
        return Change(key, None, previous)

    def commit(self, changes: list[Change]) -> None:
        """Makes the changes of one command the next revision; none, and it stays."""
        if changes:
            self.history.append(make_group(self.revision + 1, tuple(changes)))


def measure(key: str, record: Record) -> int:
    """Bytes that a record counts for."""
    return len(key.encode()) + len(record.value) + RECORD_OVERHEAD_BYTES
