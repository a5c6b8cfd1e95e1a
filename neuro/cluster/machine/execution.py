"""What each command does to the state.

Owns the meaning of commands other than transactions. Each function checks everything first and
raises `Refusal`, then changes the state and cannot fail any more: a command has its whole effect
or none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from neuro.cluster.machine import outcome as codes
from neuro.cluster.machine.commands import Op
from neuro.cluster.machine.history import Record
from neuro.cluster.machine.limits import (
    DELETE_COUNT_MAX,
    INTEGER_MAX,
    RECORD_OVERHEAD_BYTES,
    STATE_BYTES_MAX,
    TICK_ELAPSED_MS_MAX,
    VALUE_BYTES_MAX,
    explain_key,
)
from neuro.cluster.machine.outcome import Refusal
from neuro.cluster.machine.state import State

Facts = dict[str, Any]


def check_key(key: object) -> str:
    """The key; refuses what is none."""
    reason = explain_key(key)
    if reason is not None:
        raise Refusal(codes.INVALID_KEY, reason=reason)
    return str(key)


def check_value(value: object) -> bytes:
    """The value; refuses what is too large or no bytes."""
    if type(value) is not bytes:
        raise invalid("a value is bytes")
    if len(value) > VALUE_BYTES_MAX:
        raise Refusal(codes.VALUE_TOO_LARGE, size_bytes=len(value), bytes_max=VALUE_BYTES_MAX)
    return value


def check_number(number: object, name: str) -> int:
    """A whole number of 0 or more; refuses anything else."""
    if type(number) is not int or not 0 <= number <= INTEGER_MAX:
        raise invalid(f"`{name}` is a whole number, 0 or more")
    return number


def check_lease(state: State, lease: object) -> int:
    """A lease that exists, or 0."""
    number = check_number(lease, "lease")
    if number:
        state.leases.find(number)
    return number


def check_room(state: State, added_bytes: int) -> None:
    """Refuses what would make the state larger than it may be."""
    if state.size_bytes + added_bytes > STATE_BYTES_MAX:
        raise Refusal(codes.LIMIT_REACHED, limit="state bytes", maximum=STATE_BYTES_MAX)


def measure_put(key: str, value: bytes) -> int:
    """Bytes that writing a key may add to the state."""
    return len(key.encode()) + len(value) + RECORD_OVERHEAD_BYTES


def invalid(reason: str) -> Refusal:
    """For commands that no client library makes."""
    return Refusal(codes.INVALID_REQUEST, reason=reason)


def describe_record(record: Record) -> Facts:
    """A record's numbers, without its value."""
    return {
        "create_revision": record.create_revision,
        "mod_revision": record.mod_revision,
        "version": record.version,
        "lease": record.lease,
    }


def _put(state: State, _index: int, key: object, value: object, lease: object) -> Facts:
    name, content = check_key(key), check_value(value)
    holder = check_lease(state, lease)
    check_room(state, measure_put(name, content))
    return _store(state, name, content, holder)


def _store(state: State, key: str, value: bytes, lease: int) -> Facts:
    change = state.put(key, value, lease, state.revision + 1)
    state.commit([change])
    return describe_record(state.records[key])


def _delete(state: State, _index: int, key: object, is_prefix: object) -> Facts:
    if is_prefix is True:
        prefix = check_key(key) if key != "" else ""
        found: list[str] = []
        for name in state.keys.iterate_prefix(prefix):
            if len(found) == DELETE_COUNT_MAX:
                break
            found.append(name)
        has_more = False
        if len(found) == DELETE_COUNT_MAX:
            has_more = next(state.keys.iterate_prefix(prefix, found[-1]), None) is not None
        state.commit([state.delete(name) for name in found])
        return {"deleted": len(found), "more": has_more}
    name = check_key(key)
    if name not in state.records:
        raise Refusal(codes.NOT_FOUND)
    state.commit([state.delete(name)])
    return {"deleted": 1, "more": False}


