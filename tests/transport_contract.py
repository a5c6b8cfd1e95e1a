"""What the tests of the transports share: a recording driver, and a proxy that cuts links.

Owns fakes only. `Relay` stands between two members on either carrier; it can be cut (nothing
passes, connections stay) and mended, which is what a network does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from neuro.cluster.peers import SnapshotOffer
from neuro.cluster.replica import ReplicaError
from neuro.cluster.transport import MemberTransport
from neuro.raft import Configuration, Message, NodeId, SnapshotMeta
from neuro.raft.messages import InstallSnapshot

DEADLINE_S = 10.0


async def until(condition: Callable[[], Any], *, deadline_s: float = DEADLINE_S) -> None:
    """Polls until the condition holds; fails at the deadline."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)


async def keep_sending(
    transport: MemberTransport, message: Message, condition: Callable[[], Any]
) -> None:
    """Repeats a message until the condition holds, as the core does."""

    def is_met() -> bool:
        if condition():
            return True
        transport.send([message])
        return False

    await until(is_met)


@dataclass
class RecordingDriver:
    """A `PeerReceiver` that keeps what it is told and holds snapshots in memory."""

    messages: list[Message] = field(default_factory=list)
    unreachable: list[NodeId] = field(default_factory=list)
    reports: list[tuple[NodeId, bool]] = field(default_factory=list)
    offers: list[SnapshotOffer] = field(default_factory=list)
    held: dict[bytes, bytearray] = field(default_factory=dict)
    finished: list[bytes] = field(default_factory=list)
    begun_at: list[int] = field(default_factory=list)
    wants_snapshots: bool = True
    believes_snapshots: bool = True
    part_is_done: Callable[[int], None] | None = None

    def receive(self, messages: Iterable[Message]) -> None:
        self.messages += messages

    def report_unreachable(self, peer: NodeId) -> None:
        self.unreachable.append(peer)

    def begin_snapshot(self, offer: SnapshotOffer) -> int:
        if not self.wants_snapshots:
            raise ReplicaError("not now")
        self.offers.append(offer)
        self.begun_at.append(len(self.held.setdefault(offer.digest, bytearray())))
        return self.begun_at[-1]

    def write_snapshot(self, offer: SnapshotOffer, offset: int, data: bytes) -> int:
        held = self.held[offer.digest]
        if offset == len(held):
            held += data
        if self.part_is_done is not None:
            self.part_is_done(len(held))
        return len(held)

    async def finish_snapshot(self, offer: SnapshotOffer) -> None:
        await asyncio.sleep(0)
        if not self.believes_snapshots:
            self.held.pop(offer.digest)
            raise ReplicaError("damaged")
        self.finished.append(bytes(self.held[offer.digest]))

    def report_snapshot(self, peer: NodeId, is_delivered: bool) -> None:
        self.reports.append((peer, is_delivered))


class MemorySource:
    """A `SnapshotSource` over bytes."""

    def __init__(self, sender: NodeId, to: NodeId, data: bytes, *, says_size: int = -1) -> None:
        meta = SnapshotMeta(9, 3, Configuration(voters=(1, 2), addresses=((1, "a:1"),)))
        size = len(data) if says_size < 0 else says_size
        digest = len(data).to_bytes(8, "big") + data[:8]
        self._offer = SnapshotOffer(InstallSnapshot(sender, to, 4, meta, 5), size, digest)
        self._data = data
        self.is_closed = False

    @property
    def offer(self) -> SnapshotOffer:
        return self._offer

    def read(self, offset: int, size_bytes: int) -> bytes:
        return self._data[offset : offset + size_bytes]

    def close(self) -> None:
        self.is_closed = True


class Relay:
    """Forwards one TCP or UDP address; `cut` swallows what comes, `mend` lets it pass again."""

    def __init__(self, target: tuple[str, int], *, is_udp: bool) -> None:
        self._target = target
        self._is_udp = is_udp
        self._open = asyncio.Event()
        self._open.set()
        self._server: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""
        self.passed_bytes = 0

    @property
    def is_cut(self) -> bool:
        return not self._open.is_set()

    async def start(self) -> str:
        loop = asyncio.get_running_loop()
        if self._is_udp:
            self._server, _ = await loop.create_datagram_endpoint(
                lambda: _UdpFront(self, self._target), local_addr=("127.0.0.1", 0)
            )
            port = self._server.get_extra_info("sockname")[1]
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            port = self._server.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        return self.address

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def break_connections(self) -> None:
        """Ends every TCP connection, as a crash of one side does."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        self._server.close()
        self.break_connections()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            far_reader, far = await asyncio.open_connection(*self._target)
            self._writers.add(far)
            await asyncio.gather(self._pump(reader, far), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, far):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._open.wait()
            self.passed_bytes += len(data)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


class _UdpFront(asyncio.DatagramProtocol):
    """One socket towards the target for each address that sends here."""

    def __init__(self, relay: Relay, target: tuple[str, int]) -> None:
        self._relay = relay
        self._target = target
        self._backs: dict[Any, Any] = {}
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for back in self._backs.values():
            back.close()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self._relay.is_cut:
            return
        self._relay.passed_bytes += len(data)
        back = self._backs.get(addr)
        if back is None:
            back = self._backs[addr] = _UdpBack(self, addr, self._target)
        with contextlib.suppress(OSError):
            back.send(data)

    def answer(self, data: bytes, addr: Any) -> None:
        if not self._relay.is_cut:
            self._transport.sendto(data, addr)


class _UdpBack:
    def __init__(self, front: _UdpFront, addr: Any, target: tuple[str, int]) -> None:
        import socket

        self._front, self._addr = front, addr
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(target)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._front.answer(self._socket.recv(1 << 16), self._addr)
