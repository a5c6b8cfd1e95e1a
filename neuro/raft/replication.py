"""Replication: appends, acknowledgements, commitment, heartbeats and snapshots to peers.

Owns what the leader sends to whom and when, and how a follower takes it. Never grants
votes. Entries are not sent when they are proposed but when the next Ready is taken, so
that any number of proposals share one append to each peer and one write.

Source: dissertation sections 3.5, 3.6.2, 5.3, 10.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from neuro.checks import check
from neuro.raft import election, membership, quorum, reading, transfer
from neuro.raft.core import Core, Role
from neuro.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
)
from neuro.raft.progress import Progress, ProgressState
from neuro.raft.types import NOBODY, Entry, EntryKind, LogIndex, NodeId


def append_as_leader(core: Core, kind: EntryKind, payloads: Sequence[bytes]) -> LogIndex:
    """Adds entries of the current term; returns the index of the first."""
    check(core.role is Role.LEADER, "only a leader appends on its own")
    first = core.log.last_index + 1
    term = core.term
    core.log.append(
        tuple(Entry(first + offset, term, kind, data) for offset, data in enumerate(payloads))
    )
    return first


def flush(core: Core) -> None:
    """Sends every peer what it may have now.

    A witness gets only what is durable here. Otherwise a crash of this member could leave a
    witness with the longest log: it can not lead, nobody else could win its vote, and the
    group would be stuck for ever.
    """
    log = core.log
    last = log.last_index
    witnesses = log.configuration.witnesses
    for peer, progress in core.progress.items():
        sendable = min(last, log.stable_index) if peer in witnesses else last
        _send_appends(core, peer, progress, sendable)


def start_round(core: Core) -> None:
    """Begins a heartbeat round: acknowledging it proves leadership after this moment.

    Source: dissertation sections 6.4 step 3, and 3.4 for heartbeats.
    """
    core.round += 1
    core.round_started_ms[core.round] = core.now
    core.heartbeat_due_ms = core.now + core.options.heartbeat_ms
    for peer, progress in core.progress.items():
        commit = min(core.log.commit_index, progress.match_index)
        core.send(Heartbeat(core.id, peer, core.term, commit, core.round))


def on_tick(core: Core) -> None:
    """Heartbeats that are due, and snapshots nobody acknowledged."""
    if core.now >= core.heartbeat_due_ms:
        start_round(core)
        timeout_ms = core.options.snapshot_timeout_ms
        for progress in core.progress.values():
            is_snapshot = progress.state is ProgressState.SNAPSHOT
            if is_snapshot and core.now - progress.snapshot_sent_ms > timeout_ms:
                progress.snapshot_index = 0
                progress.become_probe()


def on_append(core: Core, message: Append) -> None:
    """Takes the leader's entries if the logs meet at `prev`, else says where they may.

    Source: dissertation figure 3.1, AppendEntries; back-off by term, section 3.5.
    """
    note_leader(core, message.sender)
    log = core.log
    if message.prev_index < log.commit_index:
        # Old news: everything up to the commit index matches the leader by definition.
        _acknowledge(core, message.sender, log.commit_index, message.round)
        return
    if log.matches(message.prev_index, message.prev_term):
        last = log.merge(message.entries) or message.prev_index
        log.commit_to(min(message.commit, last))
        _acknowledge(core, message.sender, last, message.round)
        return
    hint = log.store.last_with_term_at_most(message.prev_index, message.prev_term)
    core.send_after_persist(
        AppendReply(
            core.id,
            message.sender,
            core.term,
            match_index=0,
            round=message.round,
            rejected=True,
            rejected_index=message.prev_index,
            hint_index=hint,
            hint_term=log.store.term_at(hint) or 0,
        )
    )


def on_heartbeat(core: Core, message: Heartbeat) -> None:
    """Learns that the leader lives and how far it committed."""
    note_leader(core, message.sender)
    core.log.commit_to(message.commit)
    reply = HeartbeatReply(core.id, message.sender, core.term, message.round)
    if core.durable_term == core.term:
        # Entries still on their way to a slow disk do not make this follower look dead.
        core.send(reply)
    else:
        core.send_after_persist(reply)


def on_install_snapshot(core: Core, message: InstallSnapshot) -> None:
    """Replaces the log unless it already holds what the snapshot covers.

    Source: dissertation figure 5.3.
    """
    note_leader(core, message.sender)
    log, snapshot = core.log, message.snapshot
    if snapshot.index <= log.commit_index:
        _acknowledge(core, message.sender, log.commit_index, message.round)
        return
    if log.matches(snapshot.index, snapshot.term):
        log.commit_to(snapshot.index)
    else:
        log.install(snapshot)
        log.has_withheld = message.witness
        core.snapshot = snapshot
    _acknowledge(core, message.sender, snapshot.index, message.round)


def on_append_reply(core: Core, message: AppendReply) -> None:
    """Moves the peer's progress, and the commit index when a quorum allows it."""
    progress = core.progress.get(message.sender)
    if core.role is not Role.LEADER or progress is None:
        return
    _note_alive(core, progress, message.round)
    if message.rejected:
        hint = core.log.store.last_with_term_at_most(message.hint_index, message.hint_term)
        progress.reject(message.rejected_index, hint)
    else:
        on_match(core, message.sender, progress, message.match_index)
    reading.confirm(core)


