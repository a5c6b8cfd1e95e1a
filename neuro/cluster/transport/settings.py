"""What a transport needs to know, and its bounds.

Owns the values and the rule that plaintext stays on loopback. Never changes while it runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from neuro.cluster.ca import TlsFiles
from neuro.cluster.transport.errors import InsecureTransport
from neuro.cluster.transport.frames import Member
from neuro.units import Address


class CarrierKind(StrEnum):
    """What the bytes travel on."""

    TCP = "tcp"
    QUIC = "quic"


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Times in milliseconds, queues per peer."""

    connect_timeout_ms: int = 3_000
    """Connection, TLS and handshake together; a healthy peer answers within two round trips."""
    backoff_ms_min: int = 50
    backoff_ms_max: int = 2_000
    """A peer that comes back is found within about an election timeout."""
    queue_count_max: int = 4_096
    queue_bytes_max: int = 32 << 20
    """Two full windows of the core (`Options.inflight_bytes_max`): more is repeated anyway."""
    idle_timeout_ms: int = 8_000
    """Silence, or bytes unacknowledged, after which a connection counts as dead."""
    inbound_count_max: int = 256
    """Four connections of each of the 64 members a group has at most."""
    snapshot_part_bytes: int = 256 << 10
    """Short enough that heartbeats on the other connection are not kept waiting."""
    snapshot_step_timeout_ms: int = 10_000
    """One part or one answer during a transfer."""
    snapshot_finish_timeout_ms: int = 120_000
    """The receiver checks the whole file before it answers."""
    members_seen_max: int = 1_024
    """Members, past ones too, whose incarnation is remembered."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """One member's end of the network.

    `advertise` is where peers reach this member; empty means where it listens. `is_insecure`
    allows plaintext on addresses that other machines can reach.
    """

    member: Member
    bind: Address
    advertise: str = ""
    tls: TlsFiles | None = None
    is_insecure: bool = False
    carrier: CarrierKind = CarrierKind.TCP
    limits: TransportLimits = field(default_factory=TransportLimits)

    def check_secure(self) -> None:
        """Raises InsecureTransport when members would talk in clear where others can listen."""
        if self.tls is not None:
            return
        if self.carrier is CarrierKind.QUIC:
            raise InsecureTransport(
                "QUIC always encrypts, so members need certificates",
                hint="make them with `neurocache ctl ca init` and `neurocache ctl ca issue`",
            )
        if not self.bind.is_loopback and not self.is_insecure:
            raise InsecureTransport(
                f"members would talk in clear on `{self.bind}`",
                hint="give certificates (`neurocache ctl ca init`), or allow it with `--insecure`",
            )
