"""What can go wrong between two members, each with a stable code.

Owns the error classes of the transports. None of them reaches a client: messages are lost and
reported, and the core tries again.

    NeuroCacheError
    ├── TransportError              transport_error
    │   ├── MessageMalformed        message_malformed       reason
    │   └── PeerRefused             peer_refused            reason, peer
    └── StartError                  start_failed            hint
        └── InsecureTransport       transport_insecure
"""

from __future__ import annotations

from neuro.errors import NeuroCacheError, StartError


class TransportError(NeuroCacheError):
    """A connection to a peer failed or was ended on purpose."""

    code = "transport_error"


class MessageMalformed(TransportError):
    """A frame is well formed but says nothing a member would say; `reason` is a stable word."""

    code = "message_malformed"
    reason: str = ""


class PeerRefused(TransportError):
    """One side of a handshake turned the other away.

    `reason` is a stable word, such as `cluster_id` or `certificate`.
    """

    code = "peer_refused"
    reason: str = ""
    peer: int = 0


class InsecureTransport(StartError):
    """Members would talk in clear over an address that other machines can reach."""

    code = "transport_insecure"
