"""Elections: roles, votes, pre-vote, check-quorum and leader stickiness.

Owns every change of role, term and vote. Never touches peers' entries: a new leader's
first append is `replication`'s.

A pre-candidate asks first whether it could win, without raising its term, so a member
that was cut off does not depose anybody when it comes back. Members that heard a leader
within the shortest election timeout ignore votes, unless the leader itself asked for the
election. A leader that a quorum has not answered for that long steps down.

Source: dissertation sections 3.4, 3.6.1, 4.2.3, 6.2, 9.6.
"""

from __future__ import annotations

from neuro.checks import check
from neuro.raft import membership, quorum, reading, replication
from neuro.raft.core import Core, Role
from neuro.raft.messages import PreVote, PreVoteReply, RequestVote, VoteReply
from neuro.raft.progress import Inflight, Progress
from neuro.raft.quorum import Tally
from neuro.raft.types import NOBODY, EntryKind, NodeId, Term


def become_follower(core: Core, term: Term, leader: NodeId) -> None:
    """Follows `leader`, which may be unknown, in `term`; forgets the vote only in a new term."""
    check(term >= core.term, "terms never go back")
    if term > core.term:
        core.term = term
        core.vote = NOBODY
    if core.role is Role.LEADER:
        _leave_leadership(core)
    if leader != core.leader:
        reading.fail_forwarded(core)
    core.role = Role.FOLLOWER
    core.leader = leader
    core.votes.clear()
    core.is_transfer_election = False
    core.reset_election_deadline()


def start_pre_vote(core: Core) -> None:
    """Asks whether an election could be won; term and vote stay as they are.

    Source: dissertation section 9.6.
    """
    reading.fail_forwarded(core)
    core.role = Role.PRE_CANDIDATE
    core.leader = NOBODY
    core.votes = {core.id: True}
    core.reset_election_deadline()
    log = core.log
    for peer in _other_voters(core):
        core.send_after_persist(
            PreVote(core.id, peer, core.term + 1, log.last_index, log.last_term)
        )
    _count_pre_votes(core)


def start_election(core: Core, is_transfer: bool) -> None:
    """Campaigns in the next term; the own vote counts once it is durable.

    Source: dissertation section 3.4; `is_transfer` 3.10.
    """
    reading.fail_forwarded(core)
    core.term += 1
    core.vote = core.id
    core.role = Role.CANDIDATE
    core.leader = NOBODY
    core.votes = {}
    core.is_transfer_election = is_transfer
    core.reset_election_deadline()
    log = core.log
    for peer in _other_voters(core):
        core.send_after_persist(
            RequestVote(core.id, peer, core.term, log.last_index, log.last_term, is_transfer)
        )


def note_durable_vote(core: Core) -> None:
    """Counts the candidate's own vote, now that no crash can take it back."""
    if core.role is Role.CANDIDATE and (core.durable_term, core.durable_vote) == (
        core.term,
        core.id,
    ):
        core.votes[core.id] = True
        _count_votes(core)


def on_pre_vote(core: Core, message: PreVote) -> None:
    """Answers whether a vote would be granted.

    Source: dissertation section 9.6.
    """
    granted = (
        message.term > core.term
        and not core.has_fresh_leader()
        and core.log.is_up_to_date(message.last_index, message.last_term)
    )
    is_removed = membership.is_gone(core, message.sender)
    term = message.term if granted else core.term
    core.send_after_persist(PreVoteReply(core.id, message.sender, term, granted, is_removed))


def on_pre_vote_reply(core: Core, message: PreVoteReply) -> None:
    """Counts a pre-vote of the round under way."""
    if message.removed:
        core.is_removed = True
    if core.role is not Role.PRE_CANDIDATE:
        return
    if message.granted and message.term != core.term + 1:
        return
    core.votes.setdefault(message.sender, message.granted)
    _count_pre_votes(core)


