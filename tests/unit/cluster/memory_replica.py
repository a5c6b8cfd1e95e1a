"""Replicas without disk and network: every member applies what any proposes, at once.

A fake of `neuro.cluster.replica.Replica` whose failures are chosen by the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from neuro.cluster.machine import KeyValueMachine, Outcome
from neuro.cluster.replica import (
    REPLICA_TIMEOUT_MS,
    Alarm,
    Applied,
    DiskStatus,
    LeaderHint,
    ReplicaListener,
    ReplicaStatus,
    SnapshotInfo,
)
from neuro.raft import Change, Configuration, InvalidTransfer, NotLeader, Role
from neuro.raft.configuration import change_configuration


class MemoryGroup:
    """One log, and who leads; 0 when nobody does."""

    def __init__(self, count: int = 1) -> None:
        self.leader = 1
        self.index = 1
        self.addresses: dict[int, str] = {}
        self.replicas = [MemoryReplica(self, node) for node in range(1, count + 1)]
        self.configuration = Configuration(
            voters=tuple(range(1, count + 1)),
            addresses=tuple((node, f"127.0.0.1:{7000 + node}") for node in range(1, count + 1)),
        )

    def commit(self, payload: bytes) -> Applied[Outcome]:
        """Applies a command everywhere."""
        self.index += 1
        results = [replica.machine.apply(self.index, 1, payload) for replica in self.replicas]
        for replica in self.replicas:
            for listener in list(replica.listeners):
                listener.on_applied(self.index)
        return Applied(self.index, 1, results[0])


class MemoryReplica:
    """One member."""

    def __init__(self, group: MemoryGroup, node: int) -> None:
        self.group = group
        self.node = node
        self.machine = KeyValueMachine()
        self.listeners: list[ReplicaListener] = []
        self.fail_before: list[Exception] = []
        """Raised by the next calls, which have no effect."""
        self.fail_after: list[Exception] = []
        """Raised by the next proposals, after they took effect."""
        self.present_alarms: tuple[Alarm, ...] = ()
        self.proposals: list[tuple[bytes, bool]] = []
        self.barrier_count = 0
        self.refusal_count = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def _check(self) -> None:
        if self.fail_before:
            raise self.fail_before.pop(0)
        if not self.group.leader:
            self.refusal_count += 1
            raise NotLeader("no leader is known")

    async def propose(
        self, payload: bytes, *, frees_space: bool = False, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> Applied[Outcome]:
        """Applies a command everywhere."""
        await self.gate.wait()
        self._check()
        self.proposals.append((payload, frees_space))
        applied = self.group.commit(payload)
        if self.fail_after:
            raise self.fail_after.pop(0)
        return applied

    async def read_barrier(self, *, timeout_ms: int = REPLICA_TIMEOUT_MS) -> int:
        """Everything is applied already."""
        await self.gate.wait()
        self._check()
        self.barrier_count += 1
        return self.group.index

    def _check_leads(self) -> None:
        self._check()
        if self.group.leader != self.node:
            raise NotLeader("only the leader does it", leader=self.group.leader)

    async def change_members(
        self, changes: Sequence[Change], *, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> Configuration:
        """Changes the group's configuration by the rules of the core."""
        self._check_leads()
        self.group.configuration = change_configuration(self.group.configuration, changes)
        return self.group.configuration

    async def transfer_leadership(
        self, target: int, *, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> None:
        """Makes another member the leader."""
        self._check_leads()
        if target not in self.group.configuration.voters or target == self.node:
            raise InvalidTransfer(f"node {target} can not lead", target=target)
        self.group.leader = target

    async def take_snapshot(self) -> SnapshotInfo:
        """Says how large the state is."""
        size_bytes = sum(len(chunk) for chunk in self.machine.snapshot())
        return SnapshotInfo(self.group.index, 1, size_bytes)

    def open_snapshot(self) -> Iterator[bytes]:
        """The state's bytes."""
        return self.machine.snapshot()

    def subscribe(self, listener: ReplicaListener) -> Callable[[], None]:
        """Adds a listener."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def leader_hint(self) -> LeaderHint:
        """The group's leader."""
        leader = self.group.leader
        return LeaderHint(leader, self.group.addresses.get(leader, ""))

    def alarms(self) -> tuple[Alarm, ...]:
        """What the test has set."""
        return self.present_alarms

    def status(self) -> ReplicaStatus:
        """A picture of now."""
        group = self.group
        return ReplicaStatus(
            cluster_id="c0ffee", node=self.node, incarnation=1,
            role=Role.LEADER if group.leader == self.node else Role.FOLLOWER,
            term=1, leader=self.leader_hint(), commit_index=group.index,
            applied_index=group.index, first_index=1, last_index=group.index, snapshot=None,
            configuration=group.configuration, alarms=self.present_alarms,
            state_hash=self.machine.state_hash.hex(), is_removed=False, is_voteless=False,
            disk=DiskStatus(1 << 30, 0, 1, 0, 0, 0),
        )  # fmt: skip
