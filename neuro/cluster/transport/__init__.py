"""Carries messages of the core between members, over TCP or QUIC.

    transport = make_transport(TransportSettings(member, bind, tls=files))
    await transport.start(driver)
    transport.set_peers(configuration.addresses)
    transport.send(ready.messages)

Owns the public names. `codec` and `frames` say what is sent, `outbound`, `inbound` and `snapshots`
when, `tcp` and `quic` on what. A carrier is a pipe with a proven identity at its end: everything
else exists once, and one suite of tests holds both carriers to it.
"""

from __future__ import annotations

from neuro.cluster.transport.errors import (
    InsecureTransport,
    MessageMalformed,
    PeerRefused,
    TransportError,
)
from neuro.cluster.transport.frames import Member
from neuro.cluster.transport.outbound import DialState
from neuro.cluster.transport.settings import CarrierKind, TransportLimits, TransportSettings
from neuro.cluster.transport.transport import MemberTransport, PeerStatus, TransportStats

__all__ = [
    "CarrierKind",
    "DialState",
    "InsecureTransport",
    "Member",
    "MemberTransport",
    "MessageMalformed",
    "PeerRefused",
    "PeerStatus",
    "TransportError",
    "TransportLimits",
    "TransportSettings",
    "TransportStats",
    "make_transport",
]


def make_transport(settings: TransportSettings) -> MemberTransport:
    """A transport over the carrier that the settings name; it does not listen yet.

    Raises:
        InsecureTransport: members would talk in clear where others can listen.
        CertificateError: a certificate or key can not be used.
    """
    settings.check_secure()
    if settings.carrier is CarrierKind.QUIC and settings.tls is not None:
        from neuro.cluster.transport.quic import QuicCarrier  # noqa: PLC0415 (loads aioquic)

        return MemberTransport(settings, QuicCarrier(settings, settings.tls))
    from neuro.cluster.transport.tcp import TcpCarrier  # noqa: PLC0415 (the other is not loaded)

    return MemberTransport(settings, TcpCarrier(settings))
