"""The invariants, checked after every event, each named after its claim.

Owns a god's view of the run: who led when, what was appended, committed, applied,
promised. Never changes anything. Every check is incremental, so its price is that of the
event and not of the history.

    election_safety          at most one leader in a term                      (3.2)
    leader_is_eligible       only voters that are not witnesses lead           (4.2.1)
    leader_append_only       a leader never shortens its own log               (3.2)
    log_matching             same index and term: same entry, same predecessor (3.2)
    leader_completeness      a leader holds what earlier terms committed       (3.2)
    state_machine_safety     one entry per applied index, everywhere           (3.2)
    applied_in_order         no gap, no repetition in what is applied
    state_equality           same applied index: same bytes of state
    exactly_once             a client's command is executed at one index only  (6.3)
    term_monotonic           a member's term never goes back, even by a crash
    single_vote              one vote per member and term, even by a crash     (3.4)
    durable_term             a message promises no term that a crash takes back
    durable_vote             a vote is on the disk before it is sent           (3.8)
    durable_acknowledgement  an acknowledged entry is on the disk before that  (3.8)
    committed_on_quorum      a leader commits what a quorum's disks hold       (3.6.2)
    commit_monotonic         a member's commit index never goes back
    watermark_order          applied <= commit <= last, applied <= stable
    match_monotonic          match index never goes back within a leadership
    progress_sane            match < next, window within its bounds
    configuration_step       successive configurations differ by one voter, or are joint (4.3)
    configuration_agreement  every member derives the same configuration from the same log
    one_change_at_a_time     a configuration is committed before the next       (4.1)
    removed_stays_out        a removed id never comes back
    read_linearizability     a read index covers what was acknowledged before   (6.4)
    snapshot_equality        a snapshot holds the state of its index            (5.1)
    bounded_tail             the leader's uncommitted tail is within its bound
    append_bounded           an append is within its byte budget
    known_round              nobody acknowledges a round that was not begun
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.raft import Configuration, Entry, EntryKind, Message, Ready, Role, SnapshotMeta
from neuro.raft import messages as m
from neuro.raft.log import RaftLog

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.world import World


class Violation(AssertionError):
    """An invariant is broken: `name` says which."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name = name


def require(condition: object, name: str, detail: str) -> None:
    """Raises Violation unless the condition is true."""
    if not condition:
        raise Violation(name, detail)


class MemberView:
    """What was last seen of one member in this life."""

    def __init__(self) -> None:
        self.commit = 0
        self.term = 0
        self.role = Role.FOLLOWER
        self.last_index = 0
        self.led_term = 0
        self.match: dict[int, int] = {}
        self.configuration = Configuration()


