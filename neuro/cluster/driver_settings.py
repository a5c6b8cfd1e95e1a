"""The tunables of one member's shell: bytes, counts and milliseconds.

Owns the numbers and the reasons for them; those of the core are in `neuro.raft.options`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DriverSettings:
    """When a member snapshots, compacts and refuses; bytes and counts."""

    snapshot_entry_count: int = 50_000
    snapshot_log_bytes: int = 64 << 20
    """A snapshot is taken when so much was applied since the last one."""
    entry_count_kept: int = 5_000
    """Entries kept behind a snapshot for peers that are a little behind."""
    space_reserve_bytes: int = 64 << 20
    """With less room than this, only commands that free space are taken."""
    proposals_pending_max: int = 100_000
    housekeeping_ms: int = 1_000
