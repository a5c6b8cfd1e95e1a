"""Transactions: comparisons, then one of two lists of operations, as one revision.

Owns their check and their execution. Everything that can be refused is refused before the first
operation, so a transaction never stops half way.
"""

from __future__ import annotations

from operator import eq, gt, lt, ne
from typing import Any, Final

from neuro.cluster.machine import outcome as codes
from neuro.cluster.machine.execution import (
    Facts,
    check_key,
    check_lease,
    check_number,
    check_room,
    check_value,
    describe_record,
    invalid,
    measure_put,
)
from neuro.cluster.machine.history import Change, Record
from neuro.cluster.machine.limits import TXN_BYTES_MAX, TXN_ITEM_COUNT_MAX
from neuro.cluster.machine.outcome import Refusal
from neuro.cluster.machine.state import State

RELATIONS: Final = {"=": eq, "!=": ne, "<": lt, ">": gt}
NUMBERS: Final = ("version", "create_revision", "mod_revision", "lease")
_ABSENT: Final = Record(b"", 0, 0, 0, 0)


def run_transaction(
    state: State, _index: int, compares: object, then_ops: object, else_ops: object
) -> Facts:
    """Executes a transaction.

    Args:
        state: What it reads and changes.
        compares: Lists `[key, field, relation, operand]`; the field is `value` or one of NUMBERS,
            which are 0 where the key does not exist. A value equals nothing there.
        then_ops: Done when all comparisons hold: `["put", key, value, lease]`,
            `["delete", key]`, `["get", key]`. A key is written at most once.
        else_ops: Done otherwise.
    """
    tests = [_check_compare(item) for item in _check_list(compares)]
    both = [
        [_check_operation(state, item) for item in _check_list(ops)] for ops in (then_ops, else_ops)
    ]
    for branch in both:
        written = [item[1] for item in branch if item[0] != "get"]
        if len(set(written)) != len(written):
            raise invalid("a transaction writes a key at most once")
    succeeded = all(_holds(state, *test) for test in tests)
    chosen = both[0] if succeeded else both[1]
    _check_sizes(state, chosen)
    changes: list[Change] = []
    results = [_run(state, item, changes) for item in chosen]
    state.commit(changes)
    return {"succeeded": succeeded, "results": results}


def _check_list(items: object) -> list[Any]:
    if not isinstance(items, list):
        raise invalid("a transaction is three lists")
    if len(items) > TXN_ITEM_COUNT_MAX:
        raise Refusal(codes.LIMIT_REACHED, limit="transaction items", maximum=TXN_ITEM_COUNT_MAX)
    return items


def _check_compare(item: object) -> tuple[str, str, str, bytes | int]:
    if not isinstance(item, list) or len(item) != 4:
        raise invalid("a comparison is key, field, relation, operand")
    key, field, relation, operand = item
    if not isinstance(relation, str) or relation not in RELATIONS:
        raise invalid("a relation is one of `=`, `!=`, `<`, `>`")
    if field == "value":
        return check_key(key), field, relation, check_value(operand)
    if field not in NUMBERS:
        raise invalid("a field is `value`, `version`, `create_revision`, `mod_revision`, `lease`")
    return check_key(key), field, relation, check_number(operand, field)


def _check_operation(state: State, item: object) -> tuple[Any, ...]:
    if not isinstance(item, list) or not item:
        raise invalid("an operation is a list")
    if item[0] == "put" and len(item) == 4:
        return "put", check_key(item[1]), check_value(item[2]), check_lease(state, item[3])
    if item[0] in ("get", "delete") and len(item) == 2:
        return item[0], check_key(item[1])
    raise invalid("an operation is `put` key value lease, `delete` key, or `get` key")


def _holds(state: State, key: str, field: str, relation: str, operand: bytes | int) -> bool:
    record = state.records.get(key)
    if field == "value" and record is None:
        return relation == "!="
    return bool(RELATIONS[relation](getattr(record or _ABSENT, field), operand))


def _check_sizes(state: State, operations: list[tuple[Any, ...]]) -> None:
    added_bytes = total_bytes = 0
    written: dict[str, int] = {}
    for item in operations:
        key = item[1]
        if item[0] == "put":
            written[key] = len(item[2])
            total_bytes += len(item[2])
            added_bytes += measure_put(key, item[2])
        elif item[0] == "get":
            record = state.records.get(key)
            total_bytes += written.get(key, len(record.value) if record else 0)
    if total_bytes > TXN_BYTES_MAX:
        raise Refusal(codes.LIMIT_REACHED, limit="transaction bytes", maximum=TXN_BYTES_MAX)
    check_room(state, added_bytes)


def _run(state: State, item: tuple[Any, ...], changes: list[Change]) -> Facts:
    kind, key = item[0], item[1]
    if kind == "put":
        changes.append(state.put(key, item[2], item[3], state.revision + 1))
        return describe_record(state.records[key])
    record = state.records.get(key)
    if kind == "delete":
        if record is not None:
            changes.append(state.delete(key))
        return {"deleted": int(record is not None)}
    if record is None:
        return {"exists": False}
    return {"exists": True, "value": record.value, **describe_record(record)}
