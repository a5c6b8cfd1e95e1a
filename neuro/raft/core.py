"""The state of one member, and the few operations every part of the core shares.

Owns role, term, vote, the peers' progress and the outboxes. Never decides anything: the
rules live in `election`, `replication`, `reading`, `transfer`, `proposals` and
`membership`, as functions over this state.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from neuro.raft.log import RaftLog
from neuro.raft.messages import Message
from neuro.raft.options import Options
from neuro.raft.progress import Progress
from neuro.raft.ready import ProposalState, ReadState
from neuro.raft.types import NOBODY, HardState, LogIndex, NodeId, RequestId, SnapshotMeta, Term

if TYPE_CHECKING:
    from collections.abc import Mapping


class RandomSource(Protocol):
    """A seeded generator, such as `random.Random(seed)`; the core's only source of chance."""

    def getrandbits(self, bit_count: int, /) -> int:
        """An integer of that many random bits."""

    def randrange(self, stop: int, /) -> int:
        """An integer from 0 to `stop` - 1."""


class Role(IntEnum):
    """What a member is doing; learners and witnesses are followers that may not campaign."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


@dataclass(slots=True)
class PendingRead:
    """A batch of reads that waits for a quorum to acknowledge `round`."""

    origin: NodeId
    requests: tuple[RequestId, ...]
    index: LogIndex
    round: int


@dataclass(slots=True)
class Write:
    """A Ready whose writes are under way."""

    number: int
    term: Term
    vote: NodeId
    started_ms: int
    has_writes: bool


class Core:
    """One member's state; every rule is a function over it."""

    def __init__(
        self,
        node_id: NodeId,
        options: Options,
        log: RaftLog,
        hard_state: HardState,
        snapshot: SnapshotMeta | None,
        random: RandomSource,
        now: int,
    ) -> None:
        self.id = node_id
        self.options = options
        self.log = log
        self.random = random
        self.now = now
        self.term: Term = hard_state.term
        self.vote: NodeId = hard_state.vote
        self.role = Role.FOLLOWER
        self.leader: NodeId = NOBODY
        self.snapshot = snapshot
        self.is_removed = False
        # A restarted member behaves as if it had just heard a leader: it may have, and that
        # leader may still count on its lease (dissertation section 6.4.1).
        self.leader_heard_ms = now
        self.election_deadline_ms = 0
        self.is_transfer_election = False
        self.votes: dict[NodeId, bool] = {}
        # Leader only, emptied on step-down.
        self.progress: dict[NodeId, Progress] = {}
        self.heartbeat_due_ms = 0
        self.became_leader_ms = 0
        self.round = 0
        self.round_started_ms: dict[int, int] = {}
        self.is_round_due = False
        self.term_start_index: LogIndex = 0
        self.transfer_target: NodeId = NOBODY
        self.transfer_deadline_ms = 0
        self.may_use_lease = False
        self.reads_waiting: list[PendingRead] = []
        self.reads_pending: deque[PendingRead] = deque()
        self.read_count = 0
        # Forwarded to the leader, waiting for its answer until the deadline.
        self.forwarded_reads: dict[RequestId, int] = {}
        self.forwarded_proposals: dict[RequestId, int] = {}
        self.reads_to_forward: list[RequestId] = []
        self.next_request: RequestId = random.getrandbits(31) << 32
        # Effects since the last Ready.
        self.messages: list[Message] = []
        self.messages_after_persist: list[Message] = []
        self.reads: list[ReadState] = []
        self.proposals: list[ProposalState] = []
        self.writes: deque[Write] = deque()
        self.taken_hard_state = hard_state
        self.durable_term: Term = hard_state.term
        self.durable_vote: NodeId = hard_state.vote
        self.reset_election_deadline()

    def reset_election_deadline(self) -> None:
        """Draws a fresh randomised timeout, from now.

        Source: dissertation section 3.4.
        """
        low, high = self.options.election_timeout_ms_min, self.options.election_timeout_ms_max
        self.election_deadline_ms = self.now + low + self.random.randrange(high - low)

    def has_fresh_leader(self) -> bool:
        """True while this member leads, or heard a leader within the shortest timeout.

        Source: dissertation section 4.2.3.
        """
        if self.role is Role.LEADER:
            return True
        return self.now - self.leader_heard_ms < self.options.election_timeout_ms_min

    def may_campaign(self) -> bool:
        """True when this member could lead and its disk keeps up.

        A member that an uncommitted configuration leaves out still campaigns: its log may
        be the only one that others can not outvote.

        Source: dissertation section 4.2.2.
        """
        log = self.log
        if not log.configuration.may_lead(self.id) and (
            log.configuration_index <= log.commit_index
            or not log.configuration_at(log.commit_index).may_lead(self.id)
        ):
            return False
        if self.is_removed or self.log.has_withheld:
            return False
        return not self.is_installing and not self.is_disk_stalled()

    @property
    def is_installing(self) -> bool:
        """True while a snapshot from the leader is not durable here yet."""
        return self.log.stable_index < self.log.store.base_index

    def is_disk_stalled(self) -> bool:
        """True when a write has been under way for too long."""
        for write in self.writes:
            if write.has_writes:
                return self.now - write.started_ms > self.options.disk_stall_ms_max
        return False

    def send(self, message: Message) -> None:
        """Sends as soon as possible: nothing this node must persist first."""
        self.messages.append(message)

    def send_after_persist(self, message: Message) -> None:
        """Sends once every write up to this Ready is durable."""
        self.messages_after_persist.append(message)

    def new_request(self) -> RequestId:
        """A request id that was never used, not even before a restart."""
        self.next_request += 1
        return self.next_request

    def peer_values(self, name: str, own: int) -> Mapping[NodeId, int]:
        """One attribute of every peer's progress, and this member's own value."""
        values = {peer: getattr(progress, name) for peer, progress in self.progress.items()}
        values[self.id] = own
        return values

    def hard_state(self) -> HardState:
        """What has to be durable; the commit hint stays within what is written with it."""
        return HardState(self.term, self.vote, self.log.commit_index)
