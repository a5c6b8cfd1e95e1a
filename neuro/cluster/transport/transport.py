"""The transport between members: links out, channels in, transfers, over either carrier.

Owns who may speak, addresses, and what is reported to the driver. Never opens a socket itself (the
carrier does) and never waits: the core survives loss, so messages are dropped rather than kept.

A member that is joining knows no addresses yet, and a removed one must be told so; both are
answered at the address in their introduction for as long as their own connection lasts.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

from neuro.checks import check
from neuro.cluster.peers import PeerReceiver, SnapshotSource
from neuro.cluster.replica import split_member_address
from neuro.cluster.transport.channel import Carrier, Channel
from neuro.cluster.transport.errors import PeerRefused
from neuro.cluster.transport.frames import Hello, Lane, Sealer
from neuro.cluster.transport.inbound import Inbound
from neuro.cluster.transport.outbound import DialState, PeerLink
from neuro.cluster.transport.settings import TransportSettings
from neuro.cluster.transport.snapshots import SnapshotSender
from neuro.raft import Message, NodeId

_log = logging.getLogger("neuro.cluster.transport")


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """The link to one peer."""

    node: NodeId
    address: str
    state: DialState
    queue_count: int
    queue_bytes: int


@dataclass(slots=True)
class TransportStats:
    """Counts since the start."""

    messages_sent: int = 0
    messages_lost: int = 0
    channels_accepted: int = 0
    channels_refused: int = 0
    snapshots_delivered: int = 0
    snapshots_failed: int = 0


@dataclass(slots=True)
class _Transfer:
    sender: SnapshotSender
    task: asyncio.Task[bool]


class MemberTransport:
    """A `PeerTransport` over any carrier; all methods belong to one event loop."""

    def __init__(
        self, settings: TransportSettings, carrier: Carrier, *, chance: random.Random | None = None
    ) -> None:
        """Does not listen yet.

        Raises:
            InsecureTransport: members would talk in clear where others can listen.
        """
        settings.check_secure()
        self.settings = settings
        self.member = settings.member
        self.limits = settings.limits
        self.carrier = carrier
        self.sealer = Sealer(settings.member)
        self.chance = chance or random.Random()
        self.stats = TransportStats()
        self.address = settings.bind
        self._receiver: PeerReceiver | None = None
        self._addresses: dict[NodeId, str] = {}
        self._learned: dict[NodeId, str] = {}
        self._incarnations: dict[NodeId, int] = {}
        self._links: dict[NodeId, PeerLink] = {}
        self._inbound: set[Inbound] = set()
        self._transfers: dict[NodeId, _Transfer] = {}
        self._unreachable: set[NodeId] = set()
        self._is_closed = False

    @property
    def advertised(self) -> str:
        """Where peers reach this member."""
        return self.settings.advertise or str(self.address)

    @property
    def receiver(self) -> PeerReceiver:
        """Where messages go; there is one from `start` on."""
        check(self._receiver is not None, "the transport was started")
        return cast("PeerReceiver", self._receiver)

    async def start(self, receiver: PeerReceiver) -> None:
        """Begins to listen; `address` says where.

        Raises:
            OSError: the address can not be used.
        """
        check(self._receiver is None, "a transport starts once")
        self._receiver = receiver
        self.address = await self.carrier.listen(self._accept)

    async def close(self) -> None:
        """Stops listening, drops queues and connections."""
        if self._is_closed:
            return
        self._is_closed = True
        links, transfers = list(self._links.values()), list(self._transfers.values())
        for link in links:
            link.close()
        for transfer in transfers:
            transfer.task.cancel()
        for inbound in tuple(self._inbound):
            inbound.close()
        await asyncio.gather(*(transfer.task for transfer in transfers), return_exceptions=True)
        for link in links:
            await link.wait_closed()
        await self.carrier.close()
        self._links.clear()

    def set_peers(self, addresses: Mapping[NodeId, str]) -> None:
        """The peers to talk to; others are disconnected, and those that moved connect anew."""
        raft = {
            node: split_member_address(text)[0]
            for node, text in addresses.items()
            if node != self.member.node
        }
        self._addresses = {node: address for node, address in raft.items() if address}
        for node, link in list(self._links.items()):
            if self._find_address(node) != link.address:
                del self._links[node]
                link.close()
                self.carrier.forget(node)
        for node in [node for node in self._transfers if not self._find_address(node)]:
            self._transfers[node].task.cancel()

    def send(self, messages: Sequence[Message]) -> None:
        """Queues messages for their receivers; never waits."""
        by_peer: dict[NodeId, list[Message]] = {}
        for message in messages:
            by_peer.setdefault(message.to, []).append(message)
        for peer, batch in by_peer.items():
            link = self._find_link(peer)
            if link is None:
                self.messages_lost(peer, len(batch))
                continue
            self.stats.messages_sent += len(batch)
            link.send(batch)

    def send_snapshot(self, source: SnapshotSource) -> None:
        """Begins a transfer; a second one of the same bytes joins the first.

        A transfer of other bytes takes the first one's place, whose end is not reported then.
        """
        peer = source.offer.message.to
        running = self._transfers.get(peer)
        if running is not None and running.sender.digest == source.offer.digest:
            source.close()
            return
        if running is not None:
            del self._transfers[peer]
            running.task.cancel()
        address = self._find_address(peer)
        if not address or self._is_closed:
            source.close()
            asyncio.get_running_loop().call_soon(self._report_snapshot, peer, False)
            return
        sender = SnapshotSender(self, peer, address, source)
        task = asyncio.get_running_loop().create_task(sender.run())
        task.add_done_callback(partial(self._transfer_ended, peer, sender))
        self._transfers[peer] = _Transfer(sender, task)

    def peers(self) -> tuple[PeerStatus, ...]:
        """The links that exist now, sorted."""
        return tuple(
            PeerStatus(node, link.address, link.state, link.queue_count, link.queue_bytes)
            for node, link in sorted(self._links.items())
        )

    def messages_lost(self, peer: NodeId, count: int) -> None:
        """Counts, and reports once for all that is lost in this turn of the loop."""
        self.stats.messages_lost += count
        if not self._unreachable:
            asyncio.get_running_loop().call_soon(self._report_unreachable)
        self._unreachable.add(peer)

    def admit(self, hello: Hello) -> None:
        """Lets a peer in, and older channels of its lane out.

        Raises:
            PeerRefused: a later incarnation of it was here.
        """
        peer, incarnation = hello.member.node, hello.member.incarnation
        if incarnation < self._incarnations.get(peer, 0):
            raise PeerRefused(
                f"node {peer} was here in a later incarnation: two of them, or an old disk",
                reason="incarnation",
                peer=peer,
            )
        is_known = peer in self._addresses or peer in self._incarnations
        if not is_known and len(self._incarnations) >= self.limits.members_seen_max:
            raise PeerRefused("too many members that are not known", reason="busy", peer=peer)
        self._incarnations[peer] = incarnation
        for older in tuple(self._inbound):
            if older.hello is None or older.peer != peer:
                continue
            if older.hello.lane is hello.lane or older.hello.member.incarnation < incarnation:
                older.close()
        if hello.address and hello.lane is Lane.MESSAGES:
            self._learned[peer] = hello.address

    def left(self, inbound: Inbound) -> None:
        """A channel is over; an address learned from it is forgotten with the last one."""
        self._inbound.discard(inbound)
        peer = inbound.peer
        if peer and all(other.peer != peer for other in self._inbound):
            self._learned.pop(peer, None)

    def _accept(self, channel: Channel) -> Inbound:
        inbound = Inbound(self, channel, self.limits.connect_timeout_ms)
        self.stats.channels_accepted += 1
        if self._is_closed or len(self._inbound) >= self.limits.inbound_count_max:
            self.stats.channels_refused += 1
            asyncio.get_running_loop().call_soon(inbound.close)
        self._inbound.add(inbound)
        return inbound

    def _find_address(self, peer: NodeId) -> str:
        return self._addresses.get(peer) or self._learned.get(peer, "")

    def _find_link(self, peer: NodeId) -> PeerLink | None:
        address = self._find_address(peer)
        link = self._links.get(peer)
        if link is not None and link.address != address:
            del self._links[peer]
            link.close()
            link = None
        if link is None and address and not self._is_closed:
            link = self._links[peer] = PeerLink(self, peer, address)
        return link

    def _transfer_ended(
        self, peer: NodeId, sender: SnapshotSender, task: asyncio.Task[bool]
    ) -> None:
        """Also called for a transfer that was cancelled before its first step."""
        sender.close()
        running = self._transfers.get(peer)
        if running is not None and running.sender is sender:
            del self._transfers[peer]
            self._report_snapshot(peer, not task.cancelled() and task.result())

    def _report_snapshot(self, peer: NodeId, is_delivered: bool) -> None:
        if is_delivered:
            self.stats.snapshots_delivered += 1
        else:
            self.stats.snapshots_failed += 1
        if not self._is_closed:
            self.receiver.report_snapshot(peer, is_delivered)

    def _report_unreachable(self) -> None:
        peers, self._unreachable = self._unreachable, set()
        if self._is_closed:
            return
        for peer in sorted(peers):
            self.receiver.report_unreachable(peer)