def on_request_vote(core: Core, message: RequestVote) -> None:
    """Grants at most one vote a term, and only to a log at least as up to date.

    Source: dissertation sections 3.4 and 3.6.1.
    """
    is_free = core.vote == message.sender or (core.vote == NOBODY and core.leader == NOBODY)
    # Here too, not only where a newer term is adopted: this member may have learnt the term
    # from somebody else meanwhile, and the leader it heard may count on its lease.
    may_vote = message.transfer or not core.has_fresh_leader()
    is_up_to_date = core.log.is_up_to_date(message.last_index, message.last_term)
    granted = is_free and may_vote and is_up_to_date
    if granted:
        core.vote = message.sender
        core.reset_election_deadline()
        if message.transfer:
            # The old leader handed over just now: nobody else may slip in between.
            core.leader_heard_ms = core.now
    core.send_after_persist(VoteReply(core.id, message.sender, core.term, granted))


def on_vote_reply(core: Core, message: VoteReply) -> None:
    """Counts a vote of this term."""
    if core.role is not Role.CANDIDATE:
        return
    core.votes.setdefault(message.sender, message.granted)
    _count_votes(core)


def on_tick(core: Core) -> None:
    """Campaigns when no leader was heard for the randomised timeout."""
    if core.now < core.election_deadline_ms:
        return
    if not core.may_campaign():
        core.leader = NOBODY
        reading.fail_forwarded(core)
        core.reset_election_deadline()
    elif core.options.pre_vote:
        start_pre_vote(core)
    else:
        start_election(core, is_transfer=False)


def check_quorum(core: Core) -> None:
    """Steps down when a quorum has been silent for the shortest election timeout.

    Source: dissertation section 6.2.
    """
    heard = core.peer_values("heard_ms", core.now)
    silent_since = quorum.quorum_value(core.log.configuration, heard)
    if core.now - silent_since > core.options.election_timeout_ms_min:
        become_follower(core, core.term, NOBODY)


def _count_pre_votes(core: Core) -> None:
    tally = quorum.tally_votes(core.log.configuration, core.votes)
    if tally is Tally.WON:
        start_election(core, is_transfer=False)
    elif tally is Tally.LOST:
        become_follower(core, core.term, NOBODY)


def _count_votes(core: Core) -> None:
    tally = quorum.tally_votes(core.log.configuration, core.votes)
    if tally is Tally.WON:
        _become_leader(core)
    elif tally is Tally.LOST:
        become_follower(core, core.term, NOBODY)


def _become_leader(core: Core) -> None:
    """Takes office with an entry of its own term, which lets older ones commit.

    Source: dissertation sections 3.6.2 and 6.4 step 1.
    """
    check(core.role is Role.CANDIDATE, "only a candidate wins")
    core.role = Role.LEADER
    core.leader = core.id
    core.votes.clear()
    core.is_transfer_election = False
    core.became_leader_ms = core.now
    core.heartbeat_due_ms = core.now
    core.may_use_lease = True
    core.transfer_target = NOBODY
    core.progress.clear()
    sync_progress(core)
    core.term_start_index = core.log.last_index + 1
    replication.append_as_leader(core, EntryKind.NO_OP, (b"",))


def sync_progress(core: Core) -> None:
    """Brings the peers in line with the configuration in force, sorted by id."""
    options = core.options
    known = core.progress
    core.progress = {}
    for peer in core.log.configuration.members():
        if peer == core.id:
            continue
        if peer not in known:
            window = Inflight(options.inflight_count_max, options.inflight_bytes_max)
            known[peer] = Progress(core.log.last_index + 1, window, core.now)
        core.progress[peer] = known[peer]


def _leave_leadership(core: Core) -> None:
    core.progress.clear()
    core.round_started_ms.clear()
    core.is_round_due = False
    core.transfer_target = NOBODY
    core.may_use_lease = False
    reading.fail_pending(core)


def _other_voters(core: Core) -> tuple[NodeId, ...]:
    configuration = core.log.configuration
    voters = {*configuration.voters, *configuration.outgoing} - {core.id}
    return tuple(sorted(voters))
