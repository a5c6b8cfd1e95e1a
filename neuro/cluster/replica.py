"""The two faces of a replicated state machine: towards clients, and towards the machine.

Owns the protocols `Replica` (what a member offers to whoever serves clients) and
`StateMachine` (what the driver needs from the thing it replicates), with their values and
errors. Never touches a disk or a socket: `driver` implements the first, `machine` the second.

    RaftError                       see neuro.raft.errors: NotLeader, Busy, Transferring, ...
    NeuroCacheError
    └── ReplicaError                replica_error
        ├── OutcomeUnknown          outcome_unknown
        ├── ReplicaTimeout          replica_timeout         timeout_ms
        ├── ReplicaStopped          replica_stopped         reason
        ├── NoSpace                 no_space                nodes
        └── StateCorrupt            state_corrupt           nodes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, Protocol, TypeVar

from neuro.errors import NeuroCacheError
from neuro.raft import Change, Configuration, LogIndex, NodeId, Role, Term

ResultT_co = TypeVar("ResultT_co", covariant=True)

CONTROL_MARK: Final = 0xC1
"""First byte of the driver's own entries; msgpack never uses it, so commands never begin so."""
REPLICA_TIMEOUT_MS: Final = 5_000
"""What a client waits unless it says otherwise."""


class ReplicaError(NeuroCacheError):
    """Root of what a replica refuses or fails to do."""

    code = "replica_error"


class OutcomeUnknown(ReplicaError):
    """The command may have been, or may yet be, applied; only a session repeats it safely."""

    code = "outcome_unknown"


class ReplicaTimeout(ReplicaError):
    """A read or a question was not answered in time; nothing has changed because of it."""

    code = "replica_timeout"
    timeout_ms: int = 0


class ReplicaStopped(ReplicaError):
    """The member is closed, or its disk failed and it ended itself; `reason` says which."""

    code = "replica_stopped"
    reason: str = ""


class NoSpace(ReplicaError):
    """Too few members have room on their disks; reads and commands that free space go on."""

    code = "no_space"
    nodes: tuple[NodeId, ...] = ()


class StateCorrupt(ReplicaError):
    """This member's state differs from its leader's; it answers nothing until it is restored."""

    code = "state_corrupt"
    nodes: tuple[NodeId, ...] = ()


class AlarmKind(StrEnum):
    """What is wrong with a member that still runs."""

    NO_SPACE = "nospace"
    CORRUPT = "corrupt"


@dataclass(frozen=True, slots=True, order=True)
class Alarm:
    """One member's alarm; it clears itself when its cause is gone."""

    node: NodeId
    kind: AlarmKind


@dataclass(frozen=True, slots=True)
class Applied(Generic[ResultT_co]):
    """A command took effect at `index`; `result` is what the state machine returned for it."""

    index: LogIndex
    term: Term
    result: ResultT_co


@dataclass(frozen=True, slots=True)
class LeaderHint:
    """Who leads as far as this member knows; node 0 and no address when nobody does."""

    node: NodeId
    address: str


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A durable snapshot: where it stands, and its file's size."""

    index: LogIndex
    term: Term
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DiskStatus:
    """What the log writer has done since start; times in microseconds."""

    free_bytes: int
    wal_bytes: int
    segment_count: int
    sync_count: int
    sync_us_p50: int
    sync_us_p99: int


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """One member's view of itself and its group; all indices are log indices."""

    cluster_id: str
    node: NodeId
    incarnation: int
    role: Role
    term: Term
    leader: LeaderHint
    commit_index: LogIndex
    applied_index: LogIndex
    first_index: LogIndex
    last_index: LogIndex
    snapshot: SnapshotInfo | None
    configuration: Configuration
    alarms: tuple[Alarm, ...]
    state_hash: str
    is_removed: bool
    is_voteless: bool
    disk: DiskStatus


class ReplicaListener(Protocol):
    """Told on the event loop, in log order; must return quickly and never raise."""

    def on_applied(self, index: LogIndex) -> None:
        """Everything up to `index` is applied; one call may stand for many entries."""

    def on_restored(self, index: LogIndex) -> None:
        """The whole state was replaced by a snapshot of `index`; what lay between was skipped."""

    def on_leadership(self, term: Term, leader: NodeId, is_leader: bool) -> None:
        """The leader changed; `is_leader` is about this member."""


