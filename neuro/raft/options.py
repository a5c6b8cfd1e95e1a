"""The core's tunables: times in monotonic milliseconds, bounds in bytes or counts.

Owns the numbers and the reasons for them. Never changes while a node runs.

Source: dissertation section 9.3 (election timeouts), 10.2 (pipelining and batching).
"""

from __future__ import annotations

from dataclasses import dataclass

from neuro.checks import check


@dataclass(frozen=True, slots=True)
class Options:
    """How one node behaves; every member should run with the same times."""

    heartbeat_ms: int = 100
    """Ten heartbeats fit in the shortest election timeout: losing a few is harmless."""
    election_timeout_ms_min: int = 1_000
    election_timeout_ms_max: int = 2_000
    """The spread makes split votes rare (dissertation figure 9.1)."""
    pre_vote: bool = True
    lease_reads: bool = False
    """Serve reads from the leader lease; relies on bounded clock drift."""
    lease_drift_percent: int = 20
    """The lease is this much shorter than the shortest election timeout."""
    append_bytes_max: int = 1 << 20
    """One append; a single larger entry still travels alone."""
    inflight_count_max: int = 64
    inflight_bytes_max: int = 16 << 20
    """Per follower, unacknowledged: covers a long fat pipe without flooding a slow peer."""
    uncommitted_bytes_max: int = 64 << 20
    """The leader's tail that no quorum has: past this, proposals are refused."""
    apply_bytes_max: int = 4 << 20
    """Committed entries handed out in one Ready; the rest follows in the next."""
    entry_bytes_max: int = 8 << 20
    reads_pending_max: int = 100_000
    forwards_pending_max: int = 10_000
    promotion_lag_max: int = 64
    """A promotable learner this close to the leader's log becomes a voter."""
    snapshot_timeout_ms: int = 30_000
    """A snapshot that was not acknowledged by then is offered again."""
    disk_stall_ms_max: int = 4_000
    """A leader whose own write takes longer gives up leadership."""

    def __post_init__(self) -> None:
        check(0 < self.heartbeat_ms < self.election_timeout_ms_min, "heartbeat below timeout")
        check(self.election_timeout_ms_min < self.election_timeout_ms_max, "timeouts spread")
        check(0 <= self.lease_drift_percent < 100, "drift is a share")
        check(self.append_bytes_max > 0, "appends carry something")
        check(self.inflight_count_max > 0, "something may be in flight")
        check(self.inflight_bytes_max > 0, "something may be in flight")
        check(self.entry_bytes_max <= self.uncommitted_bytes_max, "one entry fits the tail")

    @property
    def lease_ms(self) -> int:
        """How long after the start of an acknowledged round the leader may answer alone."""
        return self.election_timeout_ms_min * (100 - self.lease_drift_percent) // 100
