"""The nouns of Raft: terms, log indices, entries, hard state and snapshot metadata.

Owns the values that cross the border of the core. Never holds behaviour beyond their
own sizes. `Term`, `LogIndex`, `NodeId` and `RequestId` are aliases rather than NewTypes:
the core adds and compares them on every message, and a NewType costs a call each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeAlias

from neuro.raft.configuration import Configuration

NodeId: TypeAlias = int
"""Identity of a member; 1 or more, never used again after removal. 0 means nobody."""
Term: TypeAlias = int
"""Election epoch; 0 before the first election."""
LogIndex: TypeAlias = int
"""Position in the log; the first entry has index 1, 0 means "before the log"."""
RequestId: TypeAlias = int
"""Names one forwarded proposal or read; never repeats, not even after a restart."""

NOBODY: Final[NodeId] = 0
ENTRY_OVERHEAD_BYTES: Final[int] = 16
"""Counted for every entry on top of its data, so that empty entries are bounded too."""


class EntryKind(IntEnum):
    """What an entry's data means; only COMMAND reaches the state machine.

    WITHHELD is a command as a witness holds it: position without data. A member that holds
    one can neither lead nor answer reads.
    """

    COMMAND = 0
    NO_OP = 1
    CONFIGURATION = 2
    WITHHELD = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One slot of the replicated log.

    Source: dissertation section 3.5.
    """

    index: LogIndex
    term: Term
    kind: EntryKind
    data: bytes

    @property
    def size_bytes(self) -> int:
        """Bytes this entry counts for in every limit."""
        return len(self.data) + ENTRY_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class HardState:
    """What must be durable before any message that depends on it leaves the node.

    `commit` is only a hint that shortens the replay after a restart; it never runs ahead
    of the entries written with it or before it. A term below the last entry's is legal
    after a crash between the two.

    Source: dissertation figure 3.1, "Persistent state on all servers".
    """

    term: Term = 0
    vote: NodeId = NOBODY
    commit: LogIndex = 0


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """The last entry a snapshot covers, and the configuration as of that entry.

    Source: dissertation section 5.1.
    """

    index: LogIndex
    term: Term
    configuration: Configuration
