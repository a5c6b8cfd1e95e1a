"""The seam between what members say and what carries it: a channel is an ordered byte stream.

Owns the protocols that TCP and QUIC fulfil. Never knows a frame. Everything about peers, queues,
handshakes and transfers stands above it once, so that the two carriers can not differ in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from neuro.raft import NodeId
from neuro.units import Address

UNSENT_BYTES_MAX: Final = 1 << 20
"""A channel with more than this unsent is full: what waits longer is better kept as messages."""


class ChannelOwner(Protocol):
    """Told what happens on a channel, on the event loop; must not raise."""

    def data_arrived(self, data: bytes) -> None:
        """Bytes, in order."""

    def room_returned(self) -> None:
        """The channel was full and is not any more."""

    def channel_closed(self, reason: str) -> None:
        """It is over, for whatever reason, also after `abort`; called exactly once."""


class Channel(Protocol):
    """An ordered byte stream to one peer."""

    @property
    def peer(self) -> NodeId | None:
        """Who the other side has proven to be; None where nothing is proven (plaintext)."""

    @property
    def is_full(self) -> bool:
        """Whether the owner should hold back until `room_returned`."""

    def write(self, data: bytes) -> None:
        """Sends, or buffers; nothing happens on a channel that is closed."""

    def finish(self) -> None:
        """Closes when everything written was sent."""

    def abort(self) -> None:
        """Closes now."""


class Carrier(Protocol):
    """Makes channels, both ways."""

    async def listen(self, accept: Callable[[Channel], ChannelOwner]) -> Address:
        """Begins to take channels; where it listens.

        Raises:
            OSError: the address can not be used.
        """

    async def open(self, address: Address, peer: NodeId, owner: ChannelOwner) -> Channel:
        """A channel to that peer; the caller sets the deadline.

        Raises:
            OSError: nobody answers there.
            PeerRefused: somebody else answers there, or refuses this node's certificate.
        """

    def forget(self, peer: NodeId) -> None:
        """Lets go of whatever is kept for channels to that peer."""

    async def close(self) -> None:
        """Ends every channel and stops listening."""
