"""A hand-driven Raft group for tests that say exactly what happens, step by step.

Owns members, their disks and the messages between them. Nothing moves by itself: time,
delivery, disks and crashes are the test's to command. Chance is a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from neuro.raft import (
    EMPTY_BASE,
    Change,
    Configuration,
    Entry,
    EntryKind,
    MemoryLogStore,
    Message,
    Node,
    Options,
    ProposalState,
    ReadState,
    Ready,
    Role,
    SnapshotMeta,
    found_group,
)
from neuro.raft.log_store import LogStore
from tests.sim.disk import Image, ResetLog, SnapshotFile

SETTLE_ROUND_COUNT_MAX = 1_000


@dataclass
class Member:
    """One member, its disk, and what it said to its clients."""

    image: Image
    node: Node | None = None
    is_disk_held: bool = False
    writing: list[Ready] = field(default_factory=list)
    applied: list[Entry] = field(default_factory=list)
    reads: list[ReadState] = field(default_factory=list)
    proposals: list[ProposalState] = field(default_factory=list)


class Group:
    """Members 1..n and whoever joins."""

    def __init__(
        self,
        voters: Iterable[int] = (1, 2, 3),
        *,
        learners: Iterable[int] = (),
        witnesses: Iterable[int] = (),
        options: Options | None = None,
        store: Callable[[Sequence[Entry], int, int], LogStore] = MemoryLogStore,
    ) -> None:
        self.now = 0
        self.options = options or Options()
        self._make_store = store
        self.pending: list[Message] = []
        self.cut: set[tuple[int, int]] = set()
        self.sent: list[Message] = []
        configuration = Configuration(
            voters=tuple(voters), learners=tuple(learners), witnesses=tuple(witnesses)
        )
        self.base = found_group(configuration)
        self.members: dict[int, Member] = {}
        for member in configuration.members():
            self.add(member, self.base)

    def add(self, member: int, base: SnapshotMeta = EMPTY_BASE) -> None:
        """Starts a process for a member-to-be."""
        image = Image(base)
        if base.index:
            image.snapshot = SnapshotFile(base, b"")
        self.members[member] = Member(image)
        self.restart(member)

    def node(self, member: int) -> Node:
        """The running node of that member."""
        node = self.members[member].node
        assert node is not None, f"member {member} is down"
        return node

    def restart(self, member: int) -> None:
        """Boots a member from its disk."""
        place = self.members[member]
        image = place.image
        place.writing.clear()
        place.applied.clear()
        place.node = Node(
            member,
            image.base,
            Random(member),
            self.now,
            options=self.options,
            store=self._make_store(image.entries, image.base.index, image.base.term),
            hard_state=image.hard_state,
            snapshot=image.snapshot.meta if image.snapshot else None,
        )
        image.finish_install()

    def crash(self, member: int) -> None:
        """Stops a member; what its disk was still writing is lost."""
        self.members[member].node = None

    # -- time and messages

    def pass_time(self, ms: int, members: Iterable[int] | None = None) -> None:
        """Lets time pass, then ticks the members (all by default)."""
        self.now += ms
        for member in members or tuple(self.members):
            node = self.members[member].node
            if node is not None:
                node.tick(self.now)
                self.pump(member)

    def pump(self, member: int) -> None:
        """Performs every Ready of a member."""
        place = self.members[member]
        while place.node is not None:
            ready = place.node.ready()
            if ready is None:
                return
            self._post(ready.messages)
            place.applied.extend(ready.committed)
            place.reads.extend(ready.reads)
            place.proposals.extend(ready.proposals)
            place.writing.append(ready)
            if not place.is_disk_held:
                self.finish_writes(member)

    def finish_writes(self, member: int) -> None:
        """Everything under way on a member's disk becomes durable."""
        place = self.members[member]
        writes, place.writing = place.writing, []
        for ready in writes:
            self._persist(place.image, ready)
            self._post(ready.messages_after_persist)
        if writes and place.node is not None:
            place.node.advance(writes[-1].number, self.now)

    def _persist(self, image: Image, ready: Ready) -> None:
        if ready.snapshot is not None:
            image.apply(SnapshotFile(ready.snapshot, b""))
            image.apply(ResetLog(ready.snapshot))
        for entry in ready.entries:
            image.apply(entry)
        if ready.hard_state is not None:
            image.apply(ready.hard_state)

    def _post(self, messages: Sequence[Message]) -> None:
        self.sent.extend(messages)
        for message in messages:
            if (message.sender, message.to) not in self.cut and message.to in self.members:
                self.pending.append(message)

    def deliver(self, message: Message) -> None:
        """Hands one message to its receiver, whatever the network thinks of it."""
        node = self.members[message.to].node
        if node is not None:
            node.step(message, self.now)
            self.pump(message.to)

    def deliver_between(self, sender: int, to: int) -> int:
        """Delivers what is pending on one link; returns how much that was."""
        link = [msg for msg in self.pending if (msg.sender, msg.to) == (sender, to)]
        self.pending = [msg for msg in self.pending if (msg.sender, msg.to) != (sender, to)]
        for message in link:
            self.deliver(message)
        return len(link)

    def settle(self) -> None:
        """Delivers until nothing is under way any more."""
        for member in tuple(self.members):
            self.pump(member)
        for _ in range(SETTLE_ROUND_COUNT_MAX):
            if not self.pending:
                return
            batch, self.pending = self.pending, []
            for message in batch:
                self.deliver(message)
        raise AssertionError("the group never comes to rest")

    def isolate(self, member: int) -> None:
        """Cuts a member off, both ways."""
        for other in self.members:
            self.cut.update({(member, other), (other, member)})

    def heal(self) -> None:
        """Reconnects everybody."""
        self.cut.clear()

    # -- commands

    def elect(self, member: int) -> None:
        """Makes a member campaign, after every stickiness has lapsed, and settles."""
        self.now += self.options.election_timeout_ms_min
        self.node(member).campaign(self.now)
        self.settle()
        assert self.node(member).role is Role.LEADER, f"{member} did not win"

    def propose(self, member: int, *payloads: bytes) -> int:
        """Proposes through a member; returns the request id."""
        request = self.node(member).propose(payloads, self.now)
        self.pump(member)
        return request

    def read(self, member: int) -> int:
        """Begins a read at a member; returns the request id."""
        request = self.node(member).read_index(self.now)
        self.pump(member)
        return request

    def change(self, member: int, *changes: Change) -> None:
        """Proposes a configuration change through a member."""
        self.node(member).propose_change(changes, self.now)
        self.pump(member)

    def compact(self, member: int, index: int | None = None) -> None:
        """Takes a snapshot of everything applied and drops the log up to `index`."""
        node = self.node(member)
        meta = node.note_snapshot(node.applied_index)
        image = self.members[member].image
        image.apply(SnapshotFile(meta, b""))
        node.keep_snapshot(meta)
        base = node.compact(meta.index if index is None else index)
        del image.entries[: base.index - image.base.index]
        image.base = base

    # -- looking

    def log_of(self, member: int) -> list[tuple[int, int, bytes]]:
        """The commands a member holds, as (index, term, data)."""
        store = self.node(member)._core.log.store
        entries = store.entries(store.base_index + 1, store.last_index, 1 << 62)
        return [(e.index, e.term, e.data) for e in entries if e.kind is EntryKind.COMMAND]

    def commands_of(self, member: int) -> list[bytes]:
        """The commands a member has applied in this life."""
        return [e.data for e in self.members[member].applied if e.kind is EntryKind.COMMAND]

    def leaders(self) -> list[int]:
        """Members that believe to lead."""
        return [
            member
            for member, place in self.members.items()
            if place.node is not None and place.node.role is Role.LEADER
        ]