def on_match(core: Core, peer: NodeId, progress: Progress, match: LogIndex) -> None:
    """The peer holds everything up to `match` durably."""
    check(match <= core.log.last_index, "a follower acknowledges only what it was sent")
    is_news = progress.acknowledge(match)
    is_log_enough = match + 1 >= core.log.first_index
    if progress.state is ProgressState.PROBE or (
        progress.state is ProgressState.SNAPSHOT and is_log_enough
    ):
        progress.become_replicate()
    if is_news:
        maybe_commit(core)
    if core.role is Role.LEADER:
        transfer.on_match(core, peer, progress)
        membership.promote_caught_up(core)


def on_heartbeat_reply(core: Core, message: HeartbeatReply) -> None:
    """The peer is alive: probe again, and look for appends that were lost."""
    progress = core.progress.get(message.sender)
    if core.role is not Role.LEADER or progress is None:
        return
    _note_alive(core, progress, message.round)
    progress.is_probe_out = False
    if progress.state is ProgressState.REPLICATE and progress.match_index < core.log.last_index:
        progress.must_poke = True
    reading.confirm(core)


def note_leader(core: Core, leader: NodeId) -> None:
    """The leader of this term was heard: follow it, and wait a full timeout again."""
    check(core.role is not Role.LEADER, "one leader a term")
    if core.role is not Role.FOLLOWER or core.leader != leader:
        check(core.leader in (NOBODY, leader), "one leader a term")
        election.become_follower(core, core.term, leader)
    core.leader_heard_ms = core.now
    core.reset_election_deadline()


def maybe_commit(core: Core) -> None:
    """Commits what a quorum holds, if it ends in an entry of this term.

    Counting copies of older terms' entries would not be safe (figure 3.7 of the source).

    Source: dissertation section 3.6.2.
    """
    log = core.log
    agreed = quorum.quorum_value(
        log.configuration, core.peer_values("match_index", log.stable_index)
    )
    if agreed > log.commit_index and log.store.term_at(agreed) == core.term:
        log.commit_to(agreed)
        reading.start_waiting(core)
        membership.on_commit(core)


def _send_appends(core: Core, peer: NodeId, progress: Progress, last: LogIndex) -> None:
    """Sends a peer entries up to `last`, as far as its state and window allow."""
    if progress.state is ProgressState.PROBE:
        if not progress.is_probe_out:
            _send_append(core, peer, progress, last)
        return
    if progress.state is ProgressState.SNAPSHOT:
        return
    while progress.next_index <= last and not progress.is_paused:
        _send_append(core, peer, progress, last)
    is_behind = progress.must_poke or progress.sent_commit < core.log.commit_index
    if progress.is_streaming and is_behind:
        _send_append(core, peer, progress, 0)


def _send_append(core: Core, peer: NodeId, progress: Progress, last: LogIndex) -> None:
    log = core.log
    prev_index = progress.next_index - 1
    prev_term = log.store.term_at(prev_index)
    if prev_term is None:
        _send_snapshot(core, peer, progress)
        return
    entries: tuple[Entry, ...] = ()
    if progress.next_index <= last:
        entries = log.store.entries(progress.next_index, last, core.options.append_bytes_max)
        size_bytes = log.store.size_bytes(entries[0].index, entries[-1].index)
        progress.note_sent(entries[-1].index, size_bytes)
        if peer in log.configuration.witnesses:
            entries = tuple(_withhold(entry) for entry in entries)
    progress.is_probe_out = progress.state is ProgressState.PROBE
    progress.must_poke = False
    progress.sent_commit = log.commit_index
    core.send(
        Append(
            core.id, peer, core.term, prev_index, prev_term, entries, log.commit_index, core.round
        )
    )


def _send_snapshot(core: Core, peer: NodeId, progress: Progress) -> None:
    snapshot = core.snapshot
    check(snapshot is not None, "a compacted log has a snapshot")
    if snapshot is None:
        return
    check(snapshot.index >= core.log.store.base_index, "the snapshot reaches the log")
    progress.become_snapshot(snapshot.index, core.now)
    is_witness = peer in core.log.configuration.witnesses
    core.send(InstallSnapshot(core.id, peer, core.term, snapshot, core.round, is_witness))


def _withhold(entry: Entry) -> Entry:
    """A witness keeps positions and configurations, not data."""
    if entry.kind is not EntryKind.COMMAND:
        return entry
    return replace(entry, kind=EntryKind.WITHHELD, data=b"")


def _acknowledge(core: Core, leader: NodeId, match: LogIndex, round_: int) -> None:
    core.send_after_persist(AppendReply(core.id, leader, core.term, match, round_))


def _note_alive(core: Core, progress: Progress, round_: int) -> None:
    progress.heard_ms = core.now
    progress.acked_round = max(progress.acked_round, round_)
