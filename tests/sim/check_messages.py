"""Invariants of messages: what is promised is on the disk, and goes to the right nodes.

Owns the checks of what is sent. Never changes anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.raft import Message
from neuro.raft import messages as m
from tests.sim.ledger import Ledger, Violation, has_quorum, require

if TYPE_CHECKING:
    from tests.sim.process import Process

_PROMISES = (
    m.VoteReply,
    m.AppendReply,
    m.HeartbeatReply,
    m.RequestVote,
    m.Append,
    m.Heartbeat,
    m.InstallSnapshot,
    m.TimeoutNow,
)


def check_sent(ledger: Ledger, process: Process, message: Message) -> None:
    """A message leaves."""
    if isinstance(message, m.Append):
        _check_append(process, message)
    elif isinstance(message, m.AppendReply):
        _check_acknowledgement(process, message)
    elif isinstance(message, m.VoteReply):
        if message.granted:
            _check_vote(ledger, process, message.term, message.to)
            _check_restriction(ledger, process, message)
            _check_stickiness(ledger, process, message)
    elif isinstance(message, m.RequestVote):
        _check_vote(ledger, process, message.term, process.id)
        _check_pre_vote(ledger, process, message)
        position = (message.last_term, message.last_index)
        ledger.candidates[process.id, message.term] = position
    elif isinstance(message, m.PreVoteReply):
        if message.granted:
            voters = ledger.pre_votes.setdefault((message.to, message.term), set())
            voters.add(process.id)
            _check_stickiness(ledger, process, message)
    else:
        _check_addressee(process, message)
    if isinstance(message, _PROMISES):
        image = process.disk.image
        durable = max(image.hard_state.term, image.entries[-1].term if image.entries else 0)
        if durable < message.term:
            raise Violation("durable_term", f"{process.id} sends {message}, {durable} is durable")
        known = ledger.promised_term.get(process.id, 0)
        ledger.promised_term[process.id] = max(known, message.term)


def _check_vote(ledger: Ledger, process: Process, term: int, candidate: int) -> None:
    hard_state = process.disk.image.hard_state
    require(
        hard_state.term > term or (hard_state.term, hard_state.vote) == (term, candidate),
        "durable_vote",
        f"{process.id} votes for {candidate} in {term}, disk has {hard_state}",
    )
    earlier = ledger.votes.setdefault((process.id, term), candidate)
    require(
        earlier == candidate,
        "single_vote",
        f"{process.id} voted for {earlier} and {candidate} in {term}",
    )


def _check_restriction(ledger: Ledger, process: Process, message: m.VoteReply) -> None:
    node = process.node
    assert node is not None
    log = node._core.log
    candidate = ledger.candidates.get((message.to, message.term))
    if candidate is None or log.last_term >= message.term:
        return
    require(
        candidate >= (log.last_term, log.last_index),
        "election_restriction",
        f"{process.id} votes for {message.to} whose log ends at {candidate}",
    )


def _check_stickiness(
    ledger: Ledger, process: Process, message: m.VoteReply | m.PreVoteReply
) -> None:
    kind = m.RequestVote if isinstance(message, m.VoteReply) else m.PreVote
    key = (process.id, message.to, message.term, kind)
    require(
        not ledger.asked_while_fresh.get(key, False),
        "leader_stickiness",
        f"{process.id} votes for {message.to}, it had just heard a leader",
    )


def _check_pre_vote(ledger: Ledger, process: Process, message: m.RequestVote) -> None:
    node = process.node
    assert node is not None
    if message.transfer or not process.options.pre_vote or node.term != message.term:
        return
    granted = ledger.pre_votes.get((process.id, message.term), set()) | {process.id}
    # The configuration may have grown by entries since, never while a candidate asks.
    require(
        has_quorum(node.configuration, granted),
        "pre_vote_won",
        f"{process.id} campaigns in {message.term}, asked for by {sorted(granted)}",
    )


def _check_acknowledgement(process: Process, message: m.AppendReply) -> None:
    node = process.node
    assert node is not None
    if message.rejected or message.match_index == 0 or node.term != message.term:
        return
    term = node._core.log.store.term_at(message.match_index)
    require(
        term is None or process.disk.image.holds(message.match_index, term),
        "durable_acknowledgement",
        f"{process.id} acknowledges {message.match_index}, not on its disk",
    )


def _check_append(process: Process, message: m.Append) -> None:
    size = sum(entry.size_bytes for entry in message.entries)
    limit = process.options.append_bytes_max
    require(len(message.entries) <= 1 or size <= limit, "append_bounded", f"{size} > {limit}")
    _check_member(process, message)
    node = process.node
    if node is not None and message.entries and message.to in node.configuration.witnesses:
        last = message.entries[-1]
        require(
            process.disk.image.holds(last.index, last.term),
            "witness_not_ahead",
            f"{process.id} sends {last.index} to a witness before its own disk has it",
        )


def _check_member(process: Process, message: Message) -> None:
    node = process.node
    assert node is not None
    if message.to not in node.configuration.members():
        raise Violation("sends_to_members", f"{process.id} sends entries to {message.to}")


def _check_addressee(process: Process, message: Message) -> None:
    node = process.node
    assert node is not None
    if isinstance(message, m.TimeoutNow):
        require(
            node.configuration.may_lead(message.to),
            "transfer_to_eligible",
            f"{process.id} hands over to {message.to}",
        )
        core = node._core
        require(
            core.term != message.term or not core.may_use_lease,
            "lease_ends_with_offer",
            f"{process.id} hands over to {message.to} and keeps its lease",
        )
    elif isinstance(message, m.Propose):
        require(
            message.request in node._core.forwarded_proposals,
            "forwarded_once",
            f"{process.id} passes on request {message.request}",
        )
