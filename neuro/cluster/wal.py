"""The write-ahead log: what a member promised, durable before anybody hears of it.

Owns the segments of one member and the position of the next write. Never decides what is
written or when; never retries: after a failed write or sync nobody knows what the disk holds
(the kernel may have dropped the pages and forgotten the error), so the log refuses everything
from then on and the member ends. The exception is room: it is taken before a byte is written,
so `DiskFull` changes nothing and the same records may be tried again.

One `commit` is one write and one sync, however many Readies it covers.

Source: Rebello et al., "Can Applications Recover from fsync Failures?" (ATC 2020).
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

from neuro.cluster.disk import Disk, DiskFile, DiskFull
from neuro.cluster.wal_format import (
    HEADER_BYTES,
    Base,
    Record,
    Reset,
    SegmentHead,
    body_crc,
    encode_records,
    frame_batch,
)
from neuro.cluster.wal_recovery import Recovered, Segment, recover, segment_name
from neuro.errors import NeuroCacheError
from neuro.raft import Entry, HardState, SnapshotMeta

SEGMENT_BYTES: Final = 16 << 20
"""Zeroed in a few tens of milliseconds, off the path of any write."""
SPARE_NAME: Final = "wal-spare"
DRAFT_NAME: Final = "wal-draft"
SYNC_SAMPLE_COUNT: Final = 1_024


class WalFailed(NeuroCacheError):
    """An earlier write or sync failed; what the disk holds is unknown until a restart."""

    code = "wal_failed"


@dataclass(frozen=True, slots=True)
class WalStatus:
    """Figures for operators; times in microseconds over the last `SYNC_SAMPLE_COUNT` syncs."""

    segment_count: int
    size_bytes: int
    sync_count: int
    sync_us_p50: int
    sync_us_p99: int


class Wal:
    """One member's log; every method but `prepare_spare` and `status` is for one thread."""

    def __init__(
        self, disk: Disk, found: Recovered, segment_bytes: int, file: DiskFile | None
    ) -> None:
        self._disk = disk
        self._disk_id = found.disk_id
        self._base = found.base
        self._hard_state = found.hard_state
        self._segments = found.segments
        self._previous_crc = found.previous_crc
        self._segment_bytes = segment_bytes
        self._file = file
        self._spare: DiskFile | None = None
        self._failure: OSError | None = None
        self._sync_count = 0
        self._sync_us: deque[int] = deque(maxlen=SYNC_SAMPLE_COUNT)

    @classmethod
    def create(
        cls, disk: Disk, disk_id: str, base: SnapshotMeta, segment_bytes: int = SEGMENT_BYTES
    ) -> Wal:
        """Begins a log after `base`, on a disk that has none.

        Raises:
            OSError, DiskFull: it is not begun.
        """
        wal = cls(disk, Recovered(disk_id=disk_id, base=base), segment_bytes, None)
        wal._roll(0)
        return wal

    @classmethod
    def open(cls, disk: Disk, segment_bytes: int = SEGMENT_BYTES) -> tuple[Wal, Recovered]:
        """Reads the log and makes it ready to go on; a torn tail is cut.

        Raises:
            WalCorrupt: it is damaged; nothing was changed.
            OSError: it can not be read, or the tail not be cut.
        """
        found = recover(disk)
        disk.remove(SPARE_NAME)
        disk.remove(DRAFT_NAME)
        last = found.segments[-1]
        file = disk.open(last.name)
        if found.torn_bytes:
            # Zeros, not a shorter file: the next write must find nothing but zeros behind it.
            file.write(last.used_bytes, bytes(found.torn_bytes))
            file.sync()
        return cls(disk, found, segment_bytes, file), found

    @property
    def needs_spare(self) -> bool:
        """True when `prepare_spare` would help: the next roll would wait for zeros."""
        return self._spare is None and self._failure is None

    def prepare_spare(self) -> None:
        """Makes the next segment's file; for another thread, one call at a time.

        It is also the reserve that lets deletes and votes be written when the disk is full.

        Raises:
            DiskFull: no room for it.
            OSError: it can not be made.
        """
        if self._spare is not None:
            return
        file = self._disk.create(SPARE_NAME)
        try:
            file.allocate(self._segment_bytes)
        except BaseException:
            file.close()
            self._disk.remove(SPARE_NAME)
            raise
        self._spare = file

    def commit(self, records: list[Record]) -> None:
        """Writes the records as one batch, durable on return.

        Nothing is ever written without a sync: a whole batch proves that all before it were
        durable, which is how damage is told from tearing.

        Raises:
            DiskFull: nothing was written; may be tried again.
            OSError, WalFailed: the log is over for this process.
        """
        if self._failure is not None:
            raise WalFailed("the log failed before") from self._failure
        body = encode_records(records)
        size_bytes = HEADER_BYTES + len(body) + HEADER_BYTES
        try:
            if self._segments[-1].used_bytes + size_bytes > self._segments[-1].size_bytes:
                self._roll(size_bytes)
            self._write(body, len(records))
            self._sync()
        except OSError as error:
            self._failure = error
            raise
        for record in records:
            self._note(record)

    def remove_unneeded(self) -> int:
        """Removes segments that lie wholly below the base; returns how many.

        For after the commit of a Base or Reset. The oldest goes first, so that a crash
        leaves no gap.

        Raises:
            OSError: a file can not be removed.
        """
        count = 0
        while len(self._segments) > 1 and self._segments[0].last_index <= self._base.index:
            self._disk.remove(self._segments[0].name)
            del self._segments[0]
            count += 1
        return count

    def status(self) -> WalStatus:
        """Figures for operators."""
        times = sorted(self._sync_us) or [0]
        return WalStatus(
            segment_count=len(self._segments),
            size_bytes=sum(segment.size_bytes for segment in tuple(self._segments)),
            sync_count=self._sync_count,
            sync_us_p50=times[len(times) // 2],
            sync_us_p99=times[len(times) * 99 // 100],
        )

    def close(self) -> None:
        """Lets go of the files, without a sync; the next start removes the spare."""
        for file in (self._file, self._spare):
            if file is not None:
                file.close()
        self._file = self._spare = None

    def _write(self, body: bytes, count: int) -> None:
        segment = self._segments[-1]
        batch = frame_batch(segment.nonce, segment.used_bytes, count, self._previous_crc, body)
        if self._file is None:
            raise WalFailed("the log is closed")
        self._file.write(segment.used_bytes, batch)
        segment.used_bytes += len(batch)
        self._previous_crc = body_crc(batch)

    def _sync(self) -> None:
        if self._file is None:
            raise WalFailed("the log is closed")
        started_ns = time.perf_counter_ns()
        self._file.sync()
        self._sync_count += 1
        self._sync_us.append((time.perf_counter_ns() - started_ns) // 1_000)

    def _roll(self, room_bytes: int) -> None:
        """Goes on in a new segment, whose head is durable before its name is."""
        sequence = self._segments[-1].sequence + 1 if self._segments else 1
        head = SegmentHead(self._disk_id, sequence, self._base, self._hard_state)
        body = encode_records([head])
        needed_bytes = room_bytes + len(body) + 2 * HEADER_BYTES
        size_bytes = max(self._segment_bytes, needed_bytes)
        file = self._take_file(size_bytes)
        if self._file is not None:
            self._file.close()
        self._file = file
        self._segments.append(Segment(sequence, _new_nonce(), size_bytes, 0))
        self._write(body, 1)
        self._sync()
        self._disk.rename(DRAFT_NAME, segment_name(sequence))
        self._disk.sync_directory()

    def _take_file(self, size_bytes: int) -> DiskFile:
        spare, self._spare = self._spare, None
        if spare is not None:
            self._disk.rename(SPARE_NAME, DRAFT_NAME)
            file = spare
        else:
            file = self._disk.create(DRAFT_NAME)
        try:
            file.allocate(size_bytes)
        except DiskFull:
            file.close()
            self._disk.remove(DRAFT_NAME)
            raise
        return file

    def _note(self, record: Record) -> None:
        if isinstance(record, Entry):
            segment = self._segments[-1]
            segment.last_index = max(segment.last_index, record.index)
        elif isinstance(record, HardState):
            self._hard_state = record
        elif isinstance(record, Base):
            self._base = record.base
        elif isinstance(record, Reset):
            self._base = record.base
            for segment in self._segments:
                segment.last_index = 0


def _new_nonce() -> int:
    """Not zero, so that zeros are never a header."""
    return secrets.randbits(32) | 1
