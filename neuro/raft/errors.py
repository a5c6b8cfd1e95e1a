"""Failures a caller of the core is expected to handle, each with a stable code.

Owns the error classes, and the numbers under which they travel in replies. Never signals
a broken invariant: those stop the process through `neuro.checks.check`.

    NeuroCacheError
    └── RaftError               raft_error
        ├── NotLeader           not_leader              leader
        ├── Busy                raft_busy               bound, limit
        ├── Transferring        raft_transferring       target
        ├── PayloadTooLarge     payload_too_large       size_bytes, bytes_max
        ├── ChangePending       change_pending
        ├── InvalidChange       change_invalid
        └── InvalidTransfer     transfer_invalid        target
"""

from __future__ import annotations

from enum import IntEnum

from neuro.errors import NeuroCacheError


class Code(IntEnum):
    """Outcome of a forwarded request; numbers travel on the wire and never change.

    UNKNOWN_OUTCOME is not a failure: the request may have been, or may yet be, applied.
    """

    OK = 0
    NOT_LEADER = 1
    BUSY = 2
    TRANSFERRING = 3
    UNKNOWN_OUTCOME = 4
    TOO_LARGE = 5


class RaftError(NeuroCacheError):
    """Root of the core's expected failures; nothing was appended when one is raised."""

    code = "raft_error"
    wire: Code = Code.NOT_LEADER


class NotLeader(RaftError):
    """This node may not do it; `leader` is the node to ask, 0 when unknown."""

    code = "not_leader"
    leader: int = 0


class Busy(RaftError):
    """`bound` is at its limit; try again after some progress."""

    code = "raft_busy"
    wire = Code.BUSY
    bound: str = ""
    limit: int = 0


class Transferring(RaftError):
    """Leadership is being handed to `target`."""

    code = "raft_transferring"
    wire = Code.TRANSFERRING
    target: int = 0


class PayloadTooLarge(RaftError):
    """One payload is larger than an entry may be."""

    code = "payload_too_large"
    wire = Code.TOO_LARGE
    size_bytes: int = 0
    bytes_max: int = 0


class ChangePending(RaftError):
    """A configuration change is unfinished, or nothing of this term is committed yet."""

    code = "change_pending"


class InvalidChange(RaftError):
    """The configuration change makes no sense; the message says why."""

    code = "change_invalid"


class InvalidTransfer(RaftError):
    """`target` can not lead: unknown, a learner, a witness, or the leader itself."""

    code = "transfer_invalid"
    target: int = 0