def _cas(
    state: State,
    _index: int,
    key: object,
    revision: object,
    expected: object,
    value: object,
    lease: object,
) -> Facts:
    name, content = check_key(key), check_value(value)
    holder = check_lease(state, lease)
    if revision is None and expected is None:
        raise invalid("a comparison needs a revision or a value")
    record = state.records.get(name)
    holds = True
    if revision is not None:
        found = record.mod_revision if record else 0
        holds = found == check_number(revision, "expected revision")
    if expected is not None:
        holds = holds and record is not None and record.value == check_value(expected)
    if not holds:
        raise Refusal(
            codes.COMPARE_FAILED,
            mod_revision=record.mod_revision if record else 0,
            exists=record is not None,
        )
    check_room(state, measure_put(name, content))
    return _store(state, name, content, holder)


def _lease_grant(state: State, index: int, ttl_ms: object) -> Facts:
    state.leases.grant(index, ttl_ms)
    return {"lease": index, "ttl_ms": ttl_ms}


def _lease_keepalive(state: State, _index: int, lease: object) -> Facts:
    found = state.leases.renew(lease)
    return {"lease": lease, "ttl_ms": found.ttl_ms}


def _lease_revoke(state: State, _index: int, lease: object) -> Facts:
    state.leases.find(lease)
    number = check_number(lease, "lease")
    return {"lease": number, "deleted": _end_lease(state, number)}


def _end_lease(state: State, lease: int) -> int:
    """One lease, one revision: watchers see all its keys go at once."""
    keys = state.leases.remove(lease)
    state.commit([state.delete(key) for key in keys])
    return len(keys)


def _session_open(state: State, index: int) -> Facts:
    state.sessions.open(index, state.time_ms)
    return {"session": index}


def _session_close(state: State, _index: int, session: object) -> Facts:
    if not state.sessions.close(session):
        raise Refusal(codes.SESSION_EXPIRED, session=session if type(session) is int else 0)
    return {}


def _tick(state: State, _index: int, measured_from_ms: object, elapsed_ms: object) -> Facts:
    elapsed = check_number(elapsed_ms, "elapsed")
    if measured_from_ms != state.time_ms or elapsed == 0:
        return {"expired": 0, "time_ms": state.time_ms}
    state.time_ms += min(elapsed, TICK_ELAPSED_MS_MAX)
    expired = deleted = 0
    for lease in state.leases.take_expired(state.time_ms):
        deleted += _end_lease(state, lease)
        expired += 1
        if deleted >= DELETE_COUNT_MAX or expired >= DELETE_COUNT_MAX:
            break
    state.leases.start_waiting(state.time_ms)
    state.sessions.expire(state.time_ms)
    return {"expired": expired, "time_ms": state.time_ms}


def _compact(state: State, _index: int, revision: object) -> Facts:
    number = check_number(revision, "revision")
    if number > state.revision:
        raise invalid("that revision is yet to come")
    if number < state.history.compacted:
        raise Refusal(codes.COMPACTED, compacted=state.history.compacted)
    state.history.compact(number)
    return {"compacted": state.history.compacted}


Step = Callable[..., Facts]
STEPS: Final[dict[int, tuple[Step, int]]] = {
    Op.PUT: (_put, 3),
    Op.DELETE: (_delete, 2),
    Op.CAS: (_cas, 5),
    Op.LEASE_GRANT: (_lease_grant, 1),
    Op.LEASE_KEEPALIVE: (_lease_keepalive, 1),
    Op.LEASE_REVOKE: (_lease_revoke, 1),
    Op.SESSION_OPEN: (_session_open, 0),
    Op.SESSION_CLOSE: (_session_close, 1),
    Op.TICK: (_tick, 2),
    Op.COMPACT: (_compact, 1),
}
"""What to call, and how many arguments it takes."""