class Replica(Protocol[ResultT_co]):
    """One running member, as the client API uses it. All methods belong to its event loop."""

    async def propose(
        self, payload: bytes, *, frees_space: bool = False, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> Applied[ResultT_co]:
        """Commits a command and waits until this member has applied it.

        Works on every member: a follower forwards to its leader, once.

        Args:
            payload: opaque to the replica; must not begin with `CONTROL_MARK`.
            frees_space: accepted even while members have no room (deletes).

        Raises:
            NotLeader: no leader is known; certainly not applied.
            Busy, Transferring, PayloadTooLarge, NoSpace: refused; certainly not applied.
            OutcomeUnknown: leadership was lost, or time ran out, with the command under way.
            StateCorrupt, ReplicaStopped: this member can not serve; ask another.
        """
        ...

    async def read_barrier(self, *, timeout_ms: int = REPLICA_TIMEOUT_MS) -> LogIndex:
        """Waits until a read of the local state is linearizable; returns the applied index.

        The caller reads the machine before it next awaits.

        Raises:
            NotLeader: no leader is known, or it changed meanwhile; safe to try again.
            Busy, ReplicaTimeout, StateCorrupt, ReplicaStopped.
        """
        ...

    async def change_members(
        self, changes: Sequence[Change], *, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> Configuration:
        """Adds, removes, promotes, demotes, replaces; returns when the change has ended.

        `Change.address` is made by `format_member_address`. A joint configuration has ended
        when it is left. Promotion of a learner that catches up comes later, by itself.

        Raises:
            NotLeader: only the leader takes changes; its hint says where.
            ChangePending, InvalidChange, Transferring: nothing was changed.
            OutcomeUnknown, ReplicaStopped.
        """
        ...

    async def transfer_leadership(
        self, target: NodeId, *, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> None:
        """Hands leadership to `target` and waits until it leads.

        Raises:
            NotLeader, InvalidTransfer, Transferring, ReplicaStopped.
            ReplicaTimeout: it does not lead yet.
        """
        ...

    async def take_snapshot(self) -> SnapshotInfo:
        """Stores the state as it is now and compacts the log; proposals go on meanwhile.

        Raises:
            NoSpace, ReplicaStopped.
        """
        ...

    def open_snapshot(self) -> Iterator[bytes]:
        """The latest durable snapshot as the bytes of a snapshot file, for a backup.

        Raises:
            ReplicaError: there is none yet.
        """
        ...

    def subscribe(self, listener: ReplicaListener) -> Callable[[], None]:
        """Adds a listener; the returned call removes it."""
        ...

    def leader_hint(self) -> LeaderHint:
        """Who leads, and where."""
        ...

    def alarms(self) -> tuple[Alarm, ...]:
        """Every member's alarms, sorted, as far as they are in the log or of this member."""
        ...

    def status(self) -> ReplicaStatus:
        """A picture of now; cheap."""
        ...


class StateMachine(Protocol[ResultT_co]):
    """What is replicated. Deterministic: equal logs give equal states, hashes and results.

    The driver calls everything on its event loop, one call at a time, except for the
    iterator that `snapshot` returns.
    """

    @property
    def state_hash(self) -> bytes:
        """A rolling hash of the state, equal on members at equal applied index; cheap to ask."""
        ...

    def apply(self, index: LogIndex, term: Term, payload: bytes) -> ResultT_co:
        """Takes a committed command; indices rise, with gaps where entries are not commands.

        A command that is refused (bad format, failed comparison) has a result that says so:
        raising ends the member, because members could not differ on it. The result is never
        None: that stands for entries that are not commands.
        """
        ...

    def snapshot(self) -> Iterator[bytes]:
        """Freezes the state as of the last applied entry, and returns it in chunks.

        The call itself must be short. The iterator is drained on another thread while
        `apply` goes on here, and must give the frozen state. Equal states give equal bytes.
        Chunks of 64 KiB to 1 MiB suit the disk; the driver compresses and checks them.
        """
        ...

    def restore(self, chunks: Iterable[bytes]) -> None:
        """Replaces the whole state by what `snapshot` gave; chunk borders may differ.

        Hash, sessions and revisions included. No chunk at all means the empty state.

        Raises:
            ValueError: the bytes are no state; the member ends.
        """
        ...


def format_member_address(raft: str, client: str) -> str:
    """`Change.address` of a member: where peers reach it, and where clients do."""
    return f"{raft} {client}".rstrip()


def split_member_address(address: str) -> tuple[str, str]:
    """The peer and the client address in `Change.address`; empty where it names none."""
    raft, _, client = address.partition(" ")
    return raft, client
