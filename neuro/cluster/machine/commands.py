"""Commands as the log holds them.

Owns the bytes: a msgpack array `[version, op, session, sequence, acknowledged, arguments]`. Never
judges arguments: that is done when the command is applied, by the same code on every member.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

COMMAND_VERSION: Final = 1


class Op(IntEnum):
    """What a command does; the numbers are in logs on disk and never change."""

    PUT = 1
    """key, value, lease"""
    DELETE = 2
    """key or prefix, is_prefix"""
    CAS = 3
    """key, expected revision or None, expected value or None, value, lease"""
    TXN = 4
    """comparisons, operations if all hold, operations else"""
    LEASE_GRANT = 5
    """ttl_ms"""
    LEASE_KEEPALIVE = 6
    """lease"""
    LEASE_REVOKE = 7
    """lease"""
    SESSION_OPEN = 8
    SESSION_CLOSE = 9
    """session"""
    TICK = 10
    """time it was measured from, elapsed milliseconds"""
    COMPACT = 11
    """revision: forget the history up to it"""


class Command(NamedTuple):
    """One command; session 0 means none, and then nobody may repeat it."""

    op: int
    arguments: list[Any]
    session: int = 0
    sequence: int = 0
    acknowledged: int = 0


def make_payload(
    op: Op, *arguments: Any, session: int = 0, sequence: int = 0, acknowledged: int = 0
) -> bytes:
    """The bytes of a command.

    Args:
        op: What to do.
        arguments: As listed at the members of `Op`.
        session: From a SESSION_OPEN; 0 for none.
        sequence: 1 or more, one for each command of a session; the same when it is repeated.
        acknowledged: The client has the results of all sequences below this.
    """
    packed: bytes = msgpack.packb(
        [COMMAND_VERSION, int(op), session, sequence, acknowledged, arguments]
    )
    return packed


def parse_payload(payload: bytes) -> Command:
    """The command in a payload.

    Raises:
        ValueError: the bytes are no command of this version.
    """
    try:
        parts = msgpack.unpackb(payload, strict_map_key=True)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ValueError("not msgpack") from error
    if not isinstance(parts, list) or len(parts) != 6 or parts[0] != COMMAND_VERSION:
        raise ValueError("not a command of this version")
    _, op, session, sequence, acknowledged, arguments = parts
    for number in (op, session, sequence, acknowledged):
        if type(number) is not int or number < 0:
            raise ValueError("not a command")
    if not isinstance(arguments, list):
        raise ValueError("not a command")
    return Command(op, arguments, session, sequence, acknowledged)
