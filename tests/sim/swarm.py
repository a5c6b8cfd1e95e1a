"""The shape of a run, drawn from its seed: size, limits, faults switched on.

Owns the draw. Never changes during a run. Leaving some faults out of some runs finds more
than having all in every run (Groce et al., "Swarm Testing", 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from neuro.raft import Options

FAULTS = (
    "crash",
    "crash_all",
    "pause",
    "partition",
    "isolate_leader",
    "one_way",
    "bridge",
    "clog",
    "weather",
    "disk_slow",
    "disk_hang",
    "disk_eio",
    "wipe",
    "clock_jump",
    "clock_freeze",
    "clock_drift",
    "transfer",
    "member_add",
    "member_remove",
    "member_replace",
    "member_learner",
    "member_demote",
    "member_witness",
    "snapshot",
    "unreachable",
    "campaign",
    "burst",
    "usurp",
    "stall_leader",
    "transfer_cut",
)


@dataclass(frozen=True)
class Swarm:
    """One run's shape."""

    voter_count: int
    options: Options
    faults: tuple[str, ...]
    fault_gap_ms: int
    snapshot_every: int
    entry_count_kept: int
    client_count: int
    is_pre_vote_mixed: bool
    key_count: int
    think_ms_max: int


def draw_swarm(chance: Random) -> Swarm:
    """The shape of the run whose stream of chance this is."""
    lease_reads = chance.randrange(4) == 0
    faults = tuple(name for name in FAULTS if chance.randrange(100) < 55)
    if lease_reads:
        faults = tuple(name for name in faults if name not in ("clock_jump", "clock_freeze"))
    options = Options(
        heartbeat_ms=100,
        election_timeout_ms_min=500,
        election_timeout_ms_max=1_000,
        pre_vote=chance.randrange(4) != 0,
        lease_reads=lease_reads,
        append_bytes_max=chance.choice((200, 1_000, 1 << 20)),
        inflight_count_max=chance.choice((1, 3, 64)),
        inflight_bytes_max=chance.choice((600, 1 << 20)),
        uncommitted_bytes_max=chance.choice((8_000, 1 << 20)),
        entry_bytes_max=4_000,
        apply_bytes_max=chance.choice((300, 1 << 20)),
        promotion_lag_max=chance.choice((0, 4, 64)),
        snapshot_timeout_ms=1_000,
        disk_stall_ms_max=1_500,
    )
    return Swarm(
        voter_count=chance.choice((1, 2, 3, 3, 3, 3, 4, 5, 5, 5)),
        options=options,
        faults=faults,
        fault_gap_ms=chance.choice((150, 400, 400, 1_000)),
        snapshot_every=chance.choice((5, 20, 60, 10_000)),
        entry_count_kept=chance.choice((0, 3, 20)),
        client_count=chance.choice((2, 4, 6)),
        is_pre_vote_mixed=chance.randrange(4) == 0,
        key_count=chance.choice((1, 2, 5)),
        think_ms_max=chance.choice((50, 200, 600)),
    )
