"""Proposals: into the leader's log, or forwarded to the leader exactly once.

Owns admission and forwarding. Never retries: a forwarded proposal whose answer does not
come has an unknown outcome, and only the client's session can repeat it safely.

Source: dissertation sections 6.2 (routing requests to the leader) and 6.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from neuro.raft import replication
from neuro.raft.core import Core, Role
from neuro.raft.errors import Busy, Code, NotLeader, PayloadTooLarge, RaftError, Transferring
from neuro.raft.messages import Propose, ProposeReply
from neuro.raft.ready import ProposalState
from neuro.raft.types import ENTRY_OVERHEAD_BYTES, NOBODY, EntryKind, LogIndex, RequestId


def propose(core: Core, payloads: Sequence[bytes]) -> RequestId:
    """Appends commands, or forwards them; where they stand comes in a Ready.

    Raises:
        NotLeader: no leader is known.
        Busy, Transferring, PayloadTooLarge: nothing was appended or forwarded.
    """
    if core.role is Role.LEADER:
        first = _append(core, payloads)
        request = core.new_request()
        core.proposals.append(ProposalState(request, Code.OK, core.term, first, core.id))
        return request
    if core.leader == NOBODY:
        raise NotLeader("no leader is known", leader=NOBODY)
    _check_sizes(core, payloads)
    if len(core.forwarded_proposals) >= core.options.forwards_pending_max:
        raise Busy(bound="forwards_pending_max", limit=core.options.forwards_pending_max)
    request = core.new_request()
    core.forwarded_proposals[request] = core.now + core.options.election_timeout_ms_max
    core.send(Propose(core.id, core.leader, core.term, request, tuple(payloads)))
    return request


def on_propose(core: Core, message: Propose) -> None:
    """A follower's proposal; it is answered here whatever happens, never passed on.

    Passing it on could send it round in circles while nodes disagree about the leader.
    """
    code, first = Code.OK, 0
    if core.role is not Role.LEADER:
        code = Code.NOT_LEADER
    else:
        try:
            first = _append(core, message.payloads)
        except RaftError as error:
            code = error.wire
    core.send(
        ProposeReply(
            core.id, message.sender, core.term, message.request, code, core.term, first, core.leader
        )
    )


def on_propose_reply(core: Core, message: ProposeReply) -> None:
    """The leader's answer; an unknown request was given up already."""
    if core.forwarded_proposals.pop(message.request, None) is None:
        return
    core.proposals.append(
        ProposalState(
            message.request, message.code, message.entry_term, message.first_index, message.leader
        )
    )


def expire_forwarded(core: Core) -> None:
    """Gives up on overdue answers; ids are in order of their deadlines."""
    while core.forwarded_proposals:
        request, deadline_ms = next(iter(core.forwarded_proposals.items()))
        if deadline_ms > core.now:
            return
        del core.forwarded_proposals[request]
        core.proposals.append(ProposalState(request, Code.UNKNOWN_OUTCOME))


def _append(core: Core, payloads: Sequence[bytes]) -> LogIndex:
    if core.transfer_target != NOBODY:
        raise Transferring(target=core.transfer_target)
    _check_sizes(core, payloads)
    new_bytes = sum(len(payload) + ENTRY_OVERHEAD_BYTES for payload in payloads)
    tail_bytes = core.log.size_after_commit()
    limit = core.options.uncommitted_bytes_max
    if tail_bytes and tail_bytes + new_bytes > limit:
        raise Busy(bound="uncommitted_bytes_max", limit=limit)
    return replication.append_as_leader(core, EntryKind.COMMAND, payloads)


def _check_sizes(core: Core, payloads: Sequence[bytes]) -> None:
    limit = core.options.entry_bytes_max
    for payload in payloads:
        if len(payload) > limit:
            raise PayloadTooLarge(size_bytes=len(payload), bytes_max=limit)
