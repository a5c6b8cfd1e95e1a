"""Members on one event loop with disks and a network in memory; for tests and benches.

Owns a transport whose links can be cut, and a state machine small enough to check by eye.
Never sleeps to synchronise: `wait_for` polls with a deadline.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from neuro.cluster.disk import Disk
from neuro.cluster.driver import Driver
from neuro.cluster.driver_settings import DriverSettings
from neuro.cluster.peers import PeerReceiver, SnapshotSource
from neuro.cluster.replica import ReplicaError
from neuro.cluster.storage import Founding
from neuro.raft import Configuration, LogIndex, Message, NodeId, Options, Term

FAST = Options(
    heartbeat_ms=20,
    election_timeout_ms_min=600,
    election_timeout_ms_max=1_200,
    disk_stall_ms_max=2_000,
)
DEADLINE_S = 15.0
PART_BYTES = 1 << 16


class ListMachine:
    """Keeps every payload in order; the result is the payload and how many there are."""

    def __init__(self) -> None:
        self.items: list[bytes] = []
        self._hash = hashlib.sha256()
        self.restores = 0

    @property
    def state_hash(self) -> bytes:
        return self._hash.digest()

    def apply(self, index: LogIndex, term: Term, payload: bytes) -> tuple[bytes, int]:
        self.items.append(payload)
        self._hash.update(len(payload).to_bytes(4, "big") + payload)
        return payload, len(self.items)

    def snapshot(self) -> Iterator[bytes]:
        frozen = tuple(self.items)
        return (len(item).to_bytes(4, "big") + item for item in frozen)

    def restore(self, chunks: Iterable[bytes]) -> None:
        data = b"".join(chunks)
        self.__init__()  # type: ignore[misc]
        self.restores += 1
        offset = 0
        while offset < len(data):
            size = int.from_bytes(data[offset : offset + 4], "big")
            self.apply(0, 0, data[offset + 4 : offset + 4 + size])
            offset += 4 + size


class Network:
    """Links between members; `cut` holds the pairs that hear nothing of each other."""

    def __init__(self) -> None:
        self.receivers: dict[NodeId, PeerReceiver] = {}
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.interrupt_snapshot_at = 0
        self.offsets_asked: list[int] = []
        self.damage_snapshots = False

    def isolate(self, node: NodeId) -> None:
        self.cut |= {(a, b) for a in range(1, 8) for b in range(1, 8) if (a == node) != (b == node)}

    def heal(self) -> None:
        self.cut.clear()


class MemoryTransport:
    """One member's end of the network."""

    def __init__(self, network: Network, node: NodeId) -> None:
        self._network = network
        self._node = node
        self._tasks: set[asyncio.Task[None]] = set()
        self.peers: dict[NodeId, str] = {}

    async def start(self, receiver: PeerReceiver) -> None:
        self._network.receivers[self._node] = receiver

    async def close(self) -> None:
        self._network.receivers.pop(self._node, None)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def set_peers(self, addresses: Mapping[NodeId, str]) -> None:
        self.peers = dict(addresses)

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            asyncio.get_running_loop().call_soon(self._deliver, message)

    def _deliver(self, message: Message) -> None:
        receiver = self._reach(message.to)
        own = self._network.receivers.get(self._node)
        if receiver is not None:
            receiver.receive((message,))
        elif own is not None and message.to not in self._network.receivers:
            own.report_unreachable(message.to)

    def _reach(self, peer: NodeId) -> PeerReceiver | None:
        if (self._node, peer) in self._network.cut:
            return None
        return self._network.receivers.get(peer)

    def send_snapshot(self, source: SnapshotSource) -> None:
        task = asyncio.get_running_loop().create_task(self._send_snapshot(source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_snapshot(self, source: SnapshotSource) -> None:
        offer = source.offer
        is_delivered = False
        try:
            is_delivered = await self._copy(source)
        except ReplicaError:
            pass
        finally:
            source.close()
        own = self._network.receivers.get(self._node)
        if own is not None:
            own.report_snapshot(offer.message.to, is_delivered)

    async def _copy(self, source: SnapshotSource) -> bool:
        offer = source.offer
        first = self._reach(offer.message.to)
        if first is None:
            return False
        offset = first.begin_snapshot(offer)
        self._network.offsets_asked.append(offset)
        while offset < offer.size_bytes:
            await asyncio.sleep(0)
            receiver = self._reach(offer.message.to)
            limit = self._network.interrupt_snapshot_at
            if receiver is None or (limit and offset >= limit):
                self._network.interrupt_snapshot_at = 0
                return False
            part = source.read(offset, PART_BYTES)
            if self._network.damage_snapshots:
                part = bytes([part[0] ^ 1]) + part[1:]
            receiver.write_snapshot(offer, offset, part)
            held = receiver.write_snapshot(offer, offset, part)
            receiver.write_snapshot(offer, held + 1, b"past a gap")
            offset = held
        await first.finish_snapshot(offer)
        return True


Member = Driver[tuple[bytes, int]]


class Group:
    """Founders 1..n, each with a disk that outlives its member."""

    def __init__(
        self,
        count: int,
        make_disk: Callable[[NodeId], Disk],
        *,
        settings: DriverSettings | None = None,
        options: Options = FAST,
        segment_bytes: int = 1 << 16,
    ) -> None:
        self.make_disk = make_disk
        self.options = options
        self.settings = settings or DriverSettings(space_reserve_bytes=0, housekeeping_ms=50)
        self.segment_bytes = segment_bytes
        self.network = Network()
        self.founders = Configuration(
            voters=tuple(range(1, count + 1)),
            addresses=tuple((node, f"node-{node}") for node in range(1, count + 1)),
        )
        self.members: dict[NodeId, Member] = {}

    async def start(self, node: NodeId, *, joins: bool = False) -> Member:
        founding = Founding("test", node, None if joins else self.founders, ListMachine().snapshot)
        member = await Driver.start(
            self.make_disk(node),
            founding,
            ListMachine(),
            MemoryTransport(self.network, node),
            options=self.options,
            settings=self.settings,
            segment_bytes=self.segment_bytes,
        )
        self.members[node] = member
        return member

    async def start_all(self) -> None:
        for node in self.founders.voters:
            await self.start(node)

    async def stop(self, node: NodeId) -> None:
        await self.members.pop(node).close()

    async def close(self) -> None:
        for node in tuple(self.members):
            await self.stop(node)

    async def leader(self) -> Member:
        """The one leader that a majority follows."""

        def find() -> Member | None:
            for member in self.members.values():
                status = None if member.is_over else member.status()
                if status is not None and status.role == 3:
                    others = [m for m in self.members.values() if m.node.leader == member.node.id]
                    if len(others) > len(self.founders.voters) // 2:
                        return member
            return None

        return await wait_for(find)  # type: ignore[no-any-return]

    def items(self, node: NodeId) -> list[bytes]:
        machine = self.members[node].applier.machine
        assert isinstance(machine, ListMachine)
        return machine.items


async def wait_for(find, deadline_s: float = DEADLINE_S):  # type: ignore[no-untyped-def]
    """What `find` returns as soon as it is true."""
    async with asyncio.timeout(deadline_s):
        while not (found := find()):
            await asyncio.sleep(0.005)
    return found
