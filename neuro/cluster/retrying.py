"""When a client may try again, where, and after how long.

Owns these decisions for every client, with or without asyncio. Never sends anything. A request is
repeated only when the first one certainly had no effect, or when a repetition is harmless: reads,
and commands of a session.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from neuro.cluster.client_errors import ClientError, ClusterUnreachable
from neuro.errors import UnitError
from neuro.units import Address, parse_address

TIMEOUT_MS: Final = 5_000
"""What a request may take in all, with its repetitions."""
PAUSE_MS_MIN: Final = 20
PAUSE_MS_MAX: Final = 500
"""An election takes one to three seconds: a few tries fall into it, not hundreds."""
ELSEWHERE: Final = frozenset(
    {
        "not_leader",
        "raft_busy",
        "raft_transferring",
        "replica_stopped",
        "replica_timeout",
        "server_busy",
        "state_corrupt",
        "cluster_unreachable",
        "connection_lost",
        "outcome_unknown",
    }
)
"""Failures of a member or a moment: another member, or later, may do better."""


class ConnectionLost(ClientError):
    """The connection ended under the request."""

    code = "connection_lost"
    is_certain = False


class Attempts:
    """The tries of one request."""

    __slots__ = ("_endpoints", "_first", "_is_repeatable", "_tried", "may_have_effect", "redirect")

    def __init__(self, endpoints: Sequence[Address], first: int, *, is_repeatable: bool) -> None:
        """Begins with endpoint number `first`."""
        self._endpoints = endpoints
        self._first = first
        self._is_repeatable = is_repeatable
        self._tried = 0
        self.redirect: Address | None = None
        self.may_have_effect = False

    @property
    def count(self) -> int:
        """Tries that have failed."""
        return self._tried

    @property
    def endpoint(self) -> Address:
        """Where to try now."""
        if self.redirect is not None:
            return self.redirect
        return self._endpoints[(self._first + self._tried) % len(self._endpoints)]

    def may_retry(self, error: ClientError) -> bool:
        """Takes note of a failure; whether to try again, at `endpoint`, after `pause_ms`."""
        code = error.remote_code or error.code
        if not error.is_certain:
            self.may_have_effect = True
        if code not in ELSEWHERE or not (error.is_certain or self._is_repeatable):
            return False
        leader = find_leader(error)
        self.redirect = leader if leader != self.redirect else None
        self._tried += 1
        return True

    @property
    def pause_ms(self) -> int:
        """How long to wait first: not at all while there are others to ask."""
        free_count = max(len(self._endpoints), 2 if self.redirect is not None else 1)
        if self._tried < free_count:
            return 0
        round_count = min(self._tried - free_count, 8)
        return min(PAUSE_MS_MIN << round_count, PAUSE_MS_MAX)


def find_leader(error: ClientError) -> Address | None:
    """The leader's client address in a failure, where it names one."""
    leader = error.details.get("leader")
    try:
        return parse_address(str(leader["address"])) if isinstance(leader, dict) else None
    except (KeyError, UnitError):
        return None


def make_unreachable(endpoint: Address, error: OSError) -> ClusterUnreachable:
    """The failure to connect: nothing was sent."""
    reason = error.strerror or str(error)
    return ClusterUnreachable(f"no node answers at `{endpoint}`: {reason}", endpoints=str(endpoint))
