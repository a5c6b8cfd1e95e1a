"""One member of a Raft group: the public face of the core.

Owns the cycle step/tick/propose -> ready -> advance. Never performs an effect: the shell
does, in the order written at the head of `neuro.raft`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from neuro.checks import check
from neuro.raft import (
    dispatch,
    election,
    membership,
    proposals,
    reading,
    replication,
    transfer,
)
from neuro.raft.configuration import Change, Configuration
from neuro.raft.core import Core, RandomSource, Role, Write
from neuro.raft.log import RaftLog
from neuro.raft.log_store import LogStore, MemoryLogStore
from neuro.raft.messages import Message
from neuro.raft.options import Options
from neuro.raft.progress import ProgressState
from neuro.raft.ready import Leadership, Ready
from neuro.raft.types import NOBODY, HardState, LogIndex, NodeId, RequestId, SnapshotMeta, Term

_LEADER_RULES: Final = (
    election.check_quorum,
    transfer.resign_if_disk_stalled,
    transfer.on_tick,
    replication.on_tick,
    membership.promote_caught_up,
)
"""What a leader does on a tick, as long as it still leads."""
EMPTY_BASE: Final = SnapshotMeta(0, 0, Configuration())
"""Where a member starts that joins a running group."""


def found_group(configuration: Configuration) -> SnapshotMeta:
    """Where every founder starts: a snapshot of the empty state machine at index 1.

    So the founders' configuration has a place in the log, and whoever joins learns it.
    """
    return SnapshotMeta(1, 1, configuration)


class Node:
    """A member; times are monotonic integer milliseconds and never go back.

    `base` is the position the log starts after and the configuration in force there. The
    founders of a group all start from `found_group`; a member that joins later starts from
    `EMPTY_BASE` and is sent a snapshot.
    """

    def __init__(
        self,
        node_id: NodeId,
        base: SnapshotMeta,
        random: RandomSource,
        now: int,
        *,
        options: Options | None = None,
        store: LogStore | None = None,
        hard_state: HardState | None = None,
        snapshot: SnapshotMeta | None = None,
    ) -> None:
        """Starts, or restarts from what was durable.

        Args:
            random: seeded generator; the only source of chance.
            store: the durable entries after `base`; owned by the node from now on.
            hard_state: the last one persisted.
            snapshot: the latest durable one; the state machine holds exactly that.
        """
        check(node_id > 0, "node ids are positive")
        store = store or MemoryLogStore((), base.index, base.term)
        hard_state = hard_state or HardState()
        if snapshot is None and base.index:
            snapshot = base
        if snapshot is not None and store.term_at(snapshot.index) != snapshot.term:
            # The crash came after the snapshot was installed, before the log was replaced.
            check(store.base_index < snapshot.index, "the snapshot reaches the log")
            store.reset(snapshot.index, snapshot.term)
            base = snapshot
        applied = snapshot.index if snapshot else 0
        log = RaftLog(store, base.configuration, max(hard_state.commit, applied), applied)
        if hard_state.term < log.last_term:
            # The crash came between entries and hard state: nothing was said in that term.
            hard_state = HardState(log.last_term, NOBODY, hard_state.commit)
        self._core = Core(node_id, options or Options(), log, hard_state, snapshot, random, now)
        self._number = 0
        self._advanced = 0
        self._is_dirty = False
        self._leadership = Leadership(hard_state.term, NOBODY, False)

    @property
    def id(self) -> NodeId:
        """This member's id."""
        return self._core.id

    @property
    def term(self) -> Term:
        """The current term, durable or not."""
        return self._core.term

    @property
    def role(self) -> Role:
        """What this member is doing."""
        return self._core.role

    @property
    def leader(self) -> NodeId:
        """The leader of the current term, 0 when unknown."""
        return self._core.leader

    @property
    def commit_index(self) -> LogIndex:
        """The last index known to be committed."""
        return self._core.log.commit_index

    @property
    def applied_index(self) -> LogIndex:
        """The last index handed out for application."""
        return self._core.log.applied_index

    @property
    def first_index(self) -> LogIndex:
        """The first index that is not compacted away."""
        return self._core.log.first_index

    @property
    def last_index(self) -> LogIndex:
        """The last index held."""
        return self._core.log.last_index

    @property
    def configuration(self) -> Configuration:
        """The configuration in force here."""
        return self._core.log.configuration

    @property
    def is_removed(self) -> bool:
        """True once a member said that this one is out of the group for good."""
        return self._core.is_removed

    @property
    def is_installing(self) -> bool:
        """True while a snapshot from the leader is not durable here yet."""
        return self._core.is_installing

    def step(self, message: Message, now: int) -> None:
        """Takes a message that arrived."""
        self._at(now)
        dispatch.dispatch(self._core, message)

    def tick(self, now: int) -> None:
        """Does what is due; call it at `next_deadline_ms`, or at any earlier time."""
        self._at(now)
        core = self._core
        reading.expire_forwarded(core)
        proposals.expire_forwarded(core)
        if core.role is not Role.LEADER:
            election.on_tick(core)
            return
        for rule in _LEADER_RULES:
            if core.role is Role.LEADER:
                rule(core)

    def next_deadline_ms(self) -> int:
        """The time of the next `tick` that may do something."""
        core = self._core
        if core.role is Role.LEADER:
            return core.heartbeat_due_ms
        due_ms = core.election_deadline_ms
        for waiting in (core.forwarded_reads, core.forwarded_proposals):
            if waiting:
                due_ms = min(due_ms, next(iter(waiting.values())))
        return due_ms

    def propose(self, payloads: Sequence[bytes], now: int) -> RequestId:
        """Proposes commands as one batch; see `proposals.propose`."""
        self._at(now)
        return proposals.propose(self._core, payloads)

    def propose_change(self, changes: Sequence[Change], now: int) -> LogIndex:
        """Proposes a change of members; see `membership.propose_change`."""
        self._at(now)
        return membership.propose_change(self._core, changes)

    def read_index(self, now: int) -> RequestId:
        """Begins a linearizable read; see `reading.request_read`.

        `now` must be taken after the client's request arrived: a lease is judged by it.
        """
        self._at(now)
        return reading.request_read(self._core)

    def transfer_leadership(self, target: NodeId, now: int) -> None:
        """Hands leadership over; see `transfer.start_transfer`."""
        self._at(now)
        transfer.start_transfer(self._core, target)

    def campaign(self, now: int) -> None:
        """Asks for an election without waiting for the timeout, as `tick` would."""
        self._at(now)
        if self._core.role is not Role.LEADER:
            self._core.election_deadline_ms = self._core.now
            election.on_tick(self._core)

    def resign(self, now: int) -> None:
        """Gives up leadership, e.g. because the latest snapshot can not be read."""
        self._at(now)
        if self._core.role is Role.LEADER:
            transfer.resign(self._core)

    def report_unreachable(self, peer: NodeId, now: int) -> None:
        """The transport lost what was under way to `peer`: stop pipelining, probe."""
        self._at(now)
        progress = self._core.progress.get(peer)
        if progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_probe()

    def report_snapshot_failed(self, peer: NodeId, now: int) -> None:
        """The transport could not deliver a snapshot: look again at what `peer` needs."""
        self._at(now)
        progress = self._core.progress.get(peer)
        if progress is not None and progress.state is ProgressState.SNAPSHOT:
            progress.snapshot_index = 0
            progress.become_probe()
            progress.is_probe_out = True

    def note_snapshot(self, index: LogIndex) -> SnapshotMeta:
        """Describes a snapshot of the state machine at `index`, applied or handed out.

        The shell makes it durable, then calls `keep_snapshot` and, when it likes, `compact`.
        """
        log = self._core.log
        check(not self.is_installing, "a snapshot is being installed")
        check(index <= log.applied_index, "only what was applied is in a snapshot")
        return SnapshotMeta(index, log.store.term_at(index) or 0, log.configuration_at(index))

    def keep_snapshot(self, snapshot: SnapshotMeta) -> None:
        """From now on this durable snapshot is what slow peers are sent."""
        held = self._core.snapshot
        if held is None or held.index < snapshot.index:
            self._core.snapshot = snapshot

    def compact(self, index: LogIndex) -> SnapshotMeta:
        """Drops entries up to `index`; returns the log's new base, for a restart."""
        snapshot = self._core.snapshot
        check(snapshot is not None and index <= snapshot.index, "a snapshot covers it")
        log = self._core.log
        log.compact(index)
        base = log.store.base_index
        return SnapshotMeta(base, log.store.term_at(base) or 0, log.configuration_at(base))

    def suggest_compaction(self, entry_count_kept: int) -> LogIndex:
        """How far to compact: a tail is kept, the longer for peers that are catching up.

        Peers that need more than twice the tail get a snapshot instead.
        """
        core = self._core
        if core.snapshot is None:
            return core.log.store.base_index
        keep_from = core.log.applied_index - entry_count_kept
        floor = keep_from - entry_count_kept
        for progress in core.progress.values():
            if floor <= progress.match_index < keep_from:
                keep_from = progress.match_index
        return max(core.log.store.base_index, min(keep_from, core.snapshot.index))

    def ready(self) -> Ready | None:
        """The effects since the last Ready, None when there are none.

        May be taken again before the previous one is advanced.
        """
        core = self._core
        if not self._is_dirty and not core.log.has_output():
            return None
        self._is_dirty = False
        if core.role is Role.LEADER:
            replication.flush(core)
        reading.flush(core)
        return self._collect() if self._has_effects() else None

    def advance(self, number: int, now: int) -> None:
        """Every write of Readies up to `number` is durable."""
        check(self._advanced <= number <= self._number, "Readies are advanced in order")
        self._at(now)
        self._advanced = number
        core = self._core
        core.log.end_write(number)
        while core.writes and core.writes[0].number <= number:
            write = core.writes.popleft()
            core.durable_term, core.durable_vote = write.term, write.vote
        if core.role is Role.CANDIDATE:
            election.note_durable_vote(core)
        elif core.role is Role.LEADER:
            replication.maybe_commit(core)

    def _at(self, now: int) -> None:
        self._core.now = max(self._core.now, now)
        self._is_dirty = True

    def _has_effects(self) -> bool:
        core = self._core
        taken, known = core.taken_hard_state, self._leadership
        return bool(
            core.messages
            or core.messages_after_persist
            or core.reads
            or core.proposals
            or core.log.has_output()
            or core.term != taken.term
            or core.vote != taken.vote
            or core.log.commit_index != taken.commit
            or core.leader != known.leader
            or (core.role is Role.LEADER) != known.is_leader
        )

    def _collect(self) -> Ready:
        core = self._core
        log = core.log
        taken, hard_state = core.taken_hard_state, core.hard_state()
        must_sync = hard_state.term != taken.term or hard_state.vote != taken.vote
        snapshot, log.snapshot = log.snapshot, None
        entries = log.take_unstable()
        leadership = Leadership(core.term, core.leader, core.role is Role.LEADER)
        self._number += 1
        ready = Ready(
            number=self._number,
            leadership=leadership if leadership != self._leadership else None,
            hard_state=hard_state if hard_state != taken else None,
            must_sync=must_sync or bool(entries) or snapshot is not None,
            snapshot=snapshot,
            entries=entries,
            messages=tuple(core.messages),
            messages_after_persist=tuple(core.messages_after_persist),
            committed=log.take_committed(core.options.apply_bytes_max),
            reads=tuple(core.reads),
            proposals=tuple(core.proposals),
        )
        for outbox in (core.messages, core.messages_after_persist, core.reads, core.proposals):
            outbox.clear()
        core.taken_hard_state = hard_state
        self._leadership = leadership
        core.log.begin_write(ready.number)
        core.writes.append(Write(ready.number, core.term, core.vote, core.now, ready.must_sync))
        return ready
