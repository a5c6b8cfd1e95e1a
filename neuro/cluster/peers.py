"""The seam between the driver and whatever carries messages to other members.

Owns the protocols `PeerTransport` (implemented by the transports) and `PeerReceiver`
(implemented by the driver). Never opens a socket. Delivery is best effort: the core
survives loss, repetition and reordering, so a transport drops rather than waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from neuro.raft import Message, NodeId
from neuro.raft.messages import InstallSnapshot


@dataclass(frozen=True, slots=True)
class SnapshotOffer:
    """A snapshot file on its way: the message it belongs to, and what identifies the bytes.

    `size_bytes` is 0 for a witness, which is sent the metadata only. Equal `digest` means
    equal bytes, so a transfer that broke off goes on where it stopped.
    """

    message: InstallSnapshot
    size_bytes: int
    digest: bytes


class SnapshotSource(Protocol):
    """The sender's side of one transfer; holds the file open until closed."""

    @property
    def offer(self) -> SnapshotOffer:
        """What is being sent."""

    def read(self, offset: int, size_bytes: int) -> bytes:
        """That part of the file, shorter at its end. Short blocking read.

        Raises:
            OSError: the file can not be read.
        """

    def close(self) -> None:
        """Lets go of the file; may be called twice."""


class PeerReceiver(Protocol):
    """What the driver takes from a transport, on its event loop."""

    def receive(self, messages: Iterable[Message]) -> None:
        """Messages that arrived, in order; those for another node are dropped.

        `InstallSnapshot` never comes this way: its bytes come first, see below.
        """

    def report_unreachable(self, peer: NodeId) -> None:
        """Messages to that peer were lost: connection down or queue full."""

    def begin_snapshot(self, offer: SnapshotOffer) -> int:
        """A transfer begins or begins again; returns the offset to send from.

        Bytes already received of the same digest are kept, also over a restart.

        Raises:
            ReplicaError: not wanted now; the sender calls it failed.
        """

    def write_snapshot(self, offer: SnapshotOffer, offset: int, data: bytes) -> int:
        """A part arrived; returns how many bytes are held in a row now.

        A part that repeats what is held changes nothing; one past a gap is ignored.
        """

    async def finish_snapshot(self, offer: SnapshotOffer) -> None:
        """All parts are there: verifies the file and steps the message.

        Raises:
            ReplicaError: the file is incomplete or damaged; it was thrown away.
        """

    def report_snapshot(self, peer: NodeId, is_delivered: bool) -> None:
        """What became of an outgoing transfer."""


class PeerTransport(Protocol):
    """Carries messages to peers over bounded queues; all methods belong to one event loop."""

    async def start(self, receiver: PeerReceiver) -> None:
        """Begins to listen."""

    async def close(self) -> None:
        """Stops listening, drops queues and connections."""

    def set_peers(self, addresses: Mapping[NodeId, str]) -> None:
        """The peers to talk to, without this node; others are disconnected.

        Addresses are those of the configuration, see `replica.split_member_address`.
        """

    def send(self, messages: Sequence[Message]) -> None:
        """Queues messages for their receivers; never waits. Full or unknown: dropped, reported."""

    def send_snapshot(self, source: SnapshotSource) -> None:
        """Begins a transfer on its own stream, one per peer at a time; owns the source now.

        Ends with `report_snapshot`, whatever happens.
        """
