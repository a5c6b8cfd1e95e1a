"""What a command came to: the same on every member, kept for the session that asked.

Owns the shape and the codes. Never raises: a refusal is a result of the state machine like any
other, because raising would end every member at the same entry.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

OK: Final = "ok"
NOT_FOUND: Final = "not_found"
INVALID_KEY: Final = "invalid_key"
INVALID_REQUEST: Final = "invalid_request"
VALUE_TOO_LARGE: Final = "value_too_large"
COMPARE_FAILED: Final = "compare_failed"
LEASE_NOT_FOUND: Final = "lease_not_found"
LIMIT_REACHED: Final = "limit_reached"
SESSION_EXPIRED: Final = "session_expired"
SESSION_STALE: Final = "session_stale"
SESSION_FULL: Final = "session_full"
COMPACTED: Final = "compacted"


class Outcome(NamedTuple):
    """`revision` is the store's after the command; `facts` is what a client gets to see."""

    code: str
    revision: int
    facts: dict[str, Any]

    @property
    def is_ok(self) -> bool:
        """Whether the command did what it says."""
        return self.code == OK


class Refusal(Exception):
    """Ends the execution of a command before it changed anything; never leaves `apply`."""

    def __init__(self, code: str, **facts: Any) -> None:
        super().__init__(code)
        self.code = code
        self.facts = facts
