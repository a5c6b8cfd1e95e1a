"""From a message to the rule that handles it, past the checks on its term.

Owns the term rules that hold for every message. Never handles one itself.

Source: dissertation figure 3.1, "Rules for Servers, All Servers"; 4.2.3; 9.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from neuro.checks import check
from neuro.raft import election, membership, proposals, reading, replication, transfer
from neuro.raft import messages as m
from neuro.raft.core import Core
from neuro.raft.types import NOBODY

_RULES: Final[dict[type[m.Message], Callable[[Core, Any], None]]] = {
    m.Append: replication.on_append,
    m.AppendReply: replication.on_append_reply,
    m.Heartbeat: replication.on_heartbeat,
    m.HeartbeatReply: replication.on_heartbeat_reply,
    m.InstallSnapshot: replication.on_install_snapshot,
    m.PreVote: election.on_pre_vote,
    m.PreVoteReply: election.on_pre_vote_reply,
    m.RequestVote: election.on_request_vote,
    m.VoteReply: election.on_vote_reply,
    m.TimeoutNow: transfer.on_timeout_now,
    m.Propose: proposals.on_propose,
    m.ProposeReply: proposals.on_propose_reply,
    m.ReadRequest: reading.on_read_request,
    m.ReadReply: reading.on_read_reply,
}
_ANY_TERM: Final = (m.Propose, m.ProposeReply, m.ReadRequest, m.ReadReply)
"""Clients' business: it proves nothing about terms, and an older one does not make it wrong."""


def dispatch(core: Core, message: m.Message) -> None:
    """Applies the term rules, then the message's own rule."""
    check(message.to == core.id, "the message is for this member")
    check(message.sender != core.id, "no member writes to itself")
    if isinstance(message, _ANY_TERM):
        pass
    elif message.term > core.term:
        if not _take_higher_term(core, message):
            return
    elif message.term < core.term:
        _answer_lower_term(core, message)
        return
    _RULES[type(message)](core, message)


def _take_higher_term(core: Core, message: m.Message) -> bool:
    """Adopts the term where the message proves it; False when the message is ignored."""
    if isinstance(message, m.PreVote):
        return True
    if isinstance(message, m.PreVoteReply) and message.granted:
        return True
    if isinstance(message, m.RequestVote) and not message.transfer and core.has_fresh_leader():
        return False
    leader = message.sender if isinstance(message, m.LEADER_MESSAGES) else NOBODY
    election.become_follower(core, message.term, leader)
    return True


def _answer_lower_term(core: Core, message: m.Message) -> None:
    """Tells a sender of an older term that it is behind; anything else is dropped.

    A candidate whose log is longer but whose term is lower would ask for ever otherwise,
    and a deposed leader would not step down before its check of the quorum.
    """
    if isinstance(message, m.PreVote):
        is_removed = membership.is_gone(core, message.sender)
        core.send_after_persist(
            m.PreVoteReply(core.id, message.sender, core.term, False, is_removed)
        )
    elif isinstance(message, m.RequestVote):
        core.send_after_persist(m.VoteReply(core.id, message.sender, core.term, False))
    elif isinstance(message, m.LEADER_MESSAGES):
        core.send_after_persist(
            m.AppendReply(core.id, message.sender, core.term, 0, 0, rejected=True)
        )
