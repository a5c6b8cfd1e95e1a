"""A second, slow statement of what commands mean: the oracle for `neuro.cluster.machine`.

Keeps a copy of all keys for each revision, and searches where the product indexes.
"""

from __future__ import annotations

from typing import Any

Rows = dict[str, tuple[bytes, int, int, int, int]]


class NaiveMachine:
    """Commands are `(op, *arguments)` with the op's lower-case name; ids are given by index."""

    def __init__(self) -> None:
        self.states: list[Rows] = [{}]
        self.leases: dict[int, list[Any]] = {}
        self.time_ms = 0

    @property
    def rows(self) -> Rows:
        return self.states[-1]

    def commit(self, rows: Rows) -> None:
        if rows != self.rows:
            self.states.append(rows)

    def apply(self, index: int, op: str, *arguments: Any) -> tuple[str, int]:
        code = getattr(self, op)(index, *arguments)
        return code, len(self.states) - 1

    def write(self, rows: Rows, key: str, value: bytes, lease: int) -> None:
        revision = len(self.states)
        old = rows.get(key)
        rows[key] = (
            value, old[1] if old else revision, revision, old[3] + 1 if old else 1, lease,
        )  # fmt: skip

    def put(self, _index: int, key: str, value: bytes, lease: int) -> str:
        if lease and lease not in self.leases:
            return "lease_not_found"
        rows = dict(self.rows)
        self.write(rows, key, value, lease)
        self.commit(rows)
        return "ok"

    def delete(self, _index: int, key: str, is_prefix: bool) -> str:
        if not is_prefix and key not in self.rows:
            return "not_found"
        self.commit({
            name: row for name, row in self.rows.items()
            if not (name.startswith(key) if is_prefix else name == key)
        })  # fmt: skip
        return "ok"

    def cas(
        self,
        index: int,
        key: str,
        revision: int | None,
        value: bytes | None,
        new: bytes,
        lease: int,
    ) -> str:
        if lease and lease not in self.leases:
            return "lease_not_found"
        row = self.rows.get(key)
        if revision is not None and revision != (row[2] if row else 0):
            return "compare_failed"
        if value is not None and (row is None or row[0] != value):
            return "compare_failed"
        return self.put(index, key, new, lease)

    def txn(self, _index: int, tests: list[Any], yes: list[Any], no: list[Any]) -> str:
        for item in yes + no:
            if item[0] == "put" and item[3] and item[3] not in self.leases:
                return "lease_not_found"
        for branch in (yes, no):
            written = [item[1] for item in branch if item[0] != "get"]
            if len(written) != len(set(written)):
                return "invalid_request"
        rows = dict(self.rows)
        for item in yes if all(self.holds(*test) for test in tests) else no:
            if item[0] == "put":
                self.write(rows, item[1], item[2], item[3])
            elif item[0] == "delete":
                rows.pop(item[1], None)
        self.commit(rows)
        return "ok"

    def holds(self, key: str, field: str, relation: str, operand: Any) -> bool:
        names = ["value", "create_revision", "mod_revision", "version", "lease"]
        row = self.rows.get(key)
        if field == "value" and row is None:
            return relation == "!="
        found: Any = (row or (b"", 0, 0, 0, 0))[names.index(field)]
        return bool(
            {
                "=": found == operand,
                "!=": found != operand,
                "<": found < operand,
                ">": found > operand,
            }[relation]
        )

    def lease_grant(self, index: int, ttl_ms: int) -> str:
        self.leases[index] = [ttl_ms, None]
        return "ok"

    def lease_keepalive(self, _index: int, lease: int) -> str:
        if lease not in self.leases:
            return "lease_not_found"
        self.leases[lease][1] = None
        return "ok"

    def lease_revoke(self, _index: int, lease: int) -> str:
        if lease not in self.leases:
            return "lease_not_found"
        del self.leases[lease]
        self.commit({key: row for key, row in self.rows.items() if row[4] != lease})
        return "ok"

    def tick(self, _index: int, base_ms: int, elapsed_ms: int) -> str:
        if base_ms != self.time_ms or not elapsed_ms:
            return "ok"
        self.time_ms += elapsed_ms
        due = [(lease[1], number) for number, lease in self.leases.items() if lease[1] is not None]
        for deadline, number in sorted(due):
            if deadline <= self.time_ms:
                self.lease_revoke(0, number)
        for lease in self.leases.values():
            if lease[1] is None:
                lease[1] = self.time_ms + lease[0]
        return "ok"
