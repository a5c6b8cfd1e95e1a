"""What a client of the key-value store has to expect, by stable code.

Owns the failures as clients see them, whatever member or transport they come from. Loads nothing
of the server: `neurocache ctl` imports it.

    ClientError                     client_error            remote_code, details, is_certain
    ├── KeyNotFound                 not_found
    ├── InvalidKey                  invalid_key
    ├── InvalidRequest              invalid_request
    ├── CompareFailed               compare_failed          details: exists, mod_revision
    ├── Compacted                   compacted               details: compacted
    ├── LeaseNotFound               lease_not_found
    ├── SessionExpired              session_expired
    ├── NotLeader                   not_leader              details: leader
    ├── RequestTimeout              request_timeout
    ├── OutcomeUnknown              outcome_unknown
    └── ClusterUnreachable          cluster_unreachable     endpoints
"""

from __future__ import annotations

from typing import Any, ClassVar

from neuro.errors import NeuroCacheError


class ClientError(NeuroCacheError):
    """A request failed. `remote_code` is the code as it came, also where no class here has it.

    `is_certain`: the request certainly has had no effect.
    """

    code = "client_error"
    remote_code: str = ""
    details: ClassVar[dict[str, Any]] = {}
    is_certain: bool = True


class KeyNotFound(ClientError):
    """There is no such key."""

    code = "not_found"


class InvalidKey(ClientError):
    """What was given can not be a key; the message says why."""

    code = "invalid_key"


class InvalidRequest(ClientError):
    """The request makes no sense; the message says why."""

    code = "invalid_request"


class CompareFailed(ClientError):
    """The key is not as it was expected to be; nothing was written."""

    code = "compare_failed"


class Compacted(ClientError):
    """That revision is forgotten, or yet to come; read anew and go on from there."""

    code = "compacted"


class LeaseNotFound(ClientError):
    """There is no such lease, or it has expired."""

    code = "lease_not_found"


class SessionExpired(ClientError):
    """The cluster has forgotten this client's session."""

    code = "session_expired"


class NotLeader(ClientError):
    """Only the leader can do it; `details["leader"]` says who that is, where it is known."""

    code = "not_leader"


class RequestTimeout(ClientError):
    """No answer in time, and certainly no effect."""

    code = "request_timeout"


class OutcomeUnknown(ClientError):
    """The request may have had its effect, or may yet have it."""

    code = "outcome_unknown"
    is_certain = False


class ClusterUnreachable(ClientError):
    """None of the endpoints can be reached."""

    code = "cluster_unreachable"
    endpoints: str = ""


_CLASSES: dict[str, type[ClientError]] = {
    kind.code: kind
    for kind in (
        KeyNotFound, InvalidKey, InvalidRequest, CompareFailed, Compacted, LeaseNotFound,
        SessionExpired, NotLeader, RequestTimeout, OutcomeUnknown,
    )
}  # fmt: skip


def make_client_error(error: dict[str, Any]) -> ClientError:
    """The failure in an answer's `error`."""
    code = str(error.get("code", "client_error"))
    details = {
        name: value for name, value in error.items() if name not in ("code", "message", "certain")
    }
    return _CLASSES.get(code, ClientError)(
        str(error.get("message", code)),
        remote_code=code,
        details=details,
        is_certain=error.get("certain") is True,
    )
