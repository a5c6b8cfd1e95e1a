"""One running member of a group, as clients, peers and operators see it.

Owns the member's public methods (the `Replica` and `PeerReceiver` protocols), its snapshots
and its regular housekeeping. Never performs a Ready: that is `pump`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from neuro.clock import Clock, SystemClock
from neuro.cluster.control import encode_alarm
from neuro.cluster.disk import Disk
from neuro.cluster.driver_settings import DriverSettings
from neuro.cluster.peers import PeerTransport, SnapshotOffer
from neuro.cluster.pump import Pump
from neuro.cluster.replica import (
    CONTROL_MARK,
    REPLICA_TIMEOUT_MS,
    Alarm,
    AlarmKind,
    Applied,
    DiskStatus,
    NoSpace,
    OutcomeUnknown,
    ReplicaError,
    ReplicaListener,
    ReplicaStatus,
    ReplicaStopped,
    ReplicaTimeout,
    SnapshotInfo,
    StateCorrupt,
    StateMachine,
)
from neuro.cluster.snapshots import StoredSnapshot
from neuro.cluster.snapshotter import Snapshotter
from neuro.cluster.storage import Founding, Opened, Storage
from neuro.cluster.wal import SEGMENT_BYTES
from neuro.errors import NeuroCacheError
from neuro.raft import (
    Busy,
    Change,
    Configuration,
    LogIndex,
    NodeId,
    NotLeader,
    Options,
    PayloadTooLarge,
)

ResultT = TypeVar("ResultT")
VOTELESS_ROUND_COUNT = 15
"""Rounds of housekeeping after which an operator should know that a member has no vote."""
_log = logging.getLogger("neuro.cluster")


class Driver(Pump[ResultT]):
    """A member; see `Replica` for what its methods promise. Made by `start`."""

    def __init__(
        self,
        storage: Storage,
        opened: Opened,
        founding: Founding,
        machine: StateMachine[ResultT],
        transport: PeerTransport,
        *,
        options: Options | None,
        settings: DriverSettings | None,
        seeds: Mapping[NodeId, str] | None,
        clock: Clock | None,
    ) -> None:
        super().__init__(
            storage,
            opened,
            founding,
            machine,
            transport,
            options=options or Options(),
            settings=settings or DriverSettings(),
            seeds=seeds or {},
            clock=clock or SystemClock(),
        )
        self._snapshotter = Snapshotter(self)
        self._housekeeper: asyncio.Task[None] | None = None
        self._pending_count = 0
        self._free_bytes = storage.disk.free_bytes()
        self._lacks_space = False

    @classmethod
    async def start(
        cls,
        disk: Disk,
        founding: Founding,
        machine: StateMachine[ResultT],
        transport: PeerTransport,
        *,
        options: Options | None = None,
        settings: DriverSettings | None = None,
        seeds: Mapping[NodeId, str] | None = None,
        clock: Clock | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Driver[ResultT]:
        """Opens the data directory and joins the group.

        Args:
            machine: empty; the state is restored into it.
            seeds: addresses of peers that the log does not name yet.

        Raises:
            IdentityError, WalCorrupt, SnapshotCorrupt: the directory can not be used.
            OSError, DiskFull: the disk failed.
        """
        storage, opened = await asyncio.to_thread(Storage.open, disk, founding, segment_bytes)
        try:
            member = cls(
                storage,
                opened,
                founding,
                machine,
                transport,
                options=options,
                settings=settings,
                seeds=seeds,
                clock=clock,
            )
            await transport.start(member)
        except BaseException:
            storage.close()
            raise
        member._housekeeper = asyncio.get_running_loop().create_task(member._keep_house())
        member.begin()
        return member

    async def close(self) -> None:
        """Ends the member in an orderly way; commands under way have an unknown outcome."""
        self.fail(ReplicaStopped("closed"))
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.gather(self._housekeeper, return_exceptions=True)
        await self.transport.close()
        await self.writer.close()
        await self._snapshotter.close()
        self.storage.close()

    # -- clients

    async def propose(
        self, payload: bytes, *, frees_space: bool = False, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> Applied[ResultT]:
        """See `Replica.propose`."""
        self._check_serves()
        limit = self.options.entry_bytes_max
        if len(payload) > limit:
            raise PayloadTooLarge(size_bytes=len(payload), bytes_max=limit)
        if payload[:1] == bytes([CONTROL_MARK]):
            raise ReplicaError("a command does not begin with the control mark")
        if not frees_space:
            self._check_space()
        pending_max = self.settings.proposals_pending_max
        if self._pending_count >= pending_max:
            raise Busy(bound="proposals_pending_max", limit=pending_max)
        future: asyncio.Future[Applied[ResultT]] = self.loop.create_future()
        self.commands.append((payload, future))
        self.wake()
        late = OutcomeUnknown(f"not applied within {timeout_ms} ms")
        timer = self.loop.call_later(timeout_ms / 1_000, _expire, future, late)
        self._pending_count += 1
        try:
            return await future
        finally:
            self._pending_count -= 1
            timer.cancel()

    async def read_barrier(self, *, timeout_ms: int = REPLICA_TIMEOUT_MS) -> LogIndex:
        """See `Replica.read_barrier`."""
        self._check_serves()
        future: asyncio.Future[LogIndex] = self.loop.create_future()
        self.readers.append(future)
        self.wake()
        late = ReplicaTimeout(f"no read index within {timeout_ms} ms", timeout_ms=timeout_ms)
        timer = self.loop.call_later(timeout_ms / 1_000, _expire, future, late)
        try:
            return await future
        finally:
            timer.cancel()

    async def change_members(
        self, changes: Sequence[Change], *, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> Configuration:
        """See `Replica.change_members`."""
        self._check_runs()
        index = self.node.propose_change(changes, self.now_ms)
        self.wake()

        def has_ended() -> bool:
            node = self.node
            is_committed = node.commit_index >= index and self.applier.applied_index >= index
            return is_committed and not node.configuration.is_joint

        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self.conditions.add(has_ended, needs_leadership=True)
        except TimeoutError:
            raise OutcomeUnknown(f"not in force within {timeout_ms} ms") from None
        return self.node.configuration

    async def transfer_leadership(
        self, target: NodeId, *, timeout_ms: int = REPLICA_TIMEOUT_MS
    ) -> None:
        """See `Replica.transfer_leadership`."""
        self._check_runs()
        self.node.transfer_leadership(target, self.now_ms)
        self.wake()
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self.conditions.add(
                    lambda: self.node.leader == target, needs_leadership=False
                )
        except TimeoutError:
            raise ReplicaTimeout(
                f"node {target} does not lead after {timeout_ms} ms", timeout_ms=timeout_ms
            ) from None

    async def take_snapshot(self) -> SnapshotInfo:
        """See `Replica.take_snapshot`."""
        self._check_runs()
        return _describe(await self._snapshotter.take())

    def open_snapshot(self) -> Iterator[bytes]:
        """See `Replica.open_snapshot`."""
        latest = self.storage.snapshots.latest
        if latest is None:
            raise ReplicaError("there is no snapshot yet")
        return self.storage.snapshots.read_file(latest)

    def subscribe(self, listener: ReplicaListener) -> Callable[[], None]:
        """See `Replica.subscribe`."""
        self.listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self.listeners:
                self.listeners.remove(listener)

        return unsubscribe

    def alarms(self) -> tuple[Alarm, ...]:
        """See `Replica.alarms`."""
        alarms = set(self.applier.control.alarms)
        if self.lacks_space:
            alarms.add(Alarm(self.node.id, AlarmKind.NO_SPACE))
        if self.applier.control.is_corrupt:
            alarms.add(Alarm(self.node.id, AlarmKind.CORRUPT))
        return tuple(sorted(alarms))

    def status(self) -> ReplicaStatus:
        """See `Replica.status`."""
        node, identity, latest = self.node, self.storage.identity, self.storage.snapshots.latest
        wal = self.storage.wal.status()
        return ReplicaStatus(
            cluster_id=identity.cluster_id,
            node=node.id,
            incarnation=identity.incarnation,
            role=node.role,
            term=node.term,
            leader=self.leader_hint(),
            commit_index=node.commit_index,
            applied_index=self.applier.applied_index,
            first_index=node.first_index,
            last_index=node.last_index,
            snapshot=_describe(latest) if latest else None,
            configuration=node.configuration,
            alarms=self.alarms(),
            state_hash=self.applier.machine.state_hash.hex(),
            is_removed=node.is_removed,
            is_voteless=self.ballot.is_voteless,
            disk=DiskStatus(
                free_bytes=self._free_bytes,
                wal_bytes=wal.size_bytes,
                segment_count=wal.segment_count,
                sync_count=wal.sync_count,
                sync_us_p50=wal.sync_us_p50,
                sync_us_p99=wal.sync_us_p99,
            ),
        )

    # -- peers

    def report_unreachable(self, peer: NodeId) -> None:
        """Messages to that peer were lost; see `PeerReceiver`."""
        if self.is_over:
            return
        self.node.report_unreachable(peer, self.now_ms)
        if peer not in self.sending:
            # A snapshot that had arrived may have died with the peer before it was durable.
            self.node.report_snapshot_failed(peer, self.now_ms)

    def begin_snapshot(self, offer: SnapshotOffer) -> int:
        """See `PeerReceiver.begin_snapshot`."""
        self._check_runs()
        return self._snapshotter.begin_incoming(offer)

    def write_snapshot(self, offer: SnapshotOffer, offset: int, data: bytes) -> int:
        """See `PeerReceiver.write_snapshot`."""
        self._check_runs()
        return self._snapshotter.write_incoming(offer, offset, data)

    async def finish_snapshot(self, offer: SnapshotOffer) -> None:
        """See `PeerReceiver.finish_snapshot`."""
        self._check_runs()
        await self._snapshotter.finish_incoming(offer)

    def after_apply(self) -> None:
        """Stores the state when enough was applied since the last time."""
        if self._snapshotter.is_due():
            self._snapshotter.begin()

    # -- housekeeping

    @property
    def lacks_space(self) -> bool:
        """True while this member's disk is short of room."""
        return self._lacks_space or self.writer.is_short or self.writer.is_full

    async def _keep_house(self) -> None:
        """Looks at the disk's room, and keeps this member's alarms in the log up to date."""
        rounds = 0
        while not self.is_over:
            rounds += 1
            if rounds == VOTELESS_ROUND_COUNT and self.ballot.is_voteless:
                _log.warning(
                    "node %d does not vote: its data directory was new, and neither were all "
                    "founders heard nor could it catch up; if its disk was lost, remove the "
                    "node from the group and add it again under a new id",
                    self.node.id,
                )
            try:
                self._free_bytes = await asyncio.to_thread(self.storage.disk.free_bytes)
            except OSError as error:
                self.fail(error)
                return
            reserve = self.settings.space_reserve_bytes
            # Twice the reserve to clear, so that it does not flicker.
            limit = 2 * reserve if self._lacks_space else reserve
            self._lacks_space = self._free_bytes < limit
            self._announce(AlarmKind.NO_SPACE, is_on=self.lacks_space)
            self._announce(AlarmKind.CORRUPT, is_on=self.applier.control.is_corrupt)
            await asyncio.sleep(self.settings.housekeeping_ms / 1_000)

    def _announce(self, kind: AlarmKind, *, is_on: bool) -> None:
        alarm = Alarm(self.node.id, kind)
        is_member = self.node.id in self.node.configuration.members()
        if is_member and is_on != (alarm in self.applier.control.alarms):
            self.propose_control(encode_alarm(alarm, is_on=is_on))

    def _check_runs(self) -> None:
        if self.is_over:
            raise ReplicaStopped(f"the member ended ({self.ended.result()})")

    def _check_serves(self) -> None:
        self._check_runs()
        if self.applier.control.is_corrupt:
            raise StateCorrupt(nodes=(self.node.id,))
        if self.node.id in self.node.configuration.witnesses:
            raise NotLeader("a witness keeps no data", leader=self.node.leader)

    def _check_space(self) -> None:
        """Refuses growth while the leader, or so many voters that no quorum is left, are full."""
        full = set(self.applier.control.nodes_without_space())
        if self.lacks_space:
            full.add(self.node.id)
        if not full:
            return
        voters = set(self.node.configuration.voters)
        has_quorum = len(voters - full) > len(voters) // 2
        if self.node.id in full or self.node.leader in full or not has_quorum:
            raise NoSpace("too few members have room on their disks", nodes=tuple(sorted(full)))


def _describe(stored: StoredSnapshot) -> SnapshotInfo:
    return SnapshotInfo(stored.meta.index, stored.meta.term, stored.size_bytes)


def _expire(future: asyncio.Future[ResultT], error: NeuroCacheError) -> None:
    if not future.done():
        future.set_exception(error)
