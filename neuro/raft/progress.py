"""What a leader knows of one peer: an explicit machine of probe, replicate and snapshot.

Owns match and next index, the inflight window and the acknowledged round. Never sends.

    PROBE      one append at a time, until the logs are known to meet
    REPLICATE  pipelined: next index runs ahead of acknowledgements, within the window
    SNAPSHOT   nothing is sent until the snapshot is acknowledged, refused or overdue

`next_index > match_index` always; the match index never goes back within a term.

Source: dissertation sections 3.5, 10.2.1 (pipelining).
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from neuro.checks import check
from neuro.raft.types import LogIndex


class ProgressState(IntEnum):
    """How entries travel to a peer."""

    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


class Inflight:
    """Appends that were sent and not acknowledged, bounded in count and bytes."""

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_sent")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._sent: deque[tuple[LogIndex, int]] = deque()
        self._bytes = 0
        self._count_max = count_max
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def size_bytes(self) -> int:
        """Bytes under way."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """True when nothing more may be sent; one append may overshoot the byte bound."""
        return len(self._sent) >= self._count_max or self._bytes >= self._bytes_max

    def add(self, last: LogIndex, size_bytes: int) -> None:
        """Notes an append that ends at `last`."""
        check(not self.is_full, "the window has room")
        check(not self._sent or last > self._sent[-1][0], "appends go out in order")
        self._sent.append((last, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: LogIndex) -> None:
        """Forgets appends that end at or before `index`."""
        while self._sent and self._sent[0][0] <= index:
            self._bytes -= self._sent.popleft()[1]

    def clear(self) -> None:
        """Forgets all."""
        self._sent.clear()
        self._bytes = 0


class Progress:
    """One peer as the leader sees it."""

    __slots__ = (
        "acked_round",
        "heard_ms",
        "inflight",
        "is_probe_out",
        "match_index",
        "must_poke",
        "next_index",
        "sent_commit",
        "snapshot_index",
        "snapshot_sent_ms",
        "state",
    )

    def __init__(self, next_index: LogIndex, inflight: Inflight, now: int) -> None:
        self.state = ProgressState.PROBE
        self.match_index: LogIndex = 0
        self.next_index: LogIndex = next_index
        self.inflight = inflight
        self.heard_ms = now
        self.acked_round = 0
        self.is_probe_out = False
        self.must_poke = False
        self.sent_commit: LogIndex = 0
        self.snapshot_index: LogIndex = 0
        self.snapshot_sent_ms = 0

    def become_probe(self) -> None:
        """Back to one append at a time; after a snapshot, from where that ended."""
        floor = self.match_index
        if self.state is ProgressState.SNAPSHOT:
            floor = max(floor, self.snapshot_index)
        self.state = ProgressState.PROBE
        self.next_index = floor + 1
        self.snapshot_index = 0
        self.is_probe_out = False
        self.inflight.clear()

    def become_replicate(self) -> None:
        """Pipelining from the match index."""
        self.state = ProgressState.REPLICATE
        self.next_index = self.match_index + 1
        self.snapshot_index = 0
        self.is_probe_out = False
        self.inflight.clear()

    def become_snapshot(self, index: LogIndex, now: int) -> None:
        """A snapshot up to `index` is on its way."""
        self.state = ProgressState.SNAPSHOT
        self.snapshot_index = index
        self.snapshot_sent_ms = now
        self.is_probe_out = False
        self.inflight.clear()

    def note_sent(self, last: LogIndex, size_bytes: int) -> None:
        """Entries up to `last` were sent."""
        if self.state is ProgressState.REPLICATE:
            self.inflight.add(last, size_bytes)
            self.next_index = last + 1
        check(self.next_index > self.match_index, "next index is above match index")

    def acknowledge(self, match: LogIndex) -> bool:
        """The peer holds everything up to `match` durably; True when that is news.

        A late or duplicated acknowledgement never takes the match index back.
        """
        is_news = match > self.match_index
        if is_news:
            self.match_index = match
        self.next_index = max(self.next_index, match + 1)
        self.inflight.free_to(match)
        return is_news

    def reject(self, rejected: LogIndex, hint: LogIndex) -> bool:
        """The peer refused an append after `rejected`; True unless that is stale news.

        `hint` is the last position where the logs may still meet.
        """
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match_index:
                return False
            self.become_probe()
            return True
        if self.state is ProgressState.SNAPSHOT or rejected != self.next_index - 1:
            return False
        self.next_index = max(min(rejected, hint + 1), self.match_index + 1)
        self.is_probe_out = False
        return True

    @property
    def is_streaming(self) -> bool:
        """True while entries are pipelined."""
        return self.state is ProgressState.REPLICATE

    @property
    def is_paused(self) -> bool:
        """True when nothing may be sent now."""
        if self.state is ProgressState.PROBE:
            return self.is_probe_out
        if self.state is ProgressState.REPLICATE:
            return self.inflight.is_full
        return True
