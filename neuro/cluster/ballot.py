"""Whether a member may take part in elections: not while its disk may have forgotten.

Owns the gate in front of the core. A member whose directory was empty at start can not tell
a new group from a lost disk. A lost disk forgot votes (two in one term elect two leaders) and
acknowledged entries (a candidate without them could win). So it neither votes nor campaigns
until one of these holds:

- every other founder was heard campaigning from the founding position: the group is new;
- it has applied an entry of the current term: it holds whatever it had acknowledged before
  that leader's election, because a leader has all of it. It never votes in that term, nor in
  an earlier one: there it may have voted already.

Source: dissertation section 11.7.2, and figure 3.1 on what must persist.
"""

from __future__ import annotations

from neuro.cluster.identity import Identity
from neuro.raft import Configuration, Message, Node, NodeId, Term, found_group
from neuro.raft.messages import (
    Heartbeat,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    VoteReply,
)

_ELECTION = (PreVoteReply, RequestVote, TimeoutNow, VoteReply)


class Ballot:
    """The gate of one member."""

    def __init__(self, identity: Identity, founders: Configuration | None) -> None:
        self.is_voteless = identity.is_voteless
        self.vote_floor: Term = identity.vote_floor
        """Votes of this term and below are never given."""
        self._node_id = identity.node
        self._unheard: set[NodeId] = set(founders.voters) - {identity.node} if founders else set()
        self._founding = found_group(founders) if founders else None
        self.is_decided = False
        """True when it may vote as soon as that is durable."""
        self.is_new_voice = False
        """True when a founder was heard for the first time, and may not have heard this one."""

    def admits(self, message: Message, node: Node) -> bool:
        """False when the core must not see the message."""
        if not self.is_voteless:
            return not isinstance(message, RequestVote) or message.term > self.vote_floor
        if isinstance(message, PreVote):
            self._note_founder(message)
            return False
        if isinstance(message, Heartbeat) and message.commit > node.last_index:
            # The leader knows a longer log of this member than the disk holds.
            return False
        return not isinstance(message, _ELECTION)

    def note_applied(self, term: Term, current_term: Term) -> None:
        """An entry of `term` was applied while the member was in `current_term`."""
        if self.is_voteless and not self.is_decided and term == current_term:
            self.vote_floor = current_term
            self.is_decided = True

    def open(self) -> None:
        """The decision is durable."""
        self.is_voteless = False

    def _note_founder(self, message: PreVote) -> None:
        founding = self._founding
        if founding is None or self.is_decided:
            return
        if (message.last_index, message.last_term) == (founding.index, founding.term):
            self.is_new_voice = message.sender in self._unheard
            self._unheard.discard(message.sender)
            self.is_decided = not self._unheard
