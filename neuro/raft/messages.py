"""The messages nodes exchange; values only, so any codec can carry them.

Owns the shapes. Never interprets them. Every message names its sender, its receiver and
the sender's term (a pre-vote carries the term the sender would campaign in).

Source: dissertation figure 3.1; pre-vote 9.6; transfer 3.10; read index 6.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from neuro.raft.errors import Code
from neuro.raft.types import Entry, EntryKind, LogIndex, NodeId, RequestId, SnapshotMeta, Term


@dataclass(frozen=True, slots=True)
class Message:
    """What every message carries."""

    sender: NodeId
    to: NodeId
    term: Term


@dataclass(frozen=True, slots=True)
class PreVote(Message):
    """Would you vote for me in `term`? Changes no state at the receiver."""

    last_index: LogIndex
    last_term: Term


@dataclass(frozen=True, slots=True)
class PreVoteReply(Message):
    """Granted: `term` is the pre-vote's; refused: the voter's own. `removed`: you are out."""

    granted: bool
    removed: bool = False


@dataclass(frozen=True, slots=True)
class RequestVote(Message):
    """Vote for me; `transfer` says that the leader asked for this election."""

    last_index: LogIndex
    last_term: Term
    transfer: bool = False


@dataclass(frozen=True, slots=True)
class VoteReply(Message):
    """The answer to `RequestVote`; sent only when the vote is durable."""

    granted: bool


@dataclass(frozen=True, slots=True)
class Append(Message):
    """Entries after `prev_index`; empty ones still check `prev`.

    `round` is echoed in the reply and proves that the follower knew this leader then.
    """

    prev_index: LogIndex
    prev_term: Term
    entries: tuple[Entry, ...]
    commit: LogIndex
    round: int


@dataclass(frozen=True, slots=True)
class AppendReply(Message):
    """All up to `match_index` is durable here; or, when rejected, where to look next."""

    match_index: LogIndex
    round: int
    rejected: bool = False
    rejected_index: LogIndex = 0
    hint_index: LogIndex = 0
    hint_term: Term = 0


@dataclass(frozen=True, slots=True)
class Heartbeat(Message):
    """I lead; `commit` never exceeds what the receiver is known to hold."""

    commit: LogIndex
    round: int


@dataclass(frozen=True, slots=True)
class HeartbeatReply(Message):
    """I follow you, as of `round`."""

    round: int


@dataclass(frozen=True, slots=True)
class InstallSnapshot(Message):
    """Replace your state; the shell adds the bytes and steps this when all have arrived.

    `witness` says that the receiver needs the metadata only.
    """

    snapshot: SnapshotMeta
    round: int
    witness: bool = False


@dataclass(frozen=True, slots=True)
class TimeoutNow(Message):
    """Campaign at once, without pre-vote."""


@dataclass(frozen=True, slots=True)
class Propose(Message):
    """Payloads a follower forwards to the leader; never forwarded twice."""

    request: RequestId
    payloads: tuple[bytes, ...]
    kind: EntryKind = EntryKind.COMMAND


@dataclass(frozen=True, slots=True)
class ProposeReply(Message):
    """Where the payloads stand in the log, or why they do not."""

    request: RequestId
    code: Code
    entry_term: Term = 0
    first_index: LogIndex = 0
    leader: NodeId = 0


@dataclass(frozen=True, slots=True)
class ReadRequest(Message):
    """Asks the leader for a read index on behalf of a batch of reads."""

    requests: tuple[RequestId, ...]


@dataclass(frozen=True, slots=True)
class ReadReply(Message):
    """The read index of a batch, or why there is none."""

    requests: tuple[RequestId, ...]
    code: Code
    index: LogIndex = 0


LEADER_MESSAGES: Final = (Append, Heartbeat, InstallSnapshot, TimeoutNow)
"""Only the leader of `term` sends these, so they tell who it is."""
