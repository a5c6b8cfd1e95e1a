"""The invariants, checked after every event, each named after its claim.

Owns the moments at which they are checked. Never changes anything. Every check is
incremental, so its price is that of the event and not of the history. Sections are the
dissertation's.

    election_safety          at most one leader in a term                          3.2
    leader_has_votes         a quorum voted for whoever leads                      3.4
    election_restriction     a vote goes to a log that is at least as up to date    3.6.1
    leader_is_eligible       only voters that are not witnesses lead               4.2.1
    leader_append_only       a leader never shortens its own log                   3.2
    leader_completeness      a leader holds what earlier terms committed           3.2
    leader_hears_quorum      a leader without an answering quorum steps down       6.2
    leader_disk_works        a leader that can make nothing durable steps down
    leader_stickiness        nobody votes who has just heard a leader               4.2.3
    transfer_bounded         a transfer ends within an election timeout             3.10
    leader_stability         without faults the leader stays                       9.6
    pre_vote_won             nobody raises the term that a quorum did not ask to   9.6
    log_shrinks_by_conflict  a log loses its tail to a leader's append only         3.5
    log_matching             same index and term: same entry, same predecessor     3.2
    state_machine_safety     one entry per index that is committed or applied      3.2
    applied_in_order         no gap, no repetition in what is applied (the machine checks)
    state_equality           same applied index: same bytes of state
    exactly_once             a client's command is executed at one index only      6.3
    refused_never_executes   what a client was told to have failed does not happen
    durable_writes           what a client was told to have happened is there at the end
    linearizability          one order explains the clients' history               6.4
    read_linearizability     a read index covers what was acknowledged before      6.4
    term_monotonic           a member's term never goes back, even by a crash
    single_vote              one vote per member and term, even by a crash         3.4
    durable_term             a message promises no term that a crash takes back    3.8
    durable_vote             a vote is on the disk before it is sent               3.8
    durable_acknowledgement  an entry is on the disk before it is acknowledged     3.8
    committed_on_quorum      what is committed is on a quorum's disks              3.6.2
    committed_with_data      what is committed is not on witnesses' disks alone
    commit_own_term          a leader counts copies only of its own term's entries  3.6.2
    commit_monotonic         a member's commit index never goes back
    watermark_order          applied <= commit <= last, applied <= stable <= last
    match_monotonic          a match index never goes back within a leadership
    progress_sane            match < next, window within its bounds
    known_round              nobody acknowledges a round that was not begun
    configuration_step       successive configurations differ by one voter, or are joint  4.3
    witness_not_ahead        a witness gets only what the leader's disk holds
    configuration_agreement  the configuration in force is the latest in the log   4.1
    one_change_at_a_time     a configuration is committed before the next          4.1
    change_after_own_commit  no change before a commit of the leader's own term    4.1
    removed_stays_out        a removed id never comes back
    sends_to_members         entries go to members only                            4.1
    transfer_to_eligible     leadership is offered only to who may lead            3.10
    lease_ends_with_offer    whoever offers leadership answers no more reads alone  6.4.1
    forwarded_once           nobody passes on a proposal of somebody else
    snapshot_equality        a snapshot holds the state of its index               5.1
    bounded_tail             the leader's uncommitted tail is within its bound
    append_bounded           an append is within its byte budget
    bounded_work             a run ends
    transfer_completes       a healthy target takes over within an election timeout  3.10
    liveness                 a healed group serves everybody again within a bound
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.raft import Entry, Message, Ready, SnapshotMeta
from neuro.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    PreVote,
    RequestVote,
)
from tests.sim import check_log, check_member, check_messages
from tests.sim.ledger import Ledger, MemberView, require

if TYPE_CHECKING:
    from tests.sim.process import Process
    from tests.sim.world import World


class Monitor:
    """All invariants of one run."""

    def __init__(self, world: World, founding: SnapshotMeta) -> None:
        self.ledger = Ledger(world, founding)

    def on_start(self, process: Process) -> None:
        """A member boots: it must be what it promised to be."""
        node = process.node
        assert node is not None
        ledger = self.ledger
        promised = ledger.promised_term.get(process.id, 0)
        require(node.term >= promised, "term_monotonic", f"{process.id} forgot term {promised}")
        view = MemberView(node.configuration)
        view.term = node.term
        view.commit = node.commit_index
        view.last_index = node.last_index
        ledger.views[process.id] = view
        ledger.heard_leader.pop(process.id, None)
        for key in [key for key in ledger.heard if key[0] == process.id]:
            del ledger.heard[key]
        check_log.check_boot(ledger, process)

    def on_stop(self, process: Process) -> None:
        """A member is down."""
        self.ledger.views.pop(process.id, None)

    def on_ready(self, process: Process, ready: Ready) -> None:
        """New entries reach the log of a member."""
        if ready.entries and process.node is not None:
            check_log.check_entries(self.ledger, process, ready.entries, process.node._core.log)

    def on_send(self, process: Process, message: Message) -> None:
        """A message leaves."""
        check_messages.check_sent(self.ledger, process, message)

    def on_receive(self, process: Process, message: Message) -> None:
        """A message arrives, and is handled now."""
        is_answer = isinstance(message, (AppendReply, HeartbeatReply))
        if is_answer and process.node is not None and message.term == process.node.term:
            self.ledger.heard[process.id, message.sender] = process.local_now
        elif isinstance(message, (Append, Heartbeat, InstallSnapshot)):
            # Not TimeoutNow: it asks for another leader, and carries no round a lease could
            # count on (3.10, 6.4.1); `lease_ends_with_offer` holds the sender to that.
            if process.node is not None and message.term >= process.node.term:
                self.ledger.heard_leader[process.id] = process.local_now
        elif isinstance(message, (PreVote, RequestVote)):
            is_forced = isinstance(message, RequestVote) and message.transfer
            heard = self.ledger.heard_leader.get(process.id, -(1 << 40))
            is_fresh = process.local_now - heard < process.options.election_timeout_ms_min
            key = (process.id, message.sender, message.term, type(message))
            # Granted once rightly, the answer may wait for the disk while a leader is heard.
            asked = self.ledger.asked_while_fresh
            asked[key] = asked.get(key, True) and is_fresh and not is_forced

    def on_apply(self, process: Process, entry: Entry) -> None:
        """A member applied an entry."""
        check_log.check_applied(self.ledger, process, entry)

    def on_restore(self, process: Process, meta: SnapshotMeta) -> None:
        """A member's state was replaced by a snapshot."""
        check_log.check_restored(self.ledger, process, meta)

    def on_acknowledged(self, index: int) -> None:
        """A client was told that the command at `index` took effect."""
        self.ledger.acknowledged_index = max(self.ledger.acknowledged_index, index)

    def on_refused(self, client: int, sequence: int) -> None:
        """A client believes that its command failed for good, and forgets it."""
        key = (client, sequence)
        require(
            key not in self.ledger.executed,
            "refused_never_executes",
            f"{key} was executed and reported as failed",
        )
        self.ledger.refused.add(key)

    def on_read(self, process: Process, index: int, watermark: int) -> None:
        """A read may be served at `index`; `watermark` was acknowledged before it began."""
        require(
            index >= watermark,
            "read_linearizability",
            f"{process.id} reads at {index}, {watermark} was acknowledged before",
        )

    def on_tick(self, process: Process) -> None:
        """A member's tick is done."""
        check_member.check_ticked(self.ledger, process)

    def after_event(self, process: Process) -> None:
        """An event is handled, with all its effects."""
        self.ledger.check_count += 1
        check_member.check_member(self.ledger, process)
