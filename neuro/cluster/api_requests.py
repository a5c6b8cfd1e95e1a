"""What each request of the client API does with the replica and the machine.

Owns the operations and the check of their arguments. Never sees a socket or an encoding. A write is
checked by the state machine when it is applied; here only what must not enter the log is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from neuro.cluster.api_values import take_bytes
from neuro.cluster.client_errors import InvalidKey, InvalidRequest, make_client_error
from neuro.cluster.machine import KeyValueMachine, Op, Outcome, Record, explain_key, make_payload
from neuro.cluster.machine.limits import TXN_ITEM_COUNT_MAX
from neuro.cluster.machine.reading import PAGE_COUNT_MAX
from neuro.cluster.replica import Replica, ReplicaStatus, split_member_address
from neuro.raft import Change, ChangeKind, Configuration

Message = dict[str, Any]
_INTEGER_MAX: Final = (1 << 63) - 1
_MESSAGES: Final = {
    "not_found": "there is no such key",
    "compare_failed": "the key is not as expected",
    "lease_not_found": "there is no such lease",
    "session_expired": "the session is forgotten",
    "session_stale": "the command was acknowledged before",
    "session_full": "too many results of the session are unacknowledged",
    "value_too_large": "the value is too large",
    "compacted": "that revision is forgotten or yet to come",
    "limit_reached": "a limit of the store is reached",
}


def take_number(message: Message, name: str, default: int = 0) -> int:
    """A whole number of 0 or more.

    Raises:
        InvalidRequest: it is something else.
    """
    value = message.get(name, default)
    if type(value) is not int or not 0 <= value <= _INTEGER_MAX:
        raise InvalidRequest(
            f"`{name}` is a whole number, 0 or more", remote_code="invalid_request"
        )
    return value


def take_flag(message: Message, name: str) -> bool:
    """True or false; false where it is missing."""
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise InvalidRequest(f"`{name}` is true or false")
    return value


def take_key(message: Message, name: str = "key", *, may_be_empty: bool = False) -> str:
    """A key, or a prefix, which may be empty."""
    value = message.get(name, "" if may_be_empty else None)
    if may_be_empty and value == "":
        return ""
    reason = explain_key(value)
    if reason is not None:
        raise InvalidKey(reason)
    return str(value)


def take_value(message: Message, name: str = "value") -> bytes:
    """A value that has to be there."""
    value = take_bytes(message, name)
    if value is None:
        raise InvalidRequest(f"`{name}` is missing")
    return value


def describe(key: str, record: Record, *, with_value: bool = True) -> Message:
    """A key as clients see it."""
    shown: Message = {"key": key}
    if with_value:
        shown["value"] = record.value
    shown.update(
        create_revision=record.create_revision,
        mod_revision=record.mod_revision,
        version=record.version,
        lease=record.lease,
    )
    return shown


def _make_outcome_error(outcome: Outcome) -> Exception:
    code = outcome.code
    text = outcome.facts.get("reason") or _MESSAGES.get(code, code.replace("_", " "))
    return make_client_error({**outcome.facts, "code": code, "message": text, "certain": True})


class Requests:
    """The operations, by name, over one replica and its machine."""

    def __init__(self, replica: Replica[Outcome], machine: KeyValueMachine) -> None:
        self._replica = replica
        self._machine = machine
        self.by_name: dict[str, Callable[[Message, int], Awaitable[Message]]] = {
            "put": self._put,
            "get": self._get,
            "delete": self._delete,
            "cas": self._cas,
            "txn": self._txn,
            "scan": self._scan,
            "lease_grant": self._lease_grant,
            "lease_keepalive": self._lease_keepalive,
            "lease_revoke": self._lease_revoke,
            "lease_list": self._lease_list,
            "lease_show": self._lease_show,
            "session_open": self._session_open,
            "session_close": self._session_close,
            "compact": self._compact,
            "status": self._status,
            "health": self._health,
            "members": self._members,
            "member_change": self._member_change,
            "transfer": self._transfer,
            "snapshot_take": self._snapshot_take,
            "alarms": self._alarms,
        }

    async def _propose(
        self, message: Message, timeout_ms: int, op: Op, *arguments: Any, frees: bool = False
    ) -> Message:
        payload = make_payload(
            op,
            *arguments,
            session=take_number(message, "session"),
            sequence=take_number(message, "sequence"),
            acknowledged=take_number(message, "acknowledged"),
        )
        applied = await self._replica.propose(payload, frees_space=frees, timeout_ms=timeout_ms)
        outcome = applied.result
        if not outcome.is_ok:
            raise _make_outcome_error(outcome)
        return {"revision": outcome.revision, **outcome.facts}

    async def _barrier(self, message: Message, timeout_ms: int) -> None:
        """`local` reads take what this member has, which may be old; others are linearizable."""
        if not take_flag(message, "local"):
            await self._replica.read_barrier(timeout_ms=timeout_ms)

    async def _put(self, message: Message, timeout_ms: int) -> Message:
        key, value = take_key(message), take_value(message)
        lease = take_number(message, "lease")
        return await self._propose(message, timeout_ms, Op.PUT, key, value, lease)

    async def _get(self, message: Message, timeout_ms: int) -> Message:
        key = take_key(message)
        await self._barrier(message, timeout_ms)
        record = self._machine.get(key)
        if record is None:
            raise _make_outcome_error(Outcome("not_found", 0, {}))
        return {"revision": self._machine.revision, **describe(key, record)}

    async def _delete(self, message: Message, timeout_ms: int) -> Message:
        is_prefix = take_flag(message, "prefix")
        key = take_key(message, may_be_empty=is_prefix)
        return await self._propose(message, timeout_ms, Op.DELETE, key, is_prefix, frees=True)

    async def _cas(self, message: Message, timeout_ms: int) -> Message:
        revision = None
        if "expected_revision" in message:
            revision = take_number(message, "expected_revision")
        expected = take_bytes(message, "expected")
        if revision is None and expected is None:
            raise InvalidRequest("`cas` needs `expected_revision` or `expected`")
        key, value = take_key(message), take_value(message)
        lease = take_number(message, "lease")
        arguments = (key, revision, expected, value, lease)
        return await self._propose(message, timeout_ms, Op.CAS, *arguments)

    async def _txn(self, message: Message, timeout_ms: int) -> Message:
        compares = [_take_compare(item) for item in _take_list(message, "compares")]
        branches = [
            [_take_operation(item) for item in _take_list(message, name)]
            for name in ("then", "else")
        ]
        frees = not any(item[0] == "put" for branch in branches for item in branch)
        return await self._propose(message, timeout_ms, Op.TXN, compares, *branches, frees=frees)

    async def _scan(self, message: Message, timeout_ms: int) -> Message:
        prefix = take_key(message, "prefix", may_be_empty=True)
        after = take_key(message, "after", may_be_empty=True)
        limit = take_number(message, "limit", PAGE_COUNT_MAX)
        if not 1 <= limit <= PAGE_COUNT_MAX:
            raise InvalidRequest(f"`limit` is 1 to {PAGE_COUNT_MAX}")
        keys_only = take_flag(message, "keys_only")
        revision = take_number(message, "revision")
        await self._barrier(message, timeout_ms)
        page = self._machine.scan(prefix, after=after, count_max=limit, revision=revision)
        if page is None:
            compacted = self._machine.compacted_revision
            raise _make_outcome_error(Outcome("compacted", 0, {"compacted": compacted}))
        items = [describe(key, record, with_value=not keys_only) for key, record in page.items]
        return {"revision": page.revision, "items": items, "more": page.has_more}

    async def _lease_grant(self, message: Message, timeout_ms: int) -> Message:
        ttl_ms = take_number(message, "ttl_ms")
        return await self._propose(message, timeout_ms, Op.LEASE_GRANT, ttl_ms)

    async def _lease_keepalive(self, message: Message, timeout_ms: int) -> Message:
        lease = take_number(message, "lease")
        return await self._propose(message, timeout_ms, Op.LEASE_KEEPALIVE, lease)

    async def _lease_revoke(self, message: Message, timeout_ms: int) -> Message:
        lease = take_number(message, "lease")
        return await self._propose(message, timeout_ms, Op.LEASE_REVOKE, lease, frees=True)

    async def _lease_list(self, message: Message, timeout_ms: int) -> Message:
        await self._barrier(message, timeout_ms)
        return {"revision": self._machine.revision, "leases": self._machine.lease_ids()}

    async def _lease_show(self, message: Message, timeout_ms: int) -> Message:
        lease = take_number(message, "lease")
        await self._barrier(message, timeout_ms)
        shown = self._machine.describe_lease(lease)
        if shown is None:
            raise _make_outcome_error(Outcome("lease_not_found", 0, {"lease": lease}))
        return {"revision": self._machine.revision, **shown}

    async def _session_open(self, _message: Message, timeout_ms: int) -> Message:
        return await self._propose({}, timeout_ms, Op.SESSION_OPEN)

    async def _session_close(self, message: Message, timeout_ms: int) -> Message:
        session = take_number(message, "session")
        return await self._propose({}, timeout_ms, Op.SESSION_CLOSE, session, frees=True)

    async def _compact(self, message: Message, timeout_ms: int) -> Message:
        revision = take_number(message, "revision")
        return await self._propose(message, timeout_ms, Op.COMPACT, revision, frees=True)

    async def _status(self, _message: Message, _timeout_ms: int) -> Message:
        status = self._replica.status()
        machine = self._machine
        return {
            **describe_status(status),
            "revision": machine.revision,
            "compacted_revision": machine.compacted_revision,
            "keys": machine.key_count,
            "state_bytes": machine.size_bytes,
            "leases": machine.lease_count,
            "sessions": machine.session_count,
        }

    async def _health(self, _message: Message, timeout_ms: int) -> Message:
        """Healthy is who can serve a linearizable read; the failure says why it can not."""
        await self._replica.read_barrier(timeout_ms=timeout_ms)
        return {"healthy": True, "alarms": self._list_alarms()}

    async def _members(self, message: Message, timeout_ms: int) -> Message:
        await self._barrier(message, timeout_ms)
        status = self._replica.status()
        return {"members": describe_members(status.configuration, status.leader.node)}

    async def _member_change(self, message: Message, timeout_ms: int) -> Message:
        changes = [_take_change(item) for item in _take_list(message, "changes")]
        after = await self._replica.change_members(changes, timeout_ms=timeout_ms)
        return {"members": describe_members(after, self._replica.leader_hint().node)}

    async def _transfer(self, message: Message, timeout_ms: int) -> Message:
        target = take_number(message, "target")
        await self._replica.transfer_leadership(target, timeout_ms=timeout_ms)
        return {"leader": target}

    async def _snapshot_take(self, _message: Message, _timeout_ms: int) -> Message:
        info = await self._replica.take_snapshot()
        return {"index": info.index, "term": info.term, "size_bytes": info.size_bytes}

    async def _alarms(self, _message: Message, _timeout_ms: int) -> Message:
        return {"alarms": self._list_alarms()}

    def _list_alarms(self) -> list[Message]:
        return [{"node": alarm.node, "kind": str(alarm.kind)} for alarm in self._replica.alarms()]


def _take_list(message: Message, name: str) -> list[Message]:
    items = message.get(name, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidRequest(f"`{name}` is a list of objects")
    if len(items) > TXN_ITEM_COUNT_MAX:
        raise InvalidRequest(f"`{name}` has at most {TXN_ITEM_COUNT_MAX} items")
    return items


def _take_compare(item: Message) -> list[Any]:
    field = item.get("field", "value")
    is_value = field == "value"
    operand = take_value(item, "operand") if is_value else take_number(item, "operand")
    return [take_key(item), field, item.get("relation", "="), operand]


def _take_operation(item: Message) -> list[Any]:
    kind = item.get("op")
    if kind == "put":
        return ["put", take_key(item), take_value(item), take_number(item, "lease")]
    if kind in ("get", "delete"):
        return [kind, take_key(item)]
    raise InvalidRequest("`op` of a transaction is `put`, `get` or `delete`")


def _take_change(item: Message) -> Change:
    try:
        kind = ChangeKind[str(item.get("kind", "")).upper()]
    except KeyError:
        kinds = ", ".join(f"`{known.name.lower()}`" for known in ChangeKind)
        raise InvalidRequest(f"`kind` is one of {kinds}") from None
    address = item.get("address", "")
    if not isinstance(address, str):
        raise InvalidRequest("`address` is text")
    return Change(kind, take_number(item, "node"), take_flag(item, "promote"), address)


def describe_members(configuration: Configuration, leader: int) -> list[Message]:
    """The members, by id."""
    addresses = dict(configuration.addresses)
    voters = {*configuration.voters, *configuration.outgoing}
    members = []
    for node in sorted({*voters, *configuration.learners}):
        raft_address, client_address = split_member_address(addresses.get(node, ""))
        is_witness = node in configuration.witnesses
        role = "witness" if is_witness else "voter" if node in voters else "learner"
        members.append(
            {
                "node": node,
                "role": role,
                "leader": node == leader,
                "raft_address": raft_address,
                "client_address": client_address,
            }
        )
    return members


def describe_status(status: ReplicaStatus) -> Message:
    """A member's view of itself and its group."""
    return {
        "cluster_id": status.cluster_id,
        "node": status.node,
        "incarnation": status.incarnation,
        "role": status.role.name.lower(),
        "term": status.term,
        "leader": status.leader.node,
        "leader_address": split_member_address(status.leader.address)[1] or status.leader.address,
        "commit_index": status.commit_index,
        "applied_index": status.applied_index,
        "first_index": status.first_index,
        "last_index": status.last_index,
        "snapshot_index": status.snapshot.index if status.snapshot else 0,
        "snapshot_bytes": status.snapshot.size_bytes if status.snapshot else 0,
        "alarms": [{"node": alarm.node, "kind": str(alarm.kind)} for alarm in status.alarms],
        "state_hash": status.state_hash,
        "removed": status.is_removed,
        "voteless": status.is_voteless,
        "disk_free_bytes": status.disk.free_bytes,
        "wal_bytes": status.disk.wal_bytes,
        "sync_us_p50": status.disk.sync_us_p50,
        "sync_us_p99": status.disk.sync_us_p99,
    }