class Monitor:
    """All invariants of one run."""

    def __init__(self, world: World, founding: SnapshotMeta) -> None:
        self.world = world
        self.check_count = 0
        self.leaders: dict[int, int] = {}
        self.entries: dict[tuple[int, int], tuple[int, Entry]] = {}
        self.configurations = {(founding.index, founding.term): founding.configuration}
        self.applied: dict[int, Entry] = {}
        self.state_chain: dict[int, int] = {}
        self.executed: dict[tuple[int, int], int] = {}
        self.votes: dict[tuple[int, int], int] = {}
        self.promised_term: dict[int, int] = {}
        self.committed: dict[int, tuple[int, int]] = {}
        self.commit_of_term: dict[int, tuple[int, int]] = {}
        self.acknowledged_index = 0
        self.removed: set[int] = set()
        self.views: dict[int, MemberView] = {}
        self.leaderless_since = 0

    # -- life

    def on_start(self, process: Process) -> None:
        """A member boots: it must be what it promised to be."""
        node = process.node
        assert node is not None
        promised = self.promised_term.get(process.id, 0)
        require(node.term >= promised, "term_monotonic", f"{process.id} forgot term {promised}")
        view = MemberView()
        view.term = node.term
        view.commit = node.commit_index
        view.last_index = node.last_index
        view.configuration = node.configuration
        self.views[process.id] = view
        self._check_configuration(process)

    def on_stop(self, process: Process) -> None:
        """A member is down."""
        self.views.pop(process.id, None)

    # -- effects

    def on_ready(self, process: Process, ready: Ready) -> None:
        """New entries reach the log of a member."""
        if not ready.entries:
            return
        log = process.node._core.log  # type: ignore[union-attr]
        previous = log.store.term_at(ready.entries[0].index - 1)
        for entry in ready.entries:
            self._note_entry(process, entry, previous, log)
            previous = entry.term

    def _note_entry(
        self, process: Process, entry: Entry, previous: int | None, log: RaftLog
    ) -> None:
        key = (entry.index, entry.term)
        known = self.entries.get(key)
        if known is None:
            require(
                entry.kind is not EntryKind.WITHHELD,
                "log_matching",
                f"{key} first seen without data",
            )
            self.entries[key] = (previous or 0, entry)
            if entry.kind is EntryKind.CONFIGURATION:
                self._note_configuration(entry, log)
            return
        before, other = known
        if previous is not None:
            require(before == previous, "log_matching", f"{key} follows {previous} and {before}")
        if entry.kind is not EntryKind.WITHHELD:
            require(other == entry, "log_matching", f"{key} differs on {process.id}")

    def _note_configuration(self, entry: Entry, log: RaftLog) -> None:
        new = Configuration.from_bytes(entry.data)
        old = log.configuration_at(entry.index - 1)
        at = max(index for index, _ in log._configurations if index < entry.index)
        require(
            at <= max(log.commit_index, max(self.committed, default=1)),
            "one_change_at_a_time",
            f"{entry.index} while {at} is not committed",
        )
        require(_is_legal_step(old, new), "configuration_step", f"{old} -> {new}")
        back = set(new.members()) & self.removed
        require(not back, "removed_stays_out", f"{sorted(back)} came back")
        self.configurations[entry.index, entry.term] = new

    def on_send(self, process: Process, message: Message) -> None:
        """A message leaves: its promises must be on the disk."""
        image = process.disk.image
        durable = max(image.hard_state.term, image.entries[-1].term if image.entries else 0)
        kind = type(message)
        me = process.id
        if kind is m.VoteReply and message.granted:  # type: ignore[attr-defined]
            self._check_vote(process, message.term, message.to)
        elif kind is m.RequestVote:
            self._check_vote(process, message.term, me)
        elif kind is m.AppendReply and not message.rejected:  # type: ignore[attr-defined]
            self._check_acknowledgement(process, message)  # type: ignore[arg-type]
        elif kind is m.Append:
            self._check_append(process, message)  # type: ignore[arg-type]
        if kind in _TERM_PROMISES:
            require(
                durable >= message.term,
                "durable_term",
                f"{me} sends {kind.__name__} of term {message.term}, {durable} is durable",
            )
            self.promised_term[me] = max(self.promised_term.get(me, 0), message.term)

    def _check_vote(self, process: Process, term: int, candidate: int) -> None:
        hard_state = process.disk.image.hard_state
        require(
            hard_state.term > term or (hard_state.term, hard_state.vote) == (term, candidate),
            "durable_vote",
            f"{process.id} votes for {candidate} in {term}, disk has {hard_state}",
        )
        earlier = self.votes.setdefault((process.id, term), candidate)
        require(
            earlier == candidate,
            "single_vote",
            f"{process.id} voted for {earlier} and {candidate} in {term}",
        )

    def _check_acknowledgement(self, process: Process, message: m.AppendReply) -> None:
        node = process.node
        assert node is not None
        index = message.match_index
        if index == 0:
            return
        log = node._core.log
        term = log.store.term_at(index)
        image = process.disk.image
        if node.term != message.term:
            return
        require(
            term is None or image.holds(index, term),
            "durable_acknowledgement",
            f"{process.id} acknowledges {index}, not on its disk",
        )

    def _check_append(self, process: Process, message: m.Append) -> None:
        size = sum(entry.size_bytes for entry in message.entries)
        limit = process.options.append_bytes_max
        require(
            len(message.entries) <= 1 or size <= limit, "append_bounded", f"{size} > {limit}"
        )

    def on_apply(self, process: Process, entry: Entry) -> None:
        """A member applies an entry."""
        known = self.applied.get(entry.index)
        machine = process.machine
        if known is None:
            term = self.committed.get(entry.index, (entry.term, 0))[0]
            require(term == entry.term, "state_machine_safety", f"{entry.index}: {entry}")
            if entry.kind is not EntryKind.WITHHELD:
                self.applied[entry.index] = entry
        else:
            is_same = known == entry
            if entry.kind is EntryKind.WITHHELD:
                is_same = known.term == entry.term
            require(is_same, "state_machine_safety", f"{entry.index}: {known} and {entry}")
        if machine.is_blind:
            return
        chain = self.state_chain.setdefault(entry.index, machine.chain)
        require(chain == machine.chain, "state_equality", f"{process.id} at {entry.index}")
        if machine.executed is not None:
            first = self.executed.setdefault(machine.executed, entry.index)
            require(
                first == entry.index,
                "exactly_once",
                f"{machine.executed} executed at {first} and {entry.index}",
            )

    def on_restore(self, process: Process, meta: SnapshotMeta) -> None:
        """A member's state was replaced by a snapshot."""
        machine = process.machine
        assert process.node is not None
        require(
            machine.applied_index == meta.index,
            "snapshot_equality",
            f"snapshot {meta.index} holds {machine.applied_index}",
        )
        chain = self.state_chain.get(meta.index)
        if chain is not None and not machine.is_blind:
            require(chain == machine.chain, "snapshot_equality", f"{process.id} at {meta.index}")
        self._check_configuration(process)

    def on_acknowledged(self, index: int) -> None:
        """A client was told that the command at `index` took effect."""
        self.acknowledged_index = max(self.acknowledged_index, index)

    def on_read(self, process: Process, index: int, watermark: int) -> None:
        """A read may be served at `index`; `watermark` was acknowledged before it began."""
        require(
            index >= watermark,
            "read_linearizability",
            f"{process.id} reads at {index}, {watermark} was acknowledged before",
        )

    # -- after every event

    def after_event(self, process: Process) -> None:
        """Everything that can be seen of one member after an event."""
        self.check_count += 1
        node = process.node
        assert node is not None
        core = node._core
        log = core.log
        view = self.views[process.id]
        require(core.term >= view.term, "term_monotonic", f"{process.id} went back")
        view.term = core.term
        commit = log.commit_index
        if commit != view.commit:
            require(commit > view.commit, "commit_monotonic", f"{process.id} went back")
            self._on_commit(process, view.commit, commit)
            view.commit = commit
        require(
            log.applied_index <= commit <= log.last_index
            and (log.applied_index <= log.stable_index or log.stable_index == 0),
            "watermark_order",
            f"{process.id}: {log.applied_index} {log.stable_index} {commit} {log.last_index}",
        )
        if core.role is Role.LEADER:
            self._check_leader(process, view)
        view.role = core.role
        view.configuration = log.configuration

    def _check_leader(self, process: Process, view: MemberView) -> None:
        core = process.node._core  # type: ignore[union-attr]
        log = core.log
        if view.led_term != core.term:
            self._on_leader(process, view)
        require(
            log.last_index >= view.last_index, "leader_append_only", f"{process.id} shortened"
        )
        view.last_index = log.last_index
        for peer, progress in core.progress.items():
            match = progress.match_index
            before = view.match.get(peer, 0)
            require(match >= before, "match_monotonic", f"{process.id}: {peer} {before}->{match}")
            view.match[peer] = match
            require(
                match < progress.next_index and match <= log.last_index,
                "progress_sane",
                f"{process.id}: {peer} match {match} next {progress.next_index}",
            )
            window = progress.inflight
            require(
                len(window) <= core.options.inflight_count_max,
                "progress_sane",
                f"{process.id}: {peer} window {len(window)}",
            )
            require(progress.acked_round <= core.round, "known_round", f"{peer}")
        if log.last_index > commit_floor(log) + 1:
            limit = core.options.uncommitted_bytes_max + core.options.entry_bytes_max
            require(log.size_after_commit() <= limit, "bounded_tail", f"{process.id}")

    def _on_leader(self, process: Process, view: MemberView) -> None:
        core = process.node._core  # type: ignore[union-attr]
        term = core.term
        first = self.leaders.setdefault(term, process.id)
        require(first == process.id, "election_safety", f"{first} and {process.id} in {term}")
        view.led_term = term
        view.match = {}
        view.last_index = core.log.last_index
        self.world.counters["leader_elected"] += 1
        self.world.note(f"{process.id} leads term {term}")
        require(
            core.log.configuration.may_lead(process.id)
            or view.role is Role.LEADER,
            "leader_is_eligible",
            f"{process.id} leads, configuration {core.log.configuration}",
        )
        for commit_term, (index, entry_term) in self.commit_of_term.items():
            if commit_term < term and index > core.log.store.base_index:
                require(
                    core.log.store.term_at(index) == entry_term,
                    "leader_completeness",
                    f"{process.id} leads {term} without {index} of term {entry_term}",
                )

    def _on_commit(self, process: Process, before: int, commit: int) -> None:
        core = process.node._core  # type: ignore[union-attr]
        store = core.log.store
        for index in range(max(before, store.base_index) + 1, commit + 1):
            term = store.term_at(index)
            assert term is not None
            known = self.committed.get(index)
            if known is None:
                self.committed[index] = (term, core.term)
            else:
                require(
                    known[0] == term,
                    "state_machine_safety",
                    f"{index} committed with terms {known[0]} and {term}",
                )
        if core.role is not Role.LEADER:
            return
        term = store.term_at(commit)
        assert term is not None
        self.commit_of_term[core.term] = (commit, term)
        self._check_quorum(process, commit, term)
        self._note_removed(core.log)

    def _note_removed(self, log: RaftLog) -> None:
        if log.configuration_index <= log.commit_index and not log.configuration.is_joint:
            self.removed.update(log.configuration.removed)

    def _check_quorum(self, process: Process, index: int, term: int) -> None:
        processes = process.simulation_processes()
        # In force when the event began: what the leader does on this commit comes after it.
        configuration = self.views[process.id].configuration
        for half in (configuration.voters, configuration.outgoing):
            holders = [
                node
                for node in half
                if node in processes and processes[node].disk.image.holds(index, term)
            ]
            require(
                not half or len(holders) > len(half) // 2,
                "committed_on_quorum",
                f"{index} committed in {term}, held by {holders} of {half}",
            )

    def _check_configuration(self, process: Process) -> None:
        log = process.node._core.log  # type: ignore[union-attr]
        index = log.configuration_index
        if index == 0:
            return
        held = log.store.term_at(index)
        known = self.configurations.get((index, held)) if held is not None else None
        if known is not None:
            require(
                known == log.configuration,
                "configuration_agreement",
                f"{process.id} at {index}: {log.configuration}, not {known}",
            )


_TERM_PROMISES = (
    m.VoteReply,
    m.AppendReply,
    m.HeartbeatReply,
    m.RequestVote,
    m.Append,
    m.Heartbeat,
    m.InstallSnapshot,
    m.TimeoutNow,
)


def commit_floor(log: RaftLog) -> int:
    """Where the uncommitted tail begins."""
    return log.commit_index


def _is_legal_step(old: Configuration, new: Configuration) -> bool:
    if old.is_joint:
        return new.outgoing == () and new.voters == old.voters
    if new.is_joint:
        return new.outgoing == old.voters
    return len(set(old.voters) ^ set(new.voters)) <= 1
