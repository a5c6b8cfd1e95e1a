"""The simulated disk of one process: what is durable, and what a crash leaves of the rest.

Owns the durable image and the batch under way. Never decides when to write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from neuro.raft import Entry, HardState, Ready, SnapshotMeta
from tests.sim.machine import Machine


@dataclass(frozen=True)
class SnapshotFile:
    """A snapshot and its bytes, complete or absent."""

    meta: SnapshotMeta
    data: bytes


@dataclass(frozen=True)
class ResetLog:
    """The log now starts after a snapshot, empty unless it matches."""

    base: SnapshotMeta


@dataclass(frozen=True)
class CompactLog:
    """The log now starts after that position; the rest stays."""

    base: SnapshotMeta


@dataclass(frozen=True)
class TakeSnapshot:
    """A snapshot of the own state machine on its way to the disk."""

    file: SnapshotFile


Record: TypeAlias = SnapshotFile | ResetLog | CompactLog | Entry | HardState


@dataclass
class Image:
    """What is on the platter."""

    base: SnapshotMeta
    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    snapshot: SnapshotFile | None = None

    def term_at(self, index: int) -> int | None:
        """The term of the entry at that index, if it is here."""
        offset = index - self.base.index
        if 0 < offset <= len(self.entries):
            return self.entries[offset - 1].term
        return self.base.term if offset == 0 else None

    def holds(self, index: int, term: int) -> bool:
        """True when that committed position is here, as an entry or within a snapshot."""
        if self.snapshot is not None and self.snapshot.meta.index >= index:
            return True
        if index < self.base.index:
            return True
        return self.term_at(index) == term

    def finish_install(self) -> None:
        """Ends what a crash interrupted: a snapshot the log does not meet replaces the log."""
        if self.snapshot is None:
            return
        meta = self.snapshot.meta
        if meta.index > self.base.index and self.term_at(meta.index) != meta.term:
            self.base = meta
            self.entries.clear()

    def apply(self, record: Record) -> None:
        """Makes one record durable."""
        if isinstance(record, Entry):
            offset = record.index - self.base.index - 1
            if not 0 <= offset <= len(self.entries):
                raise AssertionError(f"entry {record.index} leaves a gap on the disk")
            del self.entries[offset:]
            self.entries.append(record)
        elif isinstance(record, HardState):
            self.hard_state = record
        elif isinstance(record, SnapshotFile):
            if self.snapshot is None or self.snapshot.meta.index < record.meta.index:
                self.snapshot = record
        elif isinstance(record, ResetLog):
            self.base = record.base
            self.entries.clear()
        else:
            count = record.base.index - self.base.index
            if 0 < count <= len(self.entries):
                del self.entries[:count]
                self.base = record.base


class Disk:
    """A durable image, and the batch that is being written."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.batch: list[Record] = []
        self.hung_until = 0
        self.slow_until = 0
        self.fails_next_sync = False

    def sync(self) -> None:
        """The batch is durable."""
        for record in self.batch:
            self.image.apply(record)
        self.batch.clear()

    def lose_power(self, chance: Random) -> int:
        """Keeps a random prefix of the batch; returns how many records were lost."""
        kept = chance.randrange(len(self.batch) + 1) if self.batch else 0
        lost = len(self.batch) - kept
        for record in self.batch[:kept]:
            self.image.apply(record)
        self.batch.clear()
        return lost


def gather(
    items: Sequence[Ready | TakeSnapshot | CompactLog], payloads: Mapping[tuple[int, int], bytes]
) -> tuple[list[Record], bool]:
    """The records of one group commit, and whether they need a sync.

    `payloads` holds the bytes of snapshots that came from the leader.
    """
    records: list[Record] = []
    must_sync = False
    for item in items:
        if isinstance(item, TakeSnapshot):
            records.append(item.file)
            must_sync = True
        elif isinstance(item, CompactLog):
            records.append(item)
        else:
            records.extend(_records_of(item, payloads))
            must_sync = must_sync or item.must_sync
    return records, must_sync


def _records_of(ready: Ready, payloads: Mapping[tuple[int, int], bytes]) -> list[Record]:
    """What a Ready makes durable, in the order that `neuro.raft` prescribes."""
    records: list[Record] = []
    if ready.snapshot is not None:
        meta = ready.snapshot
        data = payloads[meta.index, meta.term] or Machine.blind_at(meta.index).to_bytes()
        records += [SnapshotFile(meta, data), ResetLog(meta)]
    records.extend(ready.entries)
    if ready.hard_state is not None:
        records.append(ready.hard_state)
    return records
