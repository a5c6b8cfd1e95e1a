"""Reading a log back: every segment from the first, up to the last whole batch.

Owns the replay of records and the judgement of damage. Never writes: what is to be cut is
said, not done. Used at start, and by the offline tools.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from neuro.cluster.disk import Disk
from neuro.cluster.wal_format import (
    Base,
    Batch,
    Record,
    Reset,
    SegmentHead,
    WalCorrupt,
    is_torn,
    nonce_of,
    read_batch,
)
from neuro.raft import EMPTY_BASE, Entry, HardState, LogIndex, SnapshotMeta

_NAME: Final = re.compile(r"wal-(\d{12})\.log")


def segment_name(sequence: int) -> str:
    """The file of that segment; sequences begin with 1."""
    return f"wal-{sequence:012d}.log"


@dataclass(slots=True)
class Segment:
    """One segment as found, or as written so far."""

    sequence: int
    nonce: int
    size_bytes: int
    used_bytes: int
    last_index: LogIndex = 0
    """The largest index of an entry in it that may still be needed."""

    @property
    def name(self) -> str:
        """Its file's name."""
        return segment_name(self.sequence)


@dataclass(slots=True)
class Recovered:
    """What the log says, and where it goes on."""

    disk_id: str = ""
    base: SnapshotMeta = EMPTY_BASE
    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    previous_crc: int = 0
    torn_bytes: int = 0
    """Bytes at the end of the last segment that a crash left half written."""


def segment_sequences(disk: Disk) -> list[int]:
    """Sequences of the segments on the disk, rising."""
    matches = (_NAME.fullmatch(name) for name in disk.names())
    return sorted(int(match[1]) for match in matches if match)


def recover(disk: Disk) -> Recovered:
    """Replays the log.

    Raises:
        WalCorrupt: damage before the torn tail, with file and offset.
    """
    found = Recovered()
    for _, batch in walk(disk, found):
        for record in batch.records:
            _replay(found, record, batch.offset)
    if found.entries and found.entries[0].index > found.base.index + 1:
        raise WalCorrupt(
            f"entries {found.base.index + 1} to {found.entries[0].index - 1} are missing",
            file=found.segments[0].name,
        )
    return found


def walk(disk: Disk, found: Recovered) -> Iterator[tuple[Segment, Batch]]:
    """Every whole batch in order, noting segments and the chain in `found`.

    Raises:
        WalCorrupt: damage before the torn tail, with file and offset.
    """
    sequences = segment_sequences(disk)
    for position, sequence in enumerate(sequences):
        name = segment_name(sequence)
        if sequence != sequences[0] + position:
            raise WalCorrupt(
                f"the segment before `{name}` is missing", file=segment_name(sequence - 1)
            )
        content = _read_all(disk, name)
        segment = Segment(sequence, nonce_of(content), len(content), 0)
        found.segments.append(segment)
        yield from _walk_segment(content, segment, found, is_last=sequence == sequences[-1])


def _walk_segment(
    content: bytes, segment: Segment, found: Recovered, *, is_last: bool
) -> Iterator[tuple[Segment, Batch]]:
    is_first = len(found.segments) == 1
    while True:
        offset = segment.used_bytes
        batch = read_batch(content, offset, segment.nonce)
        if batch is None:
            break
        if batch.previous_crc != found.previous_crc and not (is_first and offset == 0):
            raise WalCorrupt(
                f"`{segment.name}` at byte {offset}: not the batch that was written here last",
                file=segment.name,
                offset=offset,
            )
        if offset == 0:
            _check_head(batch, segment, found)
        found.previous_crc = batch.crc
        segment.used_bytes = batch.end
        yield segment, batch
    rest_bytes = len(content[segment.used_bytes :].rstrip(b"\0"))
    if segment.used_bytes and not rest_bytes:
        return
    if is_last and segment.used_bytes and is_torn(content, segment.used_bytes):
        found.torn_bytes = rest_bytes
        return
    raise WalCorrupt(
        f"`{segment.name}` is damaged at byte {segment.used_bytes}; the member must be "
        "removed from its group and added again with an empty directory and a new id",
        file=segment.name,
        offset=segment.used_bytes,
    )


def _check_head(batch: Batch, segment: Segment, found: Recovered) -> None:
    head = batch.records[0] if batch.records else None
    if isinstance(head, SegmentHead) and head.sequence == segment.sequence:
        if not found.disk_id:
            found.disk_id, found.base, found.hard_state = head.disk_id, head.base, head.hard_state
        if head.disk_id == found.disk_id:
            return
    raise WalCorrupt(f"`{segment.name}` belongs to another log", file=segment.name)


def _replay(found: Recovered, record: Record, offset: int) -> None:
    segment = found.segments[-1]
    if isinstance(record, Entry):
        _replay_entry(found, record, offset)
        segment.last_index = max(segment.last_index, record.index)
    elif isinstance(record, HardState):
        found.hard_state = record
    elif isinstance(record, Reset):
        found.base = record.base
        found.entries.clear()
        for known in found.segments:
            known.last_index = 0
    elif isinstance(record, Base):
        entries = found.entries
        found.base = record.base
        if entries:
            del entries[: max(0, record.base.index + 1 - entries[0].index)]


def _replay_entry(found: Recovered, entry: Entry, offset: int) -> None:
    entries = found.entries
    if entries and entry.index <= entries[-1].index:
        del entries[max(0, entry.index - entries[0].index) :]
    if entry.index <= found.base.index or (entries and entry.index != entries[-1].index + 1):
        name = found.segments[-1].name
        raise WalCorrupt(
            f"`{name}` at byte {offset}: entry {entry.index} does not follow",
            file=name,
            offset=offset,
        )
    entries.append(entry)


def _read_all(disk: Disk, name: str) -> bytes:
    file = disk.open(name)
    try:
        return file.read(0, file.size_bytes)
    finally:
        file.close()
