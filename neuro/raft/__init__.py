"""Raft without I/O: messages, time and proposals in; effects out.

    node.step(message, now)   node.tick(now)   node.propose(payloads, now)   ...
    ready = node.ready()      # what to do, or None
    node.advance(number, now) # everything up to that Ready is durable

The order in which a shell performs a Ready
-------------------------------------------
1. `messages` go out at once. They are a leader's (or carry no claim about this node's
   disk), so followers write while this node writes.
2. `snapshot`, then `entries` (an entry replaces whatever was written at its index and
   after it), then `hard_state`, are made durable: one write and one fsync, and one fsync may
   cover many Readies. `must_sync` false means that only the commit hint changed: it may be
   written without fsync. A failed write or fsync ends the node; it is never tried again.
3. Then, and never before, `messages_after_persist` go out and `advance(number)` is called,
   both in the order of the numbers: never while an earlier Ready is not durable yet. The
   leader's own log counts towards commitment from here on, not from step 2.
4. `snapshot` replaces the state machine's state; then `committed` entries are applied, in
   order. They are durable here already, so steps 2 and 4 may overlap, save for `snapshot`.
5. `reads` are served when the applied index has reached their `index`; those whose code is
   not OK are answered with it. `proposals` tell where a proposal stands in the log: it is
   acknowledged when an entry of that term is applied at that index.

`ready()` may be taken again before the previous Ready is durable: that is how a leader keeps
sending while its disk works, and how many proposals share one write.

Nothing here reads a clock, opens a file or draws an unseeded random number, so the simulator
and the server run the same code.

Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014), cited as "dissertation".
"""

from __future__ import annotations

from neuro.raft.configuration import Change, ChangeKind, Configuration
from neuro.raft.core import RandomSource, Role
from neuro.raft.errors import (
    Busy,
    ChangePending,
    Code,
    InvalidChange,
    InvalidTransfer,
    NotLeader,
    PayloadTooLarge,
    RaftError,
    Transferring,
)
from neuro.raft.log_store import LogStore, MemoryLogStore
from neuro.raft.messages import Message
from neuro.raft.node import EMPTY_BASE, Node, found_group
from neuro.raft.options import Options
from neuro.raft.ready import Leadership, ProposalState, ReadState, Ready
from neuro.raft.types import (
    NOBODY,
    Entry,
    EntryKind,
    HardState,
    LogIndex,
    NodeId,
    RequestId,
    SnapshotMeta,
    Term,
)

__all__ = [
    "EMPTY_BASE",
    "NOBODY",
    "Busy",
    "Change",
    "ChangeKind",
    "ChangePending",
    "Code",
    "Configuration",
    "Entry",
    "EntryKind",
    "HardState",
    "InvalidChange",
    "InvalidTransfer",
    "Leadership",
    "LogIndex",
    "LogStore",
    "MemoryLogStore",
    "Message",
    "Node",
    "NodeId",
    "NotLeader",
    "Options",
    "PayloadTooLarge",
    "ProposalState",
    "RaftError",
    "RandomSource",
    "ReadState",
    "Ready",
    "RequestId",
    "Role",
    "SnapshotMeta",
    "Term",
    "Transferring",
    "found_group",
]
