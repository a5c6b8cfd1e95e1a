"""What the core hands to its shell.

Owns the shape of one batch of effects. The order in which a shell performs them is
written at the head of `neuro.raft`.
"""

from __future__ import annotations

from dataclasses import dataclass

from neuro.raft.errors import Code
from neuro.raft.messages import Message
from neuro.raft.types import (
    Entry,
    HardState,
    LogIndex,
    NodeId,
    RequestId,
    SnapshotMeta,
    Term,
)


@dataclass(frozen=True, slots=True)
class ReadState:
    """A read may be served once the applied index reaches `index`; unless `code` is not OK."""

    request: RequestId
    index: LogIndex
    code: Code = Code.OK


@dataclass(frozen=True, slots=True)
class ProposalState:
    """Where a forwarded proposal stands in the log, or why it does not.

    It is committed when an entry of `term` is applied at `first_index`, lost when another is.
    """

    request: RequestId
    code: Code
    term: Term = 0
    first_index: LogIndex = 0
    leader: NodeId = 0


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who leads, as far as this member knows; waiters on a lost leadership must be told."""

    term: Term
    leader: NodeId
    is_leader: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """One batch of effects; numbers rise by one."""

    number: int
    leadership: Leadership | None
    hard_state: HardState | None
    must_sync: bool
    snapshot: SnapshotMeta | None
    entries: tuple[Entry, ...]
    messages: tuple[Message, ...]
    messages_after_persist: tuple[Message, ...]
    committed: tuple[Entry, ...]
    reads: tuple[ReadState, ...]
    proposals: tuple[ProposalState, ...]
